"""One request and its response, as a breaker sees them: from the admission to the head of the response."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from traceback import walk_tb
from typing import Final

from recloser.clients._answer import ends_with_headers, is_failure
from recloser.config import host_port
from recloser.core.breaker import CircuitBreaker
from recloser.core.permit import Permit
from recloser.registry import Registry


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
        own_faults: Errors of a request that never reached its dependency. Waiting in vain for the connection
            pool is among them: other requests, often to other origins, have exhausted it, and they are judged
            by their own outcomes.

    Attributes:
        upload: The request's body, if it may break.
    """

    __slots__ = ("_own_faults", "permit", "upload")

    def __init__(self, permit: Permit, own_faults: tuple[type[Exception], ...]) -> None:
        self.permit = permit
        self._own_faults = own_faults
        self.upload: Upload | None = None

    def raised(self, error: BaseException) -> None:
        """Settle a request that got no response."""
        upload = self.upload
        own = isinstance(error, self._own_faults) and not _is_of_http2(error)
        own = own or (upload is not None and upload.broken)
        if own or any(_passed(one, _POOL_WAITS) for one in chain(error)):
            self.permit.ignore()
        else:
            self.permit.finish(error)

    def answered(self, method: str, status: int, error: Callable[[], Exception], *, whole: bool) -> bool:
        """Settle by the head of the response, if that says all.

        Args:
            method: Of the request.
            status: Of the response.
            error: Makes the library's error for a bad status. No URL in its text: it is shown to operators, and
                a query may hold secrets.
            whole: The body is in memory already.

        Returns:
            Whether the body must be watched. Closed early it is a success as well: the dependency answered. Were
            it ignored, a client that never reads to the end (an event stream, a look at the status) would have
            only its failures counted.
        """
        if is_failure(status):
            self.permit.finish(error())
        elif whole or ends_with_headers(method, status):
            self.permit.success()
        else:
            self.permit.answered()
            return True
        return False


# No type of error tells waiting for the pool from waiting for the network, but where it was raised does: a cancellation
# in httpcore, and whatever ends the wait in aiohttp.
_POOL_WAITS: Final = frozenset({"wait_for_connection", "_wait_for_available_connection"})
# httpcore takes frames that break the rules of HTTP/2 for its own mistake, also those that it has received.
_RECEIVING: Final = frozenset({"_read_incoming_data"})


def _is_of_http2(error: BaseException) -> bool:
    carried = () if error.__cause__ is None else error.__cause__.args
    return any(isinstance(one, BaseException) and _passed(one, _RECEIVING) for one in carried)


def _passed(error: BaseException, functions: frozenset[str]) -> bool:
    return any(frame.f_code.co_name in functions for frame, _ in walk_tb(error.__traceback__))


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """Follow an error to its causes."""
    while error is not None:
        yield error
        error = error.__cause__


# An upgrade to WebSocket speaks to the same listener (RFC 6455 §3).
_SCHEMES: Final[Mapping[str, str]] = {"http": "http", "https": "https", "ws": "http", "wss": "https"}


def breaker_at(registry: Registry, scheme: str, host: str, port: int | None) -> CircuitBreaker | None:
    """Find the breaker of a URL's origin.

    One `host:port` has one listener, whatever scheme its callers write, and so one breaker.

    Args:
        registry: Whose breakers guard the origins.
        scheme: Of the URL.
        host: Of the URL, in ASCII.
        port: Of the URL; `None`: the scheme's own.

    Returns:
        `None` for a URL that names no HTTP server, as far as the registry can tell: what becomes of the
        request is the transport's affair.
    """
    known = _SCHEMES.get(scheme)
    if known is None:
        return None
    try:
        return registry.for_origin(host_port(known, host, port))
    except ValueError:
        return None
