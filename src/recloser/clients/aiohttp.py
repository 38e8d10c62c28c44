"""aiohttp with one breaker per origin: `aiohttp.ClientSession(middlewares=[BreakerMiddleware(registry)])`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, ParamSpec, TypeVar

from recloser.clients._exchange import Exchange, Upload, breaker_at, chain
from recloser.clients._stream import Watched
from recloser.registry import Registry

try:
    import aiohttp
    from aiohttp import ClientHandlerType, http_exceptions
    from aiohttp.payload import BytesPayload
except ImportError as missing:
    raise ImportError(
        'recloser.clients.aiohttp needs aiohttp 3.12.7 or newer: pip install "recloser[aiohttp]"',
        name="aiohttp",
    ) from missing

P = ParamSpec("P")
T = TypeVar("T")

# What the ways to read return once there is no more.
_AT_THE_END: Final = (b"", (b"", False), None)
# How a body is read is its reader's affair: by longer or shorter pieces than there are, or by two at once.
_READERS_FAULTS: Final = (
    asyncio.IncompleteReadError,
    http_exceptions.LineTooLong,
    RuntimeError,
    TypeError,
    ValueError,
)


class StatusError(aiohttp.ClientResponseError):
    """A response whose status is 5xx or 429, as policies are shown it. Its text names no URL."""

    def __str__(self) -> str:
        return f"{self.status} {self.message}"


class BreakerMiddleware:
    """Sends each request through the breaker of its origin.

    Transport errors, time-outs, broken bodies, 5xx and 429 are failures; `Retry-After` is honoured. Put it last in
    `middlewares`, so that retries and sign-ins of others are requests of their own.

    Args:
        registry: Its breakers that declare the origin guard it; other origins get a breaker at run time.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Send one request.

        Raises:
            CircuitOpenError: The origin's circuit is open; no connection was touched.
            BulkheadFullError: Too many requests to the origin are in flight.
        """
        url = request.url
        breaker = breaker_at(self._registry, url.scheme, url.raw_host or "", url.port)
        if breaker is None:
            return await handler(request)
        exchange = Exchange(breaker.acquire(), ())
        try:
            response = await _send(exchange, request, handler)
        except BaseException as error:
            if type(error) is ValueError:  # a header that cannot be sent; what comes of the network is more
                exchange.permit.ignore()
            else:
                exchange.raised(error)
            raise
        _answered(exchange, request, response)
        return response


async def _send(
    exchange: Exchange, request: aiohttp.ClientRequest, handler: ClientHandlerType
) -> aiohttp.ClientResponse:
    private: Any = request
    body = private._body  # noqa: SLF001 - to replace it in public would close it
    if body is not None and not isinstance(body, BytesPayload):
        exchange.upload = upload = _Upload()
        private._body = _WatchedPayload(body, upload)  # noqa: SLF001
    try:
        # The total time-out comes as a cancellation: its own context tells it from others.
        with private._timer:  # noqa: SLF001
            return await handler(request)
    except (asyncio.CancelledError, TimeoutError):
        if isinstance(exchange.upload, _Upload):
            exchange.upload.broken |= exchange.upload.waiting
        raise
    finally:
        private._body = body  # noqa: SLF001 # for the next hop of a redirect


def _answered(exchange: Exchange, request: aiohttp.ClientRequest, response: aiohttp.ClientResponse) -> None:
    def error() -> StatusError:
        return StatusError(
            response.request_info,
            response.history,
            status=response.status,
            message=response.reason or "",
            headers=response.headers,
        )

    if exchange.answered(request.method, response.status, error, whole=False):
        permit = exchange.permit
        watched = Watched(response.content, permit.success, permit.finish)
        response.content = _WatchedReader(response.content, watched)


class _Upload(Upload):
    """Also knows whether the source is being waited for, since aiohttp sends the body in a task of its own."""

    __slots__ = ("waiting",)

    def __init__(self) -> None:
        super().__init__()
        self.waiting = False


class _WatchedPayload:
    """A request body that may break; what breaks in the writer is not its fault."""

    def __init__(self, carried: Any, upload: _Upload) -> None:
        self._carried = carried
        self._upload = upload

    async def write_with_length(self, writer: Any, content_length: int | None) -> None:
        upload = self._upload
        upload.waiting = True
        try:
            await self._carried.write_with_length(_WatchedWriter(writer, upload), content_length)
        except Exception:
            upload.broken = upload.waiting
            raise
        upload.waiting = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._carried, name)


class _WatchedWriter:
    """Where a request body goes."""

    def __init__(self, carried: Any, upload: _Upload) -> None:
        self._carried = carried
        self._upload = upload

    async def write(self, *args: Any, **kwargs: Any) -> None:
        upload = self._upload
        upload.waiting = False
        await self._carried.write(*args, **kwargs)
        upload.waiting = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._carried, name)


class _WatchedReader(aiohttp.StreamReader):
    """A response body that is being watched, however it is read. All its state is that of the carried one."""

    __slots__ = ("_reader", "_watched")

    def __init__(self, reader: aiohttp.StreamReader, watched: Watched) -> None:
        self._reader = reader
        self._watched = watched

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)

    async def read(self, n: int = -1) -> bytes:
        data = await self._noting(self._reader.read, n)
        if n < 0:
            self._watched.ended()
        return data

    async def readany(self) -> bytes:
        return await self._noting(self._reader.readany)

    async def readchunk(self) -> tuple[bytes, bool]:
        return await self._noting(self._reader.readchunk)

    async def readexactly(self, n: int) -> bytes:
        return await self._noting(self._reader.readexactly, n)

    async def readline(self, **limits: Any) -> bytes:
        return await self._noting(self._reader.readline, **limits)

    async def readuntil(self, *args: Any, **limits: Any) -> bytes:
        return await self._noting(self._reader.readuntil, *args, **limits)

    async def wait_eof(self) -> None:
        await self._noting(self._reader.wait_eof)

    def read_nowait(self, n: int = -1) -> bytes:
        try:
            data = self._reader.read_nowait(n)
        except BaseException as error:
            self._note(error)
            raise
        return data

    def exception(self) -> BaseException | None:
        # Asked by a response that is being closed, whose connection may have broken while nobody was reading.
        error = self._reader.exception()
        if error is not None:
            self._note(error)
        return error

    def set_exception(self, *args: Any, **kwargs: Any) -> None:
        # Only the response itself comes here: closed or released, it lets nobody read on.
        self._watched.ended()
        self._reader.set_exception(*args, **kwargs)

    def set_read_chunk_size(self, n: int) -> None:
        self._reader.set_read_chunk_size(n)

    def unread_data(self, data: bytes) -> None:
        self._reader.unread_data(data)

    async def _noting(self, read: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            result = await read(*args, **kwargs)
        except BaseException as error:
            self._note(error)
            raise
        if result in _AT_THE_END and self._reader.at_eof():
            self._watched.ended()
        return result

    def _note(self, error: BaseException) -> None:
        if isinstance(error, _READERS_FAULTS) and self._reader.exception() is None:
            return  # he may go on
        if any(isinstance(one, http_exceptions.ContentEncodingError) for one in chain(error)):
            self._watched.ended()  # what the bytes mean is the caller's affair
        else:
            self._watched.broke(error)
