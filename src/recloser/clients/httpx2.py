"""httpx2 with one breaker per origin: `httpx2.Client(transport=BreakerTransport(registry))`."""

from __future__ import annotations

from typing import Final

from recloser.clients._stream import WatchedAsyncStream, WatchedStream
from recloser.clients._transport import GuardedAsyncTransport, GuardedTransport, Library
from recloser.registry import Registry

try:
    import httpx2
except ModuleNotFoundError as missing:
    raise ImportError(
        'recloser.clients.httpx2 needs httpx2: pip install "recloser[httpx2]"', name="httpx2"
    ) from missing


class _Stream(WatchedStream, httpx2.SyncByteStream):
    pass


class _AsyncStream(WatchedAsyncStream, httpx2.AsyncByteStream):
    pass


_OWN_FAULTS: Final = (
    httpx2.PoolTimeout,
    httpx2.LocalProtocolError,
    httpx2.UnsupportedProtocol,
    httpx2.InvalidURL,
)


class BreakerTransport(GuardedTransport[httpx2.Request, httpx2.Response], httpx2.BaseTransport):
    """Sends each request through the breaker of its origin.

    Transport errors, time-outs, broken bodies, 5xx and 429 are failures; `Retry-After` is honoured.

    Args:
        registry: Its breakers that declare the origin guard it; other origins get a breaker at run time.
        transport: Does the work, and is closed with this one. By default `httpx2.HTTPTransport()`.
    """

    def __init__(self, registry: Registry, transport: httpx2.BaseTransport | None = None) -> None:
        inner = httpx2.HTTPTransport() if transport is None else transport
        super().__init__(
            registry, inner, Library(_Stream, httpx2.ByteStream, _OWN_FAULTS, httpx2.HTTPStatusError)
        )


class AsyncBreakerTransport(
    GuardedAsyncTransport[httpx2.Request, httpx2.Response], httpx2.AsyncBaseTransport
):
    """`BreakerTransport` for `httpx2.AsyncClient`, under asyncio and trio.

    Args:
        registry: Its breakers that declare the origin guard it; other origins get a breaker at run time.
        transport: Does the work, and is closed with this one. By default `httpx2.AsyncHTTPTransport()`.
    """

    def __init__(self, registry: Registry, transport: httpx2.AsyncBaseTransport | None = None) -> None:
        inner = httpx2.AsyncHTTPTransport() if transport is None else transport
        super().__init__(
            registry, inner, Library(_AsyncStream, httpx2.ByteStream, _OWN_FAULTS, httpx2.HTTPStatusError)
        )
