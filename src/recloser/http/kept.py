"""What a cache of responses holds, and what each of them can do, wherever it keeps them."""

from __future__ import annotations

import math
import re
from collections.abc import Awaitable, Iterable
from functools import lru_cache
from typing import Final, NamedTuple, Protocol, TypeAlias

from recloser.http import fields, freshness
from recloser.http.messages import Headers, Request, Response
from recloser.http.storable import WHO_ASKS, kept_headers

MAX_VARIANTS: Final = 8
DEFAULT_MAX_BODY: Final = 1_000_000  # bytes
_OVERHEAD: Final = 1_000  # bytes of objects around one response, about
_PER_FIELD: Final = 150  # bytes of objects around one header

# Applications write links by them, or route by them.
_REWRITING: Final = frozenset(
    {
        *(
            "cf-visitor",
            "forwarded",
            "cloudfront-forwarded-proto",
            "front-end-https",
            "wl-proxy-ssl",
            "x-forwarded",
            "x-host",
            "x-original-host",
            "x-original-proto",
            "x-original-uri",
            "x-original-url",
            "x-real-host",
            "x-rewrite-url",
            "x-url-scheme",
        ),
        *("x-http-method", "x-http-method-override", "x-method-override", "x-scheme", "x-script-name"),
        *(
            f"x-forwarded-{part}"
            for part in (
                "host",
                "path",
                "port",
                "prefix",
                "proto",
                "protocol",
                "scheme",
                "server",
                "ssl",
                "uri",
            )
        ),
    }
)
# What selects of a header `Forwarded` (RFC 7239 §4): all but which way a request came, which differs for each client.
_FORWARDED: Final = "forwarded, less for and by"  # no header's name
_WAY: Final = re.compile(
    r"""(?:^|(?<=[;,]))\s*(?:for|by)=(?:[\w.:-]+|"[\w.:\[\]-]+")\s*(?=[;,]|$)""", re.IGNORECASE | re.ASCII
)
# Parts of the names of headers that say for whom an answer is made.
_FOR_WHOM: Final = frozenset(
    {
        *(
            "account",
            "auth",
            "authenticated",
            "cert",
            "company",
            "consumer",
            "credential",
            "customer",
            "email",
        ),
        *("identity", "impersonate", "jwt", "login", "member", "org", "organisation", "organization"),
        *("principal", "project", "role", "secret", "session", "shop", "site", "store", "tenant", "token"),
        *("user", "userid", "userinfo", "username", "workspace"),
    }
)
# Headers of nearly every request, of which none selects unless a `Vary` says so.
_COMMON: Final = frozenset(
    {
        *("accept", "accept-encoding", "accept-language", "cache-control", "connection", "dnt", "host"),
        *("if-modified-since", "if-none-match", "pragma", "priority", "referer", "te", "user-agent"),
        *("sec-ch-ua", "sec-ch-ua-mobile", "sec-ch-ua-platform", "sec-fetch-dest", "sec-fetch-mode"),
        *("sec-fetch-site", "sec-fetch-user", "upgrade-insecure-requests", "via", "x-forwarded-for"),
        *("x-real-ip", "x-request-id"),
    }
)
_LONGEST_NAME: Final = 64  # characters: what is known of names is remembered
# Known credentials are for the rules of what may be kept: where a partition or an author's word lifts those, a new
# token is no reason to find nothing.
_FOR_NOBODY: Final = frozenset({"user-agent", "sec-fetch-user", "sec-fetch-site", *WHO_ASKS})

Selection: TypeAlias = tuple[tuple[str, str | None], ...]


class Kept(NamedTuple):
    """A good response, kept for others.

    Attributes:
        response: Without the headers that belong to its first receiver.
        selection: The request headers that it was selected by (RFC 9111 §4.1), `None` where absent.
        lifetime: How long it is fresh (seconds).
        stale_limit: How long it lets itself be served past that (seconds).
        born: When its age was 0 (seconds of the cache's clock).
        size: About the memory that it takes, in bytes.
    """

    response: Response
    selection: Selection
    lifetime: int
    stale_limit: float
    born: float
    size: int


class Cache(Protocol):
    """Where the last good responses are kept, those of a partition apart from all others."""

    @property
    def max_body(self) -> int:
        """The bytes of the longest body to keep."""
        ...

    def keep(self, request: Request, response: Response, *, max_stale: float = math.inf) -> None:
        """Keep a response that is storable, instead of the one kept for such a request before.

        Args:
            request: What was asked.
            response: The whole answer.
            max_stale: For how long past its freshness a plan may serve it, in seconds.
        """
        ...

    def refresh(self, request: Request, head: Response, *, max_stale: float = math.inf) -> None:
        """Renew what is kept for such a request by a 304 (RFC 9111 §4.3.4).

        Args:
            request: What was asked.
            head: The 304.
            max_stale: For how long past its freshness a plan may serve it, in seconds.
        """
        ...

    def find(self, request: Request) -> Kept | Awaitable[Kept | None] | None:
        """Find the most recent response that a GET or HEAD request selects (RFC 9111 §4, §4.1).

        Returns:
            The response; where an event loop runs and this may take a while, what to await for it.
        """
        ...

    def age(self, kept: Kept) -> int:
        """Compute a response's current age (RFC 9111 §4.2.3), in whole seconds."""
        ...

    def drop(self, request: Request) -> None:
        """Drop what is kept for the request's target in its own partition."""
        ...

    def forget(self, request: Request) -> None:
        """Drop what is kept for the request's target in all partitions (RFC 9111 §4.4)."""
        ...

    def holds(self, path: str) -> bool:
        """Tell cheaply whether anything may be kept for a path."""
        ...


def made(request: Request, response: Response, *, now: float, wall: float) -> Kept:
    """Make what is to be kept of a response.

    Args:
        request: What was asked.
        response: The whole answer.
        now: Of the clock by which the cache measures ages (seconds).
        wall: Seconds since the epoch; dates are compared with it.
    """
    varying = sorted(fields.members(response.header("vary")) | request.selecting | _unsaid(request))
    selection = tuple((name, selecting(request, name)) for name in varying)
    headers = kept_headers(response.headers)
    target = (request.scheme, request.host, request.path, request.raw_path, request.query, request.partition)
    return Kept(
        response=Response(response.status, headers, response.body),
        selection=selection,
        lifetime=freshness.lifetime(response, wall),
        stale_limit=freshness.stale_limit(response),
        born=now - freshness.initial_age(response, wall),
        size=len(response.body) + _OVERHEAD + sum(map(len, target)) + _text(headers) + _text(selection),
    )


# A 304 speaks of the content that is kept: what it says of its own is nothing to go by (RFC 9111 §3.2).
_OF_CONTENT: Final = frozenset({"content-encoding", "content-length", "content-range", "content-type"})


def freshened(response: Response, head: Response) -> Response | None:
    """Renew a kept response by a 304 that the application has given (RFC 9111 §4.3.4).

    Args:
        response: As it was kept.
        head: The 304.

    Returns:
        The response with the newer headers, or `None` if the 304 is about another one.
    """
    validator = next((name for name in ("etag", "last-modified") if head.header(name) is not None), "")
    if not validator or head.header(validator) != response.header(validator):
        return None
    newer = tuple(header for header in head.headers if header[0] not in _OF_CONTENT)
    replaced = {name for name, _value in newer} | {"date"}  # without one it is as old as its arrival
    return Response(
        response.status,
        (*(header for header in response.headers if header[0] not in replaced), *newer),
        response.body,
    )


def selects(request: Request, selection: Selection) -> bool:
    """Tell whether a request has the headers that a response was selected by, and no other that may select."""
    unsaid = _unsaid(request)
    if not selection:
        return not unsaid
    return unsaid.issubset(dict(selection)) and all(
        selecting(request, name) == value for name, value in selection
    )


def is_selected_by(request: Request, names: Iterable[str]) -> bool:
    """Tell whether all of a request's headers that may select, although no `Vary` says so, are among some names."""
    return _unsaid(request).issubset(names)


def selecting(request: Request, name: str) -> str | None:
    """Return that of a request which selects under a name of a selection."""
    if name != _FORWARDED:
        return request.header(name)
    forwarded = request.header("forwarded")
    return None if forwarded is None else _WAY.sub("", forwarded).strip(" \t;,") or None


def _unsaid(request: Request) -> set[str]:
    # Whoever makes such a header up gets a page of his own, and nobody gets another one's.
    names = {name for name, _value in request.headers} - _COMMON  # of most requests that leaves nothing
    if not names:
        return names
    names = {name for name in names if len(name) < _LONGEST_NAME and _may_select(name)}
    if "forwarded" in names:
        names.remove("forwarded")
        if selecting(request, _FORWARDED) is not None:
            names.add(_FORWARDED)
    return names


@lru_cache(maxsize=1024)
def _may_select(name: str) -> bool:
    return name in _REWRITING or (name not in _FOR_NOBODY and not _FOR_WHOM.isdisjoint(name.split("-")))


def _text(pairs: Selection | Headers) -> int:
    return sum(len(name) + len(value or "") + _PER_FIELD for name, value in pairs)
