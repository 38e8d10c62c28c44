"""The transport as the libraries see it: a transport among transports."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

import anyio
import httpx
import httpx2
import pytest

from clients.callers import ADAPTERS
from clients.counting import Counted, counted
from clients.misbehaving import Misbehaving
from recloser.registry import Registry

ORIGIN = "api.example:443"
URL = "https://api.example/"
MOMENT = 0.05
"""Seconds until a cancellation."""


@pytest.fixture(params=[httpx, httpx2], ids=lambda library: library.__name__)
def library(request: pytest.FixtureRequest) -> ModuleType:
    return request.param


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return request.param


def test_by_default_the_librarys_own_transport_does_the_work(library: ModuleType, registry: Registry):
    """No second argument is needed."""
    guarded = ADAPTERS[library]
    assert isinstance(guarded.BreakerTransport(registry)._inner, library.HTTPTransport)
    assert isinstance(guarded.AsyncBreakerTransport(registry)._inner, library.AsyncHTTPTransport)


@pytest.mark.parametrize("name", ["PoolTimeout", "LocalProtocolError", "UnsupportedProtocol", "InvalidURL"])
def test_a_request_that_never_reached_its_dependency_is_no_outcome(
    library: ModuleType, registry: Registry, name: str
):
    """Whatever inner transport finds it out."""
    error = getattr(library, name)

    def refuse(request):
        raise error("no")

    transport = ADAPTERS[library].BreakerTransport(registry, library.MockTransport(refuse))
    with library.Client(transport=transport) as client, pytest.raises(error):
        client.get(URL)
    assert counted(registry.for_origin(ORIGIN)) == Counted(ignored=1)


@pytest.mark.parametrize(
    "name", ["ConnectError", "ConnectTimeout", "WriteError", "WriteTimeout", "ProxyError"]
)
def test_a_request_that_could_not_reach_its_dependency_is_a_failure(
    library: ModuleType, registry: Registry, name: str
):
    """Connecting, writing and the way through a proxy are part of the dependency."""
    error = getattr(library, name)

    def refuse(request):
        raise error("no")

    transport = ADAPTERS[library].BreakerTransport(registry, library.MockTransport(refuse))
    with library.Client(transport=transport) as client, pytest.raises(error):
        client.get(URL)
    assert counted(registry.for_origin(ORIGIN)) == Counted(failure=1)


def test_an_interrupted_request_is_no_outcome(library: ModuleType, registry: Registry):
    """Ctrl-C in the middle of a request passes through and counts as nothing."""

    def interrupt(request):
        raise KeyboardInterrupt

    transport = ADAPTERS[library].BreakerTransport(registry, library.MockTransport(interrupt))
    with library.Client(transport=transport) as client, pytest.raises(KeyboardInterrupt):
        client.get(URL)
    assert counted(registry.for_origin(ORIGIN)) == Counted(ignored=1)


def test_a_response_that_came_with_its_body_counts_at_once(library: ModuleType, registry: Registry):
    """Mocks and transports that read ahead hand over nothing that could still break."""
    mock = library.MockTransport(lambda request: library.Response(200, json={"answer": 42}))
    transport = ADAPTERS[library].BreakerTransport(registry, mock)
    with library.Client(transport=transport) as client:
        assert client.get(URL).json() == {"answer": 42}
    assert counted(registry.for_origin(ORIGIN)) == Counted(success=1)


def test_a_request_sent_again_is_watched_once(library: ModuleType, registry: Registry):
    """Sending one request object many times does not pile up watchers on its body."""
    mock = library.MockTransport(lambda request: library.Response(200))
    mock.handle_request = lambda request: library.Response(200, content=b"".join(request.stream))
    transport = ADAPTERS[library].BreakerTransport(registry, mock)
    source = [b"some", b"parts"]
    with library.Client(transport=transport) as client:
        request = client.build_request("POST", URL, content=source)
        body = request.stream
        for _ in range(3):
            assert client.send(request).content == b"someparts"
    assert request.stream.carried is body
    assert counted(registry.for_origin(ORIGIN)) == Counted(success=3)


def test_a_body_of_bytes_is_left_alone(library: ModuleType, registry: Registry):
    """It cannot break, so nothing watches it."""
    mock = library.MockTransport(lambda request: library.Response(200))
    request = library.Request("POST", URL, content=b"bytes")
    body = request.stream
    ADAPTERS[library].BreakerTransport(registry, mock).handle_request(request)
    assert request.stream is body


def test_a_source_that_broke_once_does_not_excuse_the_next_try(library: ModuleType, registry: Registry):
    """Each try is judged by its own upload."""
    tries = iter([LookupError("source"), library.ConnectError("dependency")])

    class Source:
        def __iter__(self):
            self.error = next(tries)
            if isinstance(self.error, LookupError):
                raise self.error
            yield b"part"

    source = Source()

    def send(request):
        list(request.stream)
        raise source.error

    mock = library.MockTransport(send)
    mock.handle_request = send
    transport = ADAPTERS[library].BreakerTransport(registry, mock)
    with library.Client(transport=transport) as client:
        request = client.build_request("POST", URL, content=source)
        for error in (LookupError, library.ConnectError):
            with pytest.raises(error):
                client.send(request)
    assert counted(registry.for_origin(ORIGIN)) == Counted(failure=1, ignored=1)


def test_the_inner_transport_is_entered_and_closed_with_the_client(library: ModuleType, registry: Registry):
    """`with`, `close()` and their asynchronous kin are passed on."""
    passed: list[str] = []

    class Inner(library.BaseTransport):
        def __enter__(self):
            passed.append("enter")
            return self

        def __exit__(self, *error: object) -> None:
            passed.append("exit")

        def close(self) -> None:
            passed.append("close")

    class AsyncInner(library.AsyncBaseTransport):
        async def __aenter__(self):
            passed.append("aenter")
            return self

        async def __aexit__(self, *error: object) -> None:
            passed.append("aexit")

        async def aclose(self) -> None:
            passed.append("aclose")

    guarded = ADAPTERS[library]
    with library.Client(transport=guarded.BreakerTransport(registry, Inner())):
        pass
    library.Client(transport=guarded.BreakerTransport(registry, Inner())).close()

    async def both_ways() -> None:
        async with library.AsyncClient(transport=guarded.AsyncBreakerTransport(registry, AsyncInner())):
            pass
        await library.AsyncClient(transport=guarded.AsyncBreakerTransport(registry, AsyncInner())).aclose()

    anyio.run(both_ways)
    assert passed == ["enter", "exit", "close", "aenter", "aexit", "aclose"]


@pytest.mark.parametrize("name", ["httpx", "httpx2"])
def test_a_missing_library_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch, name: str):
    """The error says what to install."""
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, f"recloser.clients.{name}")
    with pytest.raises(ImportError, match=rf'pip install "recloser\[{name}\]"'):
        importlib.import_module(f"recloser.clients.{name}")


def test_importing_the_package_imports_no_client():
    """Having one library installed costs the users of another nothing."""
    import subprocess

    code = "import sys, recloser.clients; assert not {'httpx', 'httpx2', 'requests', 'aiohttp'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


def test_an_upgraded_connection_counts_at_its_headers(
    library: ModuleType, server: Misbehaving, registry: Registry
):
    """What a WebSocket says for hours is no HTTP response (RFC 9110 §7.8)."""
    headers = {"Connection": "Upgrade", "Upgrade": "websocket"}
    with (
        library.Client(transport=ADAPTERS[library].BreakerTransport(registry)) as client,
        client.stream("GET", server.url("/status/101?Upgrade=websocket"), headers=headers) as response,
    ):
        assert response.status_code == 101
        assert counted(registry.for_origin(server.origin)) == Counted(success=1)


class Parts:
    """A body that notes when its reading was given up."""

    given_up = False

    def __iter__(self):
        try:
            yield from (b"some", b"parts")
        except GeneratorExit:
            self.given_up = True
            raise

    async def __aiter__(self):
        try:
            for part in (b"some", b"parts"):
                yield part
        except GeneratorExit:
            self.given_up = True
            raise

    def close(self) -> None:
        pass

    async def aclose(self) -> None:
        pass


def test_a_stream_read_without_its_response_counts_at_its_end(library: ModuleType, registry: Registry):
    """Transports around this one may read the stream themselves."""
    mock = library.MockTransport(lambda request: library.Response(200, stream=Parts()))
    request = library.Request("GET", URL)
    sync = ADAPTERS[library].BreakerTransport(registry, mock).handle_request(request)
    assert list(sync.stream) == [b"some", b"parts"]

    async def read() -> list[bytes]:
        transport = ADAPTERS[library].AsyncBreakerTransport(registry, mock)
        response = await transport.handle_async_request(request)
        return [part async for part in response.stream]

    assert anyio.run(read) == [b"some", b"parts"]
    assert counted(registry.for_origin(ORIGIN)) == Counted(success=2)


def test_giving_up_reaches_the_innermost_stream_at_once(library: ModuleType, registry: Registry):
    """No generator is left behind for the garbage collector."""
    body = Parts()
    mock = library.MockTransport(lambda request: library.Response(200, stream=body))
    transport = ADAPTERS[library].AsyncBreakerTransport(registry, mock)

    async def give_up() -> bool:
        response = await transport.handle_async_request(library.Request("GET", URL))
        chunks = aiter(response.stream)
        await anext(chunks)
        await chunks.aclose()
        await response.aclose()
        return body.given_up

    assert anyio.run(give_up)


def test_port_zero_makes_no_breaker(library: ModuleType, registry: Registry):
    """Nobody listens there; the inner transport says so."""
    mock = library.MockTransport(lambda request: library.Response(200))
    ADAPTERS[library].BreakerTransport(registry, mock).handle_request(library.Request("GET", "http://api:0/"))
    assert list(registry) == []


@pytest.mark.parametrize(("scheme", "port"), [("http", 80), ("https", 443), ("ws", 80), ("wss", 443)])
def test_a_scheme_stands_for_its_port(library: ModuleType, registry: Registry, scheme: str, port: int):
    """WebSockets go to the same listener as the HTTP that they begin with (RFC 6455 §3)."""
    mock = library.MockTransport(lambda request: library.Response(200))
    transport = ADAPTERS[library].BreakerTransport(registry, mock)
    transport.handle_request(library.Request("GET", f"{scheme}://api.example/"))
    transport.handle_request(library.Request("GET", f"{scheme}://api.example:{port}/"))
    transport.handle_request(library.Request("GET", f"{scheme}://api.example:8080/"))
    assert list(registry) == [f"api.example:{port}", "api.example:8080"]


@pytest.mark.anyio
async def test_cancelled_in_connect(library: ModuleType, anyio_backend: str, registry: Registry):
    """A connection that is never made gives the place back when its caller gives up."""

    class Unreachable(library.AsyncBaseTransport):
        async def handle_async_request(self, request):
            await anyio.sleep_forever()

    transport = ADAPTERS[library].AsyncBreakerTransport(registry, Unreachable())
    async with library.AsyncClient(transport=transport) as client:
        with anyio.move_on_after(MOMENT) as scope:
            await client.get("http://10.0.0.1/")
    assert scope.cancelled_caught
    assert counted(registry.for_origin("10.0.0.1:80")) == Counted(ignored=1)


@pytest.mark.anyio
async def test_cancelled_while_closing(library: ModuleType, anyio_backend: str, registry: Registry):
    """A connection that does not close in time does not hold the place."""

    class Stuck(library.AsyncByteStream):
        async def __aiter__(self):
            yield b"part"

        async def aclose(self):
            await anyio.sleep_forever()

    class Inner(library.AsyncBaseTransport):
        async def handle_async_request(self, request):
            return library.Response(200, stream=Stuck())

    transport = ADAPTERS[library].AsyncBreakerTransport(registry, Inner())
    response = await transport.handle_async_request(library.Request("GET", "http://10.0.0.1/"))
    with anyio.move_on_after(MOMENT) as scope:
        await response.aclose()
    assert scope.cancelled_caught
    assert counted(registry.for_origin("10.0.0.1:80")) == Counted(success=1)
