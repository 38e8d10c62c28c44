"""HTTP clients with breakers, all called in the same way, so that one suite states what each of them does.

Another client joins by another `Caller` in `CALLERS`.
"""

from __future__ import annotations

import ssl
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from types import ModuleType
from typing import Any, TypeVar

import httpx
import httpx2
from anyio.from_thread import start_blocking_portal

from recloser.clients import httpx as guarded_httpx
from recloser.clients import httpx2 as guarded_httpx2
from recloser.registry import Registry

T = TypeVar("T")

PATIENCE = 5.0
"""The clients' time-outs where none is expected, in seconds."""

HASTE = 0.1
"""The time-outs of a request that is going to meet one, in seconds."""

TRUST = ssl.create_default_context()
"""Shared, because loading the certificates takes longer than most tests."""

ADAPTERS: dict[ModuleType, ModuleType] = {httpx: guarded_httpx, httpx2: guarded_httpx2}


class Reply(ABC):
    """A response whose body was not read yet."""

    status: int

    @abstractmethod
    def read(self) -> bytes:
        """Read the body to its end, decompressed."""

    @abstractmethod
    def chunk(self) -> bytes:
        """Read a piece of the body as it came; nothing at its end."""

    @abstractmethod
    def close(self) -> None:
        """Want no more of it."""


class Caller(ABC):
    """One client, whose requests go through the breakers of a registry.

    Attributes:
        timeout_error: What its time-outs raise.
        error: What its transport errors raise, time-outs among them.
        decoding_error: What a body raises that does not decompress.
        pool_error: What waiting in vain for a connection raises.
    """

    timeout_error: type[Exception]
    error: type[Exception]
    decoding_error: type[Exception]
    pool_error: type[Exception]

    @abstractmethod
    def open(
        self,
        url: str,
        method: str = "GET",
        *,
        body: Iterable[bytes] | None = None,
        follow: bool = False,
        timeout: float = PATIENCE,
    ) -> Reply:
        """Send a request; its response's body is left to be read."""

    def get(
        self, url: str, method: str = "GET", *, follow: bool = False, timeout: float = PATIENCE
    ) -> tuple[int, bytes]:
        """Send a request and read the response to its end."""
        reply = self.open(url, method, follow=follow, timeout=timeout)
        return reply.status, reply.read()


class HttpxReply(Reply):
    def __init__(self, response: Any) -> None:
        self.status = response.status_code
        self._response = response
        self._chunks: Any = None

    def read(self) -> bytes:
        return self._response.read()

    def chunk(self) -> bytes:
        if self._chunks is None:
            self._chunks = self._response.iter_raw()
        return next(self._chunks, b"")

    def close(self) -> None:
        if self._chunks is not None:
            self._chunks.close()
        self._response.close()


class HttpxCaller(Caller):
    """`httpx.Client` and `httpx2.Client`."""

    def __init__(self, library: ModuleType, transport: Any) -> None:
        self.timeout_error, self.error = library.TimeoutException, library.TransportError
        self.decoding_error, self.pool_error = library.DecodingError, library.PoolTimeout
        self.client = library.Client(transport=transport, timeout=PATIENCE)

    def open(
        self,
        url: str,
        method: str = "GET",
        *,
        body: Iterable[bytes] | None = None,
        follow: bool = False,
        timeout: float = PATIENCE,
    ) -> Reply:
        request = self.client.build_request(method, url, content=body, timeout=timeout)
        return HttpxReply(self.client.send(request, stream=True, follow_redirects=follow))


class AsyncHttpxReply(Reply):
    def __init__(self, response: Any, run: Callable[..., Any]) -> None:
        self.status = response.status_code
        self._response = response
        self._run = run
        self._chunks: AsyncIterator[bytes] | None = None

    def read(self) -> bytes:
        return self._run(self._response.aread)

    def chunk(self) -> bytes:
        if self._chunks is None:
            self._chunks = self._response.aiter_raw()
        return self._run(anext, self._chunks, b"")

    def close(self) -> None:
        if self._chunks is not None:
            self._run(self._chunks.aclose)
        self._run(self._response.aclose)


class AsyncHttpxCaller(Caller):
    """`httpx.AsyncClient` and `httpx2.AsyncClient`, in an event loop of their own."""

    def __init__(self, library: ModuleType, transport: Any, run: Callable[..., Any]) -> None:
        self.timeout_error, self.error = library.TimeoutException, library.TransportError
        self.decoding_error, self.pool_error = library.DecodingError, library.PoolTimeout
        self.client = library.AsyncClient(transport=transport, timeout=PATIENCE)
        self._run = run

    def open(
        self,
        url: str,
        method: str = "GET",
        *,
        body: Iterable[bytes] | None = None,
        follow: bool = False,
        timeout: float = PATIENCE,
    ) -> Reply:
        request = self.client.build_request(
            method, url, content=None if body is None else Parts(body), timeout=timeout
        )

        async def send() -> Any:
            return await self.client.send(request, stream=True, follow_redirects=follow)

        return AsyncHttpxReply(self._run(send), self._run)


class Parts:
    """A body for an asynchronous client, that can be sent again if its parts can."""

    def __init__(self, parts: Iterable[bytes]) -> None:
        self._parts = parts

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self._parts:
            yield part


@contextmanager
def httpx_caller(library: ModuleType, registry: Registry, **pool: int) -> Iterator[Caller]:
    """A synchronous client; `pool` are the limits of its connection pool."""
    inner = library.HTTPTransport(verify=TRUST, limits=library.Limits(**pool))
    caller = HttpxCaller(library, ADAPTERS[library].BreakerTransport(registry, inner))
    with caller.client:
        yield caller


@contextmanager
def async_httpx_caller(
    library: ModuleType, backend: str, registry: Registry, **pool: int
) -> Iterator[Caller]:
    """An asynchronous client under asyncio or trio."""
    with start_blocking_portal(backend) as portal:

        def run(function: Callable[..., Awaitable[T]], *args: object) -> T:
            async def in_loop() -> T:
                return await function(*args)

            return portal.call(in_loop)

        inner = library.AsyncHTTPTransport(verify=TRUST, limits=library.Limits(**pool))
        caller = AsyncHttpxCaller(library, ADAPTERS[library].AsyncBreakerTransport(registry, inner), run)
        with portal.wrap_async_context_manager(caller.client):
            yield caller


Opener = Callable[..., Any]


def _openers() -> dict[str, Opener]:
    openers: dict[str, Opener] = {}
    for library in (httpx, httpx2):
        openers[library.__name__] = partial(httpx_caller, library)
        for backend in ("asyncio", "trio"):
            openers[f"{library.__name__}-{backend}"] = partial(async_httpx_caller, library, backend)
    return openers


CALLERS = _openers()
"""How to open each client, by its name in test ids."""
