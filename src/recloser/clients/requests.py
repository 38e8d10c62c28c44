"""requests with one breaker per origin: `session.mount("https://", BreakerAdapter(registry))`."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any, Final, Self
from urllib.parse import urlsplit

from recloser.clients._exchange import Exchange, Upload, breaker_at
from recloser.clients._stream import Watched
from recloser.core.breaker import CircuitBreaker
from recloser.registry import Registry

try:
    import requests
    from requests import adapters, exceptions
    from urllib3 import exceptions as urllib3_exceptions
except ModuleNotFoundError as missing:
    raise ImportError(
        'recloser.clients.requests needs requests: pip install "recloser[requests]"', name="requests"
    ) from missing

_OWN_FAULTS: Final = (
    urllib3_exceptions.EmptyPoolError,
    exceptions.InvalidSchema,
    exceptions.InvalidURL,
    exceptions.MissingSchema,
)
# A certificate file that is not there, an impossible time-out or header: what comes of the network is wrapped.
_CALLERS_FAULTS: Final = (OSError, ValueError, UnicodeEncodeError)
# What is in memory cannot break; a text file is known by its type alone, which a watcher has not.
_LEFT_ALONE: Final[tuple[type, ...]] = (str, bytes, bytearray, memoryview, io.TextIOBase, type(None))

_OWN: Final = ("carried", "ended", "broke")


class BreakerAdapter(adapters.BaseAdapter):
    """Sends each request through the breaker of its origin.

    Transport errors, time-outs, broken bodies, 5xx and 429 are failures; `Retry-After` is honoured. Mount it on
    both `http://` and `https://`.

    Args:
        registry: Its breakers that declare the origin guard it; other origins get a breaker at run time.
        adapter: Does the work, and is closed with this one. By default `requests.adapters.HTTPAdapter()`.
    """

    def __init__(self, registry: Registry, adapter: adapters.BaseAdapter | None = None) -> None:
        super().__init__()
        self._registry = registry
        self._inner = adapters.HTTPAdapter() if adapter is None else adapter

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        """Send one request; everything else that a session says of it is passed on.

        Raises:
            CircuitOpenError: The origin's circuit is open; no connection was touched.
            BulkheadFullError: Too many requests to the origin are in flight.
        """
        breaker = _breaker_of(self._registry, request.url or "")
        if breaker is None:
            return self._inner.send(request, *args, **options)
        exchange = Exchange(breaker.acquire(), _OWN_FAULTS)
        sent: Any = request  # its body may be more than its type says
        body = sent.body
        if not isinstance(body, _LEFT_ALONE):
            sent.body = _watched_upload(exchange, body)
        try:
            response = self._inner.send(request, *args, **options)
        except BaseException as error:
            if type(error) in _CALLERS_FAULTS:
                exchange.permit.ignore()
            else:
                exchange.raised(error)
            raise
        finally:
            sent.body = body  # for the next hop of a redirect
        self._answered(exchange, request, response)
        return response

    def close(self) -> None:
        """Close the inner adapter."""
        self._inner.close()

    def _answered(
        self, exchange: Exchange, request: requests.PreparedRequest, response: requests.Response
    ) -> None:
        told: Any = response
        told.connection = self  # by which `HTTPDigestAuth` sends its answer

        def error() -> exceptions.HTTPError:
            text = f"{response.status_code} {response.reason}"
            return exceptions.HTTPError(text, request=request, response=response)

        whole = not hasattr(response.raw, "stream")  # a mock
        if exchange.answered(request.method or "", response.status_code, error, whole=whole):
            permit = exchange.permit
            raw: Any = _WatchedRaw(response.raw, permit.success, permit.finish)
            response.raw = raw


def _breaker_of(registry: Registry, url: str) -> CircuitBreaker | None:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return None
    return breaker_at(registry, parts.scheme, host, port)


class _WatchedUpload(Watched):
    """A request body that may break: a file, or anything to iterate over."""

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self.carried
        except GeneratorExit:
            raise
        except BaseException as error:
            self.broke(error)
            raise

    def __getattr__(self, name: str) -> Any:
        return getattr(self.carried, name)


class _WatchedFile(_WatchedUpload):
    def read(self, *size: int) -> bytes:
        try:
            data: bytes = self.carried.read(*size)
        except BaseException as error:
            self.broke(error)
            raise
        return data


def _watched_upload(exchange: Exchange, body: Any) -> Any:
    exchange.upload = upload = Upload()
    kind = _WatchedFile if hasattr(body, "read") else _WatchedUpload
    return kind(body, upload.ended, upload.broke)


class _WatchedRaw(Watched):
    """A urllib3 response whose body is being watched, however it is read."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __setattr__(self, name: str, value: Any) -> None:
        # What is set is the response's own, as `decode_content`; a method in place of one of these is asked instead.
        if name in _OWN or hasattr(type(self), name):
            object.__setattr__(self, name, value)
        else:
            setattr(self.carried, name, value)

    def stream(self, *args: Any, **kwargs: Any) -> Iterator[bytes]:
        return self._through(self.carried.stream(*args, **kwargs))

    def read_chunked(self, *args: Any, **kwargs: Any) -> Iterator[bytes]:
        return self._through(self.carried.read_chunked(*args, **kwargs))

    def __iter__(self) -> Iterator[bytes]:
        return self._through(iter(self.carried))

    def read(self, *args: Any, **kwargs: Any) -> bytes:
        data: bytes = self._noting(self.carried.read, *args, **kwargs)
        return data

    def read1(self, *args: Any, **kwargs: Any) -> bytes:
        data: bytes = self._noting(self.carried.read1, *args, **kwargs)
        return data

    def readline(self, *args: Any) -> bytes:
        line: bytes = self._noting(self.carried.readline, *args)
        return line

    def readlines(self, *args: Any) -> list[bytes]:
        lines: list[bytes] = self._noting(self.carried.readlines, *args)
        return lines

    def __next__(self) -> bytes:
        line = self.readline()
        if not line:
            raise StopIteration
        return line

    @property
    def data(self) -> bytes:
        content: bytes = self._noting(lambda: self.carried.data)
        return content

    def readinto(self, buffer: bytearray | memoryview) -> int:
        number: int = self._noting(self.carried.readinto, buffer)
        return number

    def close(self) -> None:
        self.ended()
        self.carried.close()

    def release_conn(self) -> None:
        self.ended()
        self.carried.release_conn()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.carried, name)

    def _through(self, parts: Iterator[bytes]) -> Iterator[bytes]:
        try:
            yield from parts
        except GeneratorExit:
            # The consumer wants no more. He may still close, or drop, the body: not known yet.
            raise
        except BaseException as error:
            self._note(error)
            raise
        self.ended()

    def _noting(self, read: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        try:
            result = read(*args, **kwargs)
        except BaseException as error:
            self._note(error)
            raise
        if self.carried.isclosed():
            self.ended()
        return result

    def _note(self, error: BaseException) -> None:
        # The policy is shown what `requests` raises for it.
        if isinstance(error, urllib3_exceptions.DecodeError):
            self.ended()  # what the bytes mean is the caller's affair
        elif isinstance(error, (TypeError, ValueError)):
            pass  # so is how they are read: he may go on
        elif isinstance(error, urllib3_exceptions.ProtocolError):
            self.broke(exceptions.ChunkedEncodingError(error))
        elif isinstance(error, urllib3_exceptions.ReadTimeoutError):
            self.broke(exceptions.ConnectionError(error))
        elif isinstance(error, urllib3_exceptions.SSLError):
            self.broke(exceptions.SSLError(error))
        else:
            self.broke(error)
