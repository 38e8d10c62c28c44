"""httpx with one breaker per origin: `httpx.Client(transport=BreakerTransport(registry))`."""

from __future__ import annotations

from typing import Final

from recloser.clients._stream import WatchedAsyncStream, WatchedStream
from recloser.clients._transport import GuardedAsyncTransport, GuardedTransport, Library
from recloser.registry import Registry

try:
    import httpx
except ModuleNotFoundError as missing:
    raise ImportError(
        'recloser.clients.httpx needs httpx: pip install "recloser[httpx]"', name="httpx"
    ) from missing


class _Stream(WatchedStream, httpx.SyncByteStream):
    pass


class _AsyncStream(WatchedAsyncStream, httpx.AsyncByteStream):
    pass


_OWN_FAULTS: Final = (
    httpx.PoolTimeout,
    httpx.LocalProtocolError,
    httpx.UnsupportedProtocol,
    httpx.InvalidURL,
)


class BreakerTransport(GuardedTransport[httpx.Request, httpx.Response], httpx.BaseTransport):
    """Sends each request through the breaker of its origin.

    Transport errors, time-outs, broken bodies, 5xx and 429 are failures; `Retry-After` is honoured.

    Args:
        registry: Its breakers that declare the origin guard it; other origins get a breaker at run time.
        transport: Does the work, and is closed with this one. By default `httpx.HTTPTransport()`.
    """

    def __init__(self, registry: Registry, transport: httpx.BaseTransport | None = None) -> None:
        inner = httpx.HTTPTransport() if transport is None else transport
        super().__init__(
            registry, inner, Library(_Stream, httpx.ByteStream, _OWN_FAULTS, httpx.HTTPStatusError)
        )


class AsyncBreakerTransport(GuardedAsyncTransport[httpx.Request, httpx.Response], httpx.AsyncBaseTransport):
    """`BreakerTransport` for `httpx.AsyncClient`, under asyncio and trio.

    Args:
        registry: Its breakers that declare the origin guard it; other origins get a breaker at run time.
        transport: Does the work, and is closed with this one. By default `httpx.AsyncHTTPTransport()`.
    """

    def __init__(self, registry: Registry, transport: httpx.AsyncBaseTransport | None = None) -> None:
        inner = httpx.AsyncHTTPTransport() if transport is None else transport
        super().__init__(
            registry, inner, Library(_AsyncStream, httpx.ByteStream, _OWN_FAULTS, httpx.HTTPStatusError)
        )
