"""What is particular to the middleware for aiohttp."""

from __future__ import annotations

import asyncio
import importlib
import socket
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp.payload import Payload

from clients.callers import HASTE
from clients.conftest import Clock
from clients.counting import Counted, counted
from clients.misbehaving import Misbehaving
from recloser.clients.aiohttp import BreakerMiddleware
from recloser.registry import Registry

pytestmark = pytest.mark.anyio

ORIGIN = "api.example:80"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def session(registry: Registry) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(middlewares=[BreakerMiddleware(registry)]) as session:
        yield session


class Stuck(aiohttp.TCPConnector):
    """Never gets a connection."""

    async def _create_connection(self, *_: object) -> Any:
        await asyncio.sleep(3600)


@pytest.mark.parametrize("limits", [{"total": HASTE}, {"connect": HASTE}])
async def test_a_connection_that_is_not_made_in_time_is_a_failure(
    registry: Registry, limits: dict[str, float]
):
    """Also where the total time-out ends the wait, which comes as a cancellation."""
    async with aiohttp.ClientSession(connector=Stuck(), middlewares=[BreakerMiddleware(registry)]) as session:
        with pytest.raises(TimeoutError):
            await session.get("http://api.example/", timeout=aiohttp.ClientTimeout(**limits))
    assert counted(registry.for_origin(ORIGIN)) == Counted(failure=1)


@pytest.mark.parametrize("limits", [{"total": HASTE}, {"connect": HASTE}])
async def test_waiting_for_the_pool_is_no_outcome_whichever_time_out_ends_it(
    server: Misbehaving, registry: Registry, limits: dict[str, float]
):
    """No error of aiohttp tells it from a connection that is not made."""
    connector = aiohttp.TCPConnector(limit=1)
    async with aiohttp.ClientSession(
        connector=connector, middlewares=[BreakerMiddleware(registry)]
    ) as session:
        async with session.get(server.url("/endless")):
            with pytest.raises(TimeoutError):
                await session.get("http://api.example/", timeout=aiohttp.ClientTimeout(**limits))
        assert counted(registry.for_origin(ORIGIN)) == Counted(ignored=1)


async def test_a_cancelled_connection_is_no_outcome(registry: Registry):
    """A caller that gives up is not a time-out of the client."""
    async with aiohttp.ClientSession(connector=Stuck(), middlewares=[BreakerMiddleware(registry)]) as session:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(HASTE):
                await session.get("http://api.example/")
    assert counted(registry.for_origin(ORIGIN)) == Counted(ignored=1)


@pytest.mark.parametrize("path", ["/hang", "/hang-in-body"])
async def test_a_read_that_takes_too_long_is_a_failure(
    session: aiohttp.ClientSession, server: Misbehaving, registry: Registry, path: str
):
    """`sock_read` is a time-out as any."""
    with pytest.raises(aiohttp.ServerTimeoutError):
        async with session.get(server.url(path), timeout=aiohttp.ClientTimeout(sock_read=HASTE)) as response:
            await response.read()
    assert counted(registry.for_origin(server.origin)) == Counted(failure=1)


async def lines(content: aiohttp.StreamReader) -> bytes:
    return b"".join([line async for line in content])


async def by(iterate: Callable[[aiohttp.StreamReader], Any], content: aiohttp.StreamReader) -> bytes:
    return b"".join([chunk if isinstance(chunk, bytes) else chunk[0] async for chunk in iterate(content)])


READS: dict[str, Callable[[aiohttp.StreamReader], Any]] = {
    "read": lambda content: content.read(),
    "lines": lines,
    "iter_any": lambda content: by(lambda c: c.iter_any(), content),
    "iter_chunks": lambda content: by(lambda c: c.iter_chunks(), content),
    "iter_chunked": lambda content: by(lambda c: c.iter_chunked(3), content),
    "readuntil": lambda content: content.readuntil(b"!"),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
async def test_the_body_is_watched_however_it_is_read(
    session: aiohttp.ClientSession, server: Misbehaving, registry: Registry, read: Any
):
    """It is the stream reader of aiohttp to its users, and a body that breaks is a failure."""
    async with session.get(server.url("/drip")) as response:
        assert isinstance(response.content, aiohttp.StreamReader)
        assert counted(registry.for_origin(server.origin)) == Counted()
        assert await read(response.content) == b"half" * 5
    assert counted(registry.for_origin(server.origin)) == Counted(success=1)
    with pytest.raises(aiohttp.ClientError):
        async with session.get(server.url("/truncated")) as response:
            await read(response.content)
    assert counted(registry.for_origin(server.origin)) == Counted(success=1, failure=1)


async def test_exact_and_hasty_reads_are_watched_too(
    session: aiohttp.ClientSession, server: Misbehaving, registry: Registry
):
    """What reads no further than it must counts when the response is released."""
    async with session.get(server.url("/bytes/6")) as response:
        content = response.content
        assert await content.readexactly(2) == b"xx"
        await content.wait_eof()
        assert content.total_bytes == 6
        assert content.read_nowait(2) == b"xx"
        with pytest.warns(DeprecationWarning, match="unread_data"):
            content.unread_data(b"yy")
        assert content.read_nowait() == b"yyxx"
        assert counted(registry.for_origin(server.origin)) == Counted()
    assert counted(registry.for_origin(server.origin)) == Counted(success=1)
    async with session.get(server.url("/truncated")) as response:
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.content.wait_eof()
        with pytest.raises(aiohttp.ClientPayloadError):
            response.content.read_nowait()
    assert counted(registry.for_origin(server.origin)) == Counted(success=1, failure=1)


async def test_how_a_body_is_read_is_its_readers_affair(
    session: aiohttp.ClientSession, server: Misbehaving, registry: Registry
):
    """Pieces that are too short, too long or read by two at once are no failure of the dependency."""
    async with session.get(server.url("/bytes/4")) as response:
        with pytest.raises(asyncio.IncompleteReadError):
            await response.content.readexactly(5)
    async with session.get(server.url("/bytes/2000000")) as response:
        with pytest.raises((aiohttp.http_exceptions.LineTooLong, ValueError)):
            await response.content.readline()
    async with session.get(server.url("/endless")) as response:
        with pytest.raises(RuntimeError, match="another coroutine"):
            while True:
                await asyncio.gather(response.content.readany(), response.content.readany())
    assert counted(registry.for_origin(server.origin)) == Counted(success=3)


async def test_a_body_that_broke_while_nobody_read_is_a_failure(
    session: aiohttp.ClientSession, server: Misbehaving, registry: Registry
):
    """The connection's end is seen when the response is released."""
    async with session.get(server.url("/truncated")) as response:
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.content._reader.wait_eof()  # type: ignore[attr-defined]
    assert counted(registry.for_origin(server.origin)) == Counted(failure=1)


async def test_a_body_is_passed_on_to_another_request(
    session: aiohttp.ClientSession, server: Misbehaving, registry: Registry
):
    """A relay streams from one response into the next request."""
    async with (
        session.get(server.url("/drip")) as source,
        session.post(server.url("/status/200"), data=source.content) as response,
    ):
        assert response.status == 200
        await response.read()
    assert counted(registry.for_origin(server.origin)) == Counted(success=2)


async def test_a_dependency_that_breaks_while_the_source_is_awaited_is_to_blame(registry: Registry):
    """Its connection ends while the upload waits for more."""
    hung = asyncio.Event()

    async def source() -> AsyncIterator[bytes]:
        yield b"part"
        await hung.wait()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        origin = f"127.0.0.1:{listener.getsockname()[1]}"
        async with aiohttp.ClientSession(middlewares=[BreakerMiddleware(registry)]) as session:
            posted = asyncio.ensure_future(session.post(f"http://{origin}/", data=source()))
            connection, _ = await asyncio.to_thread(listener.accept)
            with connection:
                await asyncio.to_thread(connection.recv, 65536)
            with pytest.raises(aiohttp.ClientError):
                await posted
    assert counted(registry.for_origin(origin)) == Counted(failure=1)


class Polite(Payload):
    """A body that waits until each part is sent."""

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return "parts"

    async def write(self, writer: Any) -> None:
        for part in (b"pa", b"rts"):
            await writer.write(part)
            await writer.drain()


async def test_the_callers_own_body_is_back_in_its_place_for_the_next_try(
    server: Misbehaving, registry: Registry
):
    """The watcher stands in for it while the request is sent, and is taken off then."""
    bodies: list[Any] = []

    async def around(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        bodies.append(request.body)
        response = await handler(request)
        bodies.append(request.body)
        return response

    async def within(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        bodies.append(request.body.content_type)  # type: ignore[union-attr]
        return await handler(request)

    middlewares = [around, BreakerMiddleware(registry), within]
    body = Polite(None, content_type="text/parts")
    async with (
        aiohttp.ClientSession(middlewares=middlewares) as session,
        session.post(server.url("/status/200"), data=body) as response,
    ):
        await response.read()
    assert bodies == [body, "text/parts", body]
    assert counted(registry.for_origin(server.origin)) == Counted(success=1)


async def test_a_websocket_counts_at_its_handshake(
    session: aiohttp.ClientSession, server: Misbehaving, registry: Registry
):
    """What it says for hours is no HTTP response (RFC 9110 §7.8)."""
    with pytest.raises(aiohttp.WSServerHandshakeError):  # the server does not go through with it
        await session.ws_connect(f"ws://{server.origin}/status/101?Upgrade=websocket")
    assert counted(registry.for_origin(server.origin)) == Counted(success=1)


async def test_a_header_that_cannot_be_sent_is_no_outcome(
    session: aiohttp.ClientSession, server: Misbehaving, registry: Registry
):
    """The caller's mistake never reached the dependency."""
    with pytest.raises(ValueError, match="header injection"):
        await session.get(server.url("/status/200"), headers={"X-Name": "a\nb"})
    assert counted(registry.for_origin(server.origin)) == Counted(ignored=1)


async def test_a_url_that_names_no_server_makes_no_breaker(
    session: aiohttp.ClientSession, registry: Registry
):
    """Port 0 is the connector's affair."""
    with pytest.raises(aiohttp.ClientError):
        await session.get("http://127.0.0.1:0/")
    assert list(registry) == []


@pytest.mark.parametrize("policy", [{"failure_threshold": 1, "recovery_timeout": 10, "recovery_jitter": 0}])
async def test_an_open_circuit_ends_the_retry_of_a_broken_connection(
    session: aiohttp.ClientSession, server: Misbehaving, registry: Registry, clock: Clock
):
    """Aiohttp sends some requests twice; each try is a request, and a refusal is the last one."""
    from recloser import CircuitOpenError

    with pytest.raises(CircuitOpenError):
        await session.get(server.url("/reset"))
    assert len(server.seen) == 1


async def test_a_missing_library_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch):
    """The error says what to install."""
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    monkeypatch.delitem(sys.modules, "recloser.clients.aiohttp")
    with pytest.raises(ImportError, match=r'pip install "recloser\[aiohttp\]"'):
        importlib.import_module("recloser.clients.aiohttp")
