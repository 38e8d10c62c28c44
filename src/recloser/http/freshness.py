"""How old a kept response is, and how long it may still be served."""

from __future__ import annotations

from collections.abc import Mapping

from recloser.http import fields
from recloser.http.messages import Request, Response

# RFC 9111 §4.2.4: prohibited by an explicit in-protocol directive. s-maxage incorporates proxy-revalidate
# (§5.2.2.10), and no-cache is never kept at all.
_NEVER_STALE = frozenset({"must-revalidate", "proxy-revalidate", "s-maxage", "no-cache"})


def lifetime(response: Response, wall: float) -> int:
    """Compute the freshness lifetime, as a shared cache sees it (RFC 9111 §4.2.1).

    Args:
        response: Its Cache-Control, Expires and Date count.
        wall: When it was received (seconds of the wall clock).

    Returns:
        Whole seconds; 0 without an explicit lifetime, as nothing is guessed here (§4.2.2).
    """
    control = fields.directives(response.header("cache-control"))
    for directive in ("s-maxage", "max-age"):
        if directive in control:
            # An unreadable lifetime is none (§4.2.1).
            return fields.seconds(control[directive]) or 0
    if response.header("expires") is not None:
        expires = fields.timestamp(response.header("expires"))
        if expires is None:  # an invalid date, especially "0", is in the past (§5.3)
            return 0
        sent = fields.timestamp(response.header("date"))
        return max(0, int(expires - (wall if sent is None else sent)))
    return 0


def initial_age(response: Response, wall: float) -> float:
    """Compute how old a response already was when it was received (RFC 9111 §4.2.3), in seconds."""
    sent = fields.timestamp(response.header("date"))
    apparent = 0.0 if sent is None else max(0.0, wall - sent)
    # Of a repeated Age the first counts (§5.1).
    declared = fields.seconds((response.header("age") or "").partition(",")[0].strip())
    return max(apparent, float(declared or 0))


def stale_limit(response: Response) -> float:
    """Compute for how long past its freshness a response lets itself be served because of an error.

    A directive that demands validation forbids it (RFC 9111 §4.2.4), `stale-if-error` bounds it (RFC 5861 §4).

    Returns:
        Seconds; infinite where it says nothing.
    """
    control = fields.directives(response.header("cache-control"))
    return 0.0 if control.keys() & _NEVER_STALE else _if_error(control)


def tolerated_staleness(request: Request) -> float:
    """Compute how stale an answer a request tolerates because of an error (RFC 5861 §4).

    Its `no-cache` and `max-age` are preferences (RFC 9111 §5.2.1), which an answer serves better than none.

    Returns:
        Seconds; infinite where it says nothing.
    """
    control = request.header("cache-control")
    return float("inf") if control is None else _if_error(fields.directives(control))


def _if_error(control: Mapping[str, str | None]) -> float:
    if "stale-if-error" not in control:
        return float("inf")
    return float(fields.seconds(control["stale-if-error"]) or 0)
