"""The one implementation behind the transports for httpx and httpx2, whose interfaces have the same shape."""

from __future__ import annotations

from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

from recloser.clients._exchange import Exchange, Library, Request, Response, breaker_of
from recloser.registry import Registry

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
        breaker = breaker_of(self._registry, request.url)
        if breaker is None:
            return self._inner.handle_request(request)
        exchange = Exchange(breaker.acquire(), self._library, request)
        try:
            response = self._inner.handle_request(request)
        except BaseException as error:
            exchange.raised(error)
            raise
        exchange.answered(request, response)
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
        breaker = breaker_of(self._registry, request.url)
        if breaker is None:
            return await self._inner.handle_async_request(request)
        exchange = Exchange(breaker.acquire(), self._library, request)
        try:
            response = await self._inner.handle_async_request(request)
        except BaseException as error:
            exchange.raised(error)
            raise
        exchange.answered(request, response)
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
