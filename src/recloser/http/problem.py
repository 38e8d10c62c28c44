"""The plain answer: 503 as a problem document (RFC 9457) or as a small page, and when to come back."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Callable
from typing import Final

from recloser.core.errors import CircuitOpenError
from recloser.http import fields, rigging
from recloser.http.failure import CallFailedError, Trouble
from recloser.http.messages import Request, Response

_TITLE: Final = "Service Unavailable"
_PAGE: Final = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title></head>
<body><h1>{title}</h1><p>{detail}</p>{more}</body>
</html>
"""


def retry_after(error: Trouble, random: Callable[[], float]) -> int:
    """Choose a `Retry-After` (RFC 9110 §10.2.3) that spreads those who obey it.

    Args:
        error: The refusal or failure.
        random: Uniform in [0, 1).

    Returns:
        Whole seconds, at least 1, at least the error's own, and up to a quarter more; in a test's hands none more.
    """
    wait = error.retry_after
    if rigging.named_for:
        return max(1, math.ceil(round(wait, 6)))  # the sums of a clock that stands still are not exact
    return max(1, math.ceil(wait + random() * max(1.0, wait / 4)))


def unavailable(request: Request, error: Trouble, *, wait: int, expose: bool) -> Response:
    """Answer 503.

    Args:
        request: Its Accept chooses between a problem document and a page.
        error: The refusal or failure.
        wait: For `Retry-After`, in seconds.
        expose: Whether the breaker, its condition and its last failure may be named.

    Returns:
        `application/problem+json` (RFC 9457), or HTML for a client that prefers it.
    """
    seconds = "1 second" if wait == 1 else f"{wait} seconds"
    detail = f"A service that this answer depends on is not available. Please try again in {seconds}."
    facts = _facts(error) if expose else {}
    if _prefers_html(request):
        rows = "".join(
            f"<dt>{html.escape(name)}</dt><dd>{html.escape(text)}</dd>" for name, text in facts.items()
        )
        page = _PAGE.format(title=_TITLE, detail=detail, more=f"<dl>{rows}</dl>" if rows else "")
        content_type, body = "text/html; charset=utf-8", page.encode()
    else:
        problem = {"type": "about:blank", "title": _TITLE, "status": 503, "detail": detail, **facts}
        content_type, body = "application/problem+json", json.dumps(problem).encode()
    return Response(
        503,
        (
            ("content-type", content_type),
            ("content-length", str(len(body))),
            ("retry-after", str(wait)),
        ),
        body,
    )


def _facts(error: Trouble) -> dict[str, str]:
    # RFC 9457 §3.2: extension members.
    facts = {"breaker": error.breaker}
    if not isinstance(error, CallFailedError):
        facts |= {"state": str(error.state), "reason": str(error.reason)}
        facts["cause"] = "" if error.cause is None else str(error.cause)
    facts["last_failure"] = error.last_failure
    return {name: text for name, text in facts.items() if text}


def _prefers_html(request: Request) -> bool:
    accept = request.header("accept")
    json_weight = fields.preference(accept, "application/problem+json", "application/json")
    return fields.preference(accept, "text/html") > json_weight


def detail_token(error: Trouble) -> str:
    """Name the refusal or failure for `Cache-Status` (RFC 9211 §2.7)."""
    if isinstance(error, CallFailedError):
        return "call-failed"
    return "circuit-open" if isinstance(error, CircuitOpenError) else "bulkhead-full"
