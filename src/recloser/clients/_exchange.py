"""One request and its response, as a breaker sees them: from the admission to the head of the response."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from recloser.clients._answer import ends_with_headers, is_failure
from recloser.clients._stream import Watched
from recloser.config import host_port
from recloser.core.breaker import CircuitBreaker
from recloser.core.permit import Permit
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
        own_faults: Errors of a request that never reached its dependency. Waiting in vain for the connection
            pool is among them: all origins share it, another one may have exhausted it, and the requests that
            hold its places are judged by their own outcomes.
        status_error: The error for a bad status.
    """

    stream: type[Watched]
    replayable: type
    own_faults: tuple[type[Exception], ...]
    status_error: StatusError


class Upload:
    """Whether the caller's own request body broke, which is no fault of the dependency it was meant for."""

    __slots__ = ("broken",)

    def __init__(self) -> None:
        self.broken = False

    def ended(self) -> None:
        """A body sent to its end is nothing to note."""

    def broke(self, _error: BaseException) -> None:
        """Note the fault; also a cancellation, which met the caller's body waiting, not the dependency."""
        self.broken = True


class Exchange:
    """An admitted request.

    Args:
        permit: Its admission.
        library: Whose request it is.
        request: Its body is watched if it may break.
    """

    __slots__ = ("_library", "_permit", "_upload")

    def __init__(self, permit: Permit, library: Library, request: Request) -> None:
        self._permit = permit
        self._library = library
        self._upload: Upload | None = None
        body = request.stream
        if not isinstance(body, library.replayable):
            if isinstance(body, library.stream):
                body = body.carried  # watched already: an earlier try, or the hop before a redirect
            self._upload = upload = Upload()
            request.stream = library.stream(body, upload.ended, upload.broke)

    def raised(self, error: BaseException) -> None:
        """Settle a request that got no response."""
        upload = self._upload
        if isinstance(error, self._library.own_faults) or (upload is not None and upload.broken):
            self._permit.ignore()
        else:
            self._permit.finish(error)

    def answered(self, request: Request, response: Response) -> None:
        """Settle by the head of the response, or watch its body."""
        permit, status = self._permit, response.status_code
        if is_failure(status):
            # No URL in the text: it is shown to operators, and a query may hold secrets.
            text = f"{status} {response.reason_phrase}"
            permit.finish(self._library.status_error(text, request=request, response=response))
        elif response.is_closed or ends_with_headers(request.method, status):
            permit.success()
        else:
            permit.answered()
            # Closed early is a success as well: the dependency answered. Were it ignored, a client that never
            # reads to the end (an event stream, a look at the status) would have only its failures counted.
            response.stream = self._library.stream(response.stream, permit.success, permit.finish)


# An upgrade to WebSocket speaks to the same listener (RFC 6455 §3).
_SCHEMES: Final[Mapping[str, str]] = {"http": "http", "https": "https", "ws": "http", "wss": "https"}


def breaker_of(registry: Registry, url: URL) -> CircuitBreaker | None:
    """Find the breaker of a URL's origin.

    One `host:port` has one listener, whatever scheme its callers write, and so one breaker.

    Returns:
        `None` for a URL that names no HTTP server, as far as the registry can tell: what becomes of the
        request is the transport's affair.
    """
    scheme = _SCHEMES.get(url.scheme)
    if scheme is None:
        return None
    try:
        return registry.for_origin(host_port(scheme, url.raw_host.decode("ascii"), url.port))
    except ValueError:
        return None
