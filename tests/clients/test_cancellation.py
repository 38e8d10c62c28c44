"""A cancelled request is no outcome, and gives its place back at once."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import anyio
import httpx
import httpx2
import pytest

from clients.callers import ADAPTERS, TRUST
from clients.conftest import Clock
from clients.counting import Counted, counted, permits_left
from clients.misbehaving import PATIENCE, Misbehaving
from recloser.clients.aiohttp import BreakerMiddleware
from recloser.registry import Registry

# The libraries leave generators of a body closed early to trio's garbage collector, also without breakers.
pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")]

MOMENT = 0.05
"""Seconds until the cancellation; the fault that it meets lasts for seconds."""


LIBRARIES = {"httpx": httpx, "httpx2": httpx2}


@pytest.fixture(params=["asyncio-httpx", "asyncio-httpx2", "trio-httpx", "trio-httpx2", "asyncio-aiohttp"])
def kind(request: pytest.FixtureRequest) -> list[str]:
    return request.param.split("-")


@pytest.fixture
def anyio_backend(kind: list[str]) -> str:
    return kind[0]


class AiohttpClient:
    """An aiohttp session, called like a client of httpx."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def get(self, url: str) -> None:
        async with self._session.get(url) as response:
            await response.read()

    async def post(self, url: str, content: AsyncIterable[bytes]) -> None:
        async with self._session.post(url, data=content) as response:
            await response.read()

    @asynccontextmanager
    async def stream(self, method: str, url: str) -> AsyncIterator[AiohttpBody]:
        async with self._session.request(method, url) as response:
            yield AiohttpBody(response)


class AiohttpBody:
    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def aiter_raw(self) -> AsyncIterator[bytes]:
        async for chunk in self._response.content.iter_any():
            yield chunk


@asynccontextmanager
async def opened(kind: list[str], registry: Registry, connections: int = 100) -> AsyncIterator[Any]:
    if kind[1] == "aiohttp":
        connector = aiohttp.TCPConnector(limit=connections)
        async with aiohttp.ClientSession(
            connector=connector, middlewares=[BreakerMiddleware(registry)]
        ) as session:
            yield AiohttpClient(session)
        return
    library = LIBRARIES[kind[1]]
    inner = library.AsyncHTTPTransport(verify=TRUST, limits=library.Limits(max_connections=connections))
    async with library.AsyncClient(
        transport=ADAPTERS[library].AsyncBreakerTransport(registry, inner)
    ) as client:
        yield client


@pytest.fixture
async def client(kind: list[str], registry: Registry) -> AsyncIterator[Any]:
    async with opened(kind, registry) as client:
        yield client


async def probing(client: Any, server: Misbehaving, registry: Registry, clock: Clock):
    """Trip the server's breaker and wait until the next request is the probe."""
    for _ in range(3):
        await client.get(server.url("/status/500"))
    clock.advance(10)
    return registry.for_origin(server.origin)


async def cancel_get(client: Any, url: str) -> None:
    with anyio.move_on_after(MOMENT) as scope:
        await client.get(url)
    assert scope.cancelled_caught


@pytest.mark.parametrize("path", ["/hang", "/hang-in-body", "/endless"])
async def test_cancelled_before_the_headers_or_in_the_body(
    client: Any, server: Misbehaving, registry: Registry, clock: Clock, path: str
):
    """Neither a success nor a failure; the next request is the probe."""
    breaker = await probing(client, server, registry, clock)
    await cancel_get(client, server.url(path))
    assert (breaker.state, breaker.snapshot().probes_in_flight) == ("half_open", 0)
    assert counted(breaker) == Counted(failure=3, ignored=1)
    await client.get(server.url("/status/200"))
    assert breaker.state == "closed"


@pytest.mark.parametrize("policy", [{"slow_call_duration": 2, "slow_call_rate_threshold": 0.5}])
async def test_cancelled_while_the_callers_own_body_kept_it_waiting(
    client: Any, server: Misbehaving, registry: Registry, clock: Clock
):
    """The time that an upload's source took is no slowness of the dependency."""

    async def source():
        yield b"part"
        clock.advance(3)
        await anyio.sleep_forever()

    with anyio.move_on_after(MOMENT) as scope:
        await client.post(server.url("/status/200"), content=source())
    assert scope.cancelled_caught
    assert counted(registry.for_origin(server.origin)) == Counted(ignored=1)


async def test_cancelled_between_two_pieces_of_a_body(
    client: Any, server: Misbehaving, registry: Registry, clock: Clock
):
    """A consumer that is cancelled in its own work leaves no place taken."""
    breaker = await probing(client, server, registry, clock)
    with anyio.move_on_after(MOMENT) as scope:
        async with client.stream("GET", server.url("/endless")) as response:
            chunks = response.aiter_raw()
            try:
                await anext(chunks)
                await anyio.sleep_forever()
            finally:
                await chunks.aclose()
    assert scope.cancelled_caught
    assert breaker.snapshot().probes_in_flight == 0
    assert counted(breaker).failure == 3


@pytest.mark.parametrize("policy", [{"slow_call_duration": 2, "slow_call_rate_threshold": 0.5}])
async def test_a_time_out_around_the_request_is_seen_as_slow(
    client: Any, server: Misbehaving, registry: Registry, clock: Clock
):
    """Cancelled after more than `slow_call_duration` without an answer: slow, though no failure."""
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.get, server.url("/hang"))
            assert await anyio.to_thread.run_sync(server.asked.wait, PATIENCE)
            clock.advance(3)
            scope.cancel()
    numbers = registry.for_origin(server.origin).snapshot()
    assert (numbers.calls, numbers.slow, numbers.failures) == (1, 1, 0)


@pytest.mark.parametrize("policy", [{"slow_call_duration": 2, "slow_call_rate_threshold": 0.5}])
async def test_a_time_out_around_the_wait_for_a_connection_is_no_outcome(
    kind: list[str], server: Misbehaving, registry: Registry, clock: Clock
):
    """However long it waited for the client's own pool: the dependency was not asked."""
    async with (
        opened(kind, registry, connections=1) as client,
        client.stream("GET", server.url("/hang-in-body")),
    ):
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(client.get, server.url("/status/200"))
                await anyio.wait_all_tasks_blocked()
                clock.advance(3)
                scope.cancel()
        assert counted(registry.for_origin(server.origin)) == Counted(ignored=1)
    assert len(server.seen) == 1


async def test_nothing_is_kept_of_cancelled_requests(client: Any, server: Misbehaving, registry: Registry):
    """Ten cancelled requests leave no permit behind."""
    async with anyio.create_task_group() as tasks:
        for path in ["/hang", "/hang-in-body"] * 5:
            tasks.start_soon(cancel_get, client, server.url(path))
    assert counted(registry.for_origin(server.origin)) == Counted(ignored=10)
    for _ in range(100):  # threads let go of what they did last
        if not permits_left(registry):
            break
        await anyio.sleep(0.01)
    assert not permits_left(registry)
