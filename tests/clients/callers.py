"""HTTP clients with breakers, all called in the same way, so that one suite states what each of them does.

Another client joins by another `Caller` in `CALLERS`.
"""

from __future__ import annotations

import ssl
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from types import ModuleType
from typing import Any, TypeVar

import aiohttp
import httpx
import httpx2
import requests
from anyio.from_thread import start_blocking_portal
from requests.adapters import HTTPAdapter
from urllib3.exceptions import EmptyPoolError

from recloser.clients import httpx as guarded_httpx
from recloser.clients import httpx2 as guarded_httpx2
from recloser.clients.aiohttp import BreakerMiddleware
from recloser.clients.requests import BreakerAdapter
from recloser.registry import Registry

T = TypeVar("T")

PATIENCE = 5.0
"""The clients' time-outs where none is expected, in seconds."""

HASTE = 0.1
"""The time-outs of a request that is going to meet one, in seconds."""

TRUST = ssl.create_default_context()
"""Shared, because loading the certificates takes longer than most tests."""

REDIRECTS = 20
"""How many redirects the clients follow."""

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
        body_timeout_error: What they raise within a body.
        error: What its transport errors raise.
        source_error: What the error of an upload's source becomes.
        decoding_error: What a body raises that does not decompress.
        redirects_error: What too many redirects raise.
        pool_error: What waiting in vain for a connection raises.
        status_error: The name of what a policy is shown for a bad status.
        attempts: How often it sends a request whose connection breaks before the answer.
        shares_pool: Whether its connection pool is one for all origins.
    """

    timeout_error: type[Exception]
    body_timeout_error: type[Exception]
    error: type[Exception]
    source_error: type[Exception] = LookupError
    decoding_error: type[Exception]
    redirects_error: type[Exception]
    pool_error: type[Exception]
    status_error: str
    attempts = 1
    shares_pool = True

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


class OfHttpx(Caller):
    """What both sides of httpx and httpx2 raise."""

    status_error = "HTTPStatusError"

    def __init__(self, library: ModuleType) -> None:
        self.timeout_error = self.body_timeout_error = library.TimeoutException
        self.error, self.decoding_error = library.TransportError, library.DecodingError
        self.pool_error, self.redirects_error = library.PoolTimeout, library.TooManyRedirects


class HttpxCaller(OfHttpx):
    """`httpx.Client` and `httpx2.Client`."""

    def __init__(self, library: ModuleType, transport: Any) -> None:
        super().__init__(library)
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


class AsyncHttpxCaller(OfHttpx):
    """`httpx.AsyncClient` and `httpx2.AsyncClient`, in an event loop of their own."""

    def __init__(self, library: ModuleType, transport: Any, run: Callable[..., Any]) -> None:
        super().__init__(library)
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


class RequestsReply(Reply):
    def __init__(self, response: requests.Response) -> None:
        self.status = response.status_code
        self._response = response
        self._chunks: Iterator[bytes] = response.raw.stream(decode_content=False)

    def read(self) -> bytes:
        return self._response.content

    def chunk(self) -> bytes:
        return next(self._chunks, b"")

    def close(self) -> None:
        self._response.close()


class RequestsCaller(Caller):
    """`requests.Session`."""

    timeout_error = requests.Timeout
    body_timeout_error = requests.ConnectionError
    error = requests.RequestException
    decoding_error = requests.exceptions.ContentDecodingError
    redirects_error = requests.TooManyRedirects
    pool_error = EmptyPoolError
    status_error = "HTTPError"
    shares_pool = False

    def __init__(self, adapter: BreakerAdapter) -> None:
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.max_redirects = REDIRECTS
        self.session.mount("http://", adapter)
        self.session.mount("https://", adapter)

    def open(
        self,
        url: str,
        method: str = "GET",
        *,
        body: Iterable[bytes] | None = None,
        follow: bool = False,
        timeout: float = PATIENCE,
    ) -> Reply:
        # A list would be taken for a form.
        data = iter(body) if isinstance(body, list) else body
        response = self.session.request(
            method, url, data=data, stream=True, allow_redirects=follow, timeout=timeout
        )
        return RequestsReply(response)


class ImpatientAdapter(HTTPAdapter):
    """Does not wait for a connection for ever."""

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        pool = super().get_connection_with_tls_context(*args, **kwargs)
        pool.urlopen = partial(type(pool).urlopen, pool, pool_timeout=HASTE)
        return pool


class AiohttpReply(Reply):
    def __init__(self, response: aiohttp.ClientResponse, run: Callable[..., Any]) -> None:
        self.status = response.status
        self._response = response
        self._run = run

    def read(self) -> bytes:
        return self._run(self._response.read)

    def chunk(self) -> bytes:
        return self._run(self._response.content.readany)

    def close(self) -> None:
        async def close() -> None:
            self._response.close()

        self._run(close)


class AiohttpCaller(Caller):
    """`aiohttp.ClientSession`, in an event loop of its own."""

    timeout_error = body_timeout_error = pool_error = TimeoutError
    error = source_error = decoding_error = aiohttp.ClientError
    redirects_error = aiohttp.TooManyRedirects
    status_error = "StatusError"
    attempts = 2

    def __init__(self, session: aiohttp.ClientSession, run: Callable[..., Any]) -> None:
        self.session = session
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
        data: Any = None if body is None else Parts(body)
        if isinstance(body, list):
            data = BytesIO(b"".join(body))  # what it can send again is a file

        async def send() -> aiohttp.ClientResponse:
            return await self.session.request(
                method,
                url,
                data=data,
                allow_redirects=follow,
                max_redirects=REDIRECTS + 1,
                timeout=aiohttp.ClientTimeout(total=timeout),
            )

        return AiohttpReply(self._run(send), self._run)


@contextmanager
def requests_caller(registry: Registry, max_connections: int = 10) -> Iterator[Caller]:
    """A session; `max_connections` to each host."""
    inner = ImpatientAdapter(pool_maxsize=max_connections, pool_block=True)
    caller = RequestsCaller(BreakerAdapter(registry, inner))
    with caller.session:
        yield caller


@contextmanager
def aiohttp_caller(registry: Registry, max_connections: int = 100) -> Iterator[Caller]:
    """A session under asyncio; `max_connections` to all hosts together."""
    with start_blocking_portal("asyncio") as portal:

        async def session() -> aiohttp.ClientSession:
            connector = aiohttp.TCPConnector(limit=max_connections, ssl=TRUST)
            return aiohttp.ClientSession(connector=connector, middlewares=[BreakerMiddleware(registry)])

        async def in_loop(function: Callable[..., Awaitable[T]], *args: object) -> T:
            return await function(*args)

        with portal.wrap_async_context_manager(portal.call(session)) as opened:
            yield AiohttpCaller(opened, partial(portal.call, in_loop))


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
    openers: dict[str, Opener] = {"requests": requests_caller, "aiohttp": aiohttp_caller}
    for library in (httpx, httpx2):
        openers[library.__name__] = partial(httpx_caller, library)
        for backend in ("asyncio", "trio"):
            openers[f"{library.__name__}-{backend}"] = partial(async_httpx_caller, library, backend)
    return openers


CALLERS = _openers()
"""How to open each client, by its name in test ids."""
