"""The one implementation behind the transports for httpx and httpx2, whose interfaces have the same shape."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar

from recloser.clients._exchange import Exchange, Upload, breaker_at
from recloser.clients._stream import Watched
from recloser.core.breaker import CircuitBreaker
from recloser.registry import Registry


class URL(Protocol):
    """What is used of a library's URL."""

    @property
    def scheme(self) -> str: ...
    @property
    def raw_host(self) -> bytes: ...
    @property
    def port(self) -> int | None: ...


class Request(Protocol):
    """What is used of a library's request."""

    method: str
    stream: Any

    @property
    def url(self) -> URL: ...


class Response(Protocol):
    """What is used of a library's response."""

    status_code: int
    is_closed: bool
    stream: Any

    @property
    def reason_phrase(self) -> str: ...


class StatusError(Protocol):
    """How a library's error for a bad status is made."""

    def __call__(self, message: str, *, request: Any, response: Any) -> Exception: ...


@dataclass(frozen=True, slots=True)
class Library:
    """The classes of one side (synchronous or not) of one library.

    Attributes:
        stream: Watches a body.
        replayable: A request body made of bytes in memory, which cannot break.
        own_faults: As of `Exchange`.
        status_error: The error for a bad status.
    """

    stream: type[Watched]
    replayable: type
    own_faults: tuple[type[Exception], ...]
    status_error: StatusError

    def begin(self, breaker: CircuitBreaker, request: Request) -> Exchange:
        """Admit a request, and watch its body if it may break.

        Raises:
            CircuitOpenError: The circuit does not let it through.
            BulkheadFullError: Too many requests are in flight.
        """
        exchange = Exchange(breaker.acquire(), self.own_faults)
        body = request.stream
        if not isinstance(body, self.replayable):
            if isinstance(body, self.stream):
                body = body.carried  # watched already: an earlier try, or the hop before a redirect
            exchange.upload = upload = Upload()
            request.stream = self.stream(body, upload.ended, upload.broke)
        return exchange

    def end(self, exchange: Exchange, request: Request, response: Response) -> None:
        """Settle a request by the head of its response, or watch its body."""
        status = response.status_code

        def error() -> Exception:
            text = f"{status} {response.reason_phrase}"
            return self.status_error(text, request=request, response=response)

        if exchange.answered(request.method, status, error, whole=response.is_closed):
            permit = exchange.permit
            response.stream = self.stream(response.stream, permit.success, permit.finish)


RequestT = TypeVar("RequestT", bound=Request)
ResponseT = TypeVar("ResponseT", bound=Response)
RequestT_contra = TypeVar("RequestT_contra", contravariant=True)
ResponseT_co = TypeVar("ResponseT_co", covariant=True)


class Transport(Protocol[RequestT_contra, ResponseT_co]):
    """A library's synchronous transport."""

    def handle_request(self, request: RequestT_contra) -> ResponseT_co: ...
    def close(self) -> None: ...
    def __enter__(self) -> object: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None: ...


class AsyncTransport(Protocol[RequestT_contra, ResponseT_co]):
    """A library's asynchronous transport."""

    async def handle_async_request(self, request: RequestT_contra) -> ResponseT_co: ...
    async def aclose(self) -> None: ...
    async def __aenter__(self) -> object: ...
    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None: ...


class GuardedTransport(Generic[RequestT, ResponseT]):
    """Sends each request through the breaker of its origin, then through another transport.

    Args:
        registry: Whose breakers guard the origins.
        inner: Does the work; entered and closed together with this one.
        library: The classes that both belong to.
    """

    def __init__(self, registry: Registry, inner: Transport[RequestT, ResponseT], library: Library) -> None:
        self._registry = registry
        self._inner = inner
        self._library = library

    def handle_request(self, request: RequestT) -> ResponseT:
        """Send one request.

        Raises:
            CircuitOpenError: The origin's circuit is open; no connection was touched.
            BulkheadFullError: Too many requests to the origin are in flight.
        """
        breaker = _breaker_of(self._registry, request.url)
        if breaker is None:
            return self._inner.handle_request(request)
        exchange = self._library.begin(breaker, request)
        try:
            response = self._inner.handle_request(request)
        except BaseException as error:
            exchange.raised(error)
            raise
        self._library.end(exchange, request, response)
        return response

    def close(self) -> None:
        """Close the inner transport."""
        self._inner.close()

    def __enter__(self) -> Self:
        self._inner.__enter__()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        self._inner.__exit__(exc_type, exc_value, traceback)


class GuardedAsyncTransport(Generic[RequestT, ResponseT]):
    """`GuardedTransport` for the asynchronous side."""

    def __init__(
        self, registry: Registry, inner: AsyncTransport[RequestT, ResponseT], library: Library
    ) -> None:
        self._registry = registry
        self._inner = inner
        self._library = library

    async def handle_async_request(self, request: RequestT) -> ResponseT:
        """Send one request.

        Raises:
            CircuitOpenError: The origin's circuit is open; no connection was touched.
            BulkheadFullError: Too many requests to the origin are in flight.
        """
        breaker = _breaker_of(self._registry, request.url)
        if breaker is None:
            return await self._inner.handle_async_request(request)
        exchange = self._library.begin(breaker, request)
        try:
            response = await self._inner.handle_async_request(request)
        except BaseException as error:
            exchange.raised(error)
            raise
        self._library.end(exchange, request, response)
        return response

    async def aclose(self) -> None:
        """Close the inner transport."""
        await self._inner.aclose()

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self._inner.__aexit__(exc_type, exc_value, traceback)


def _breaker_of(registry: Registry, url: URL) -> CircuitBreaker | None:
    return breaker_at(registry, url.scheme, url.raw_host.decode("latin-1"), url.port)
