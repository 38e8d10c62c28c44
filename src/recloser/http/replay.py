"""A kept response, served again: fresh or stale, whole or as a 304, and marked as what it is."""

from __future__ import annotations

from typing import Final

from recloser.http import fields, freshness
from recloser.http.kept import Kept
from recloser.http.messages import Headers, Request, Response, joined

# RFC 9110 §15.4.5: what a 304 repeats; Last-Modified where no ETag says more.
_IN_NOT_MODIFIED: Final = frozenset(
    {"age", "cache-control", "cache-status", "content-location", "date", "etag", "expires", "vary"}
)
# Of a private response's directives, those that its user's own cache obeys (RFC 9111 §5.2.2).
_FOR_A_USER: Final = frozenset({"max-age", "must-revalidate", "stale-if-error", "immutable"})
# A cache may not evaluate these preconditions (RFC 9111 §4.3.2), and parts of a stale whole are not served.
_BEYOND_A_CACHE: Final = frozenset({"range", "if-match", "if-unmodified-since"})


def may_replay(request: Request) -> bool:
    """Tell whether a kept response can be an answer to this request at all."""
    return request.method in {"GET", "HEAD"} and _BEYOND_A_CACHE.isdisjoint(
        [name for name, _ in request.headers]
    )


def replay(request: Request, kept: Kept, *, age: int, max_stale: float, detail: str) -> Response | None:
    """Serve a kept response again.

    Args:
        request: A GET or HEAD request that selects it; HEAD is answered from a kept GET (RFC 9110 §9.3.2).
        kept: The response.
        age: Its current age, in seconds.
        max_stale: For how long past its freshness it may be served, in seconds.
        detail: Why the cache was asked, a token for `Cache-Status`.

    Returns:
        The response with `Age` (RFC 9111 §5.1) and `Cache-Status` (RFC 9211), a 304 where the client has it
        already (RFC 9111 §4.3.2), or `None` if it is too old.
    """
    time_to_live = kept.lifetime - age
    if time_to_live <= 0:  # RFC 9111 §4.2: fresh while the lifetime is greater than the age
        limit = min(max_stale, kept.stale_limit, freshness.tolerated_staleness(request))
        if limit <= 0 or -time_to_live > limit:
            return None
    status = f"recloser; hit; ttl={time_to_live}; detail={detail}"
    headers, earlier = kept.response.headers, kept.response.header("cache-status")
    if earlier is not None:  # RFC 9211 §2: the list grows from the origin's side to the client's
        headers = tuple(header for header in headers if header[0] != "cache-status")
        status = f"{earlier}, {status}"
    headers += (("age", str(age)), ("cache-status", status))
    if request.partition:
        headers = _for_its_user(headers)
    if kept.response.status < 300 and _not_modified(request, kept.response):  # RFC 9110 §13.2.1
        return Response(304, _for_not_modified(headers))
    headers += (("content-length", str(len(kept.response.body))),)
    return Response(kept.response.status, headers, kept.response.body)


def _not_modified(request: Request, response: Response) -> bool:
    wanted = request.header("if-none-match")
    if wanted is not None:  # RFC 9110 §13.1.2; it overrides If-Modified-Since (§13.1.3)
        own = fields.entity_tags(response.header("etag") or "")
        return wanted == "*" or not own.isdisjoint(fields.entity_tags(wanted))
    since = fields.timestamp(request.header("if-modified-since"))
    if since is None:
        return False
    modified = fields.timestamp(response.header("last-modified"))
    return modified is not None and modified <= since


def _for_its_user(headers: Headers) -> Headers:
    # What the application's own middleware says of it, such as `Vary: Cookie`, may be missing here.
    control = fields.directives(joined(headers, "cache-control"))
    said = [
        name if argument is None else f"{name}={argument}"
        for name, argument in control.items()
        if name in _FOR_A_USER and (argument is None or argument.isdigit())
    ]
    kept = tuple(header for header in headers if header[0] != "cache-control")
    return (*kept, ("cache-control", ", ".join(["private", *said])))  # RFC 9111 §5.2.2.7


def _for_not_modified(headers: Headers) -> Headers:
    names = {name for name, _ in headers}
    repeated = _IN_NOT_MODIFIED if "etag" in names else _IN_NOT_MODIFIED | {"last-modified"}
    return tuple(header for header in headers if header[0] in repeated)
