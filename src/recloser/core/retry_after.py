"""`Retry-After` (RFC 9110 §10.2.3): how long a failing dependency asks to be left alone."""

from __future__ import annotations

import math
from collections.abc import Callable


def parse(value: object, wall_clock: Callable[[], float]) -> float | None:
    """Read a `Retry-After` value.

    Args:
        value: Seconds as a number or digits, or an HTTP date.
        wall_clock: Gives the time of day (seconds since the epoch); only read for dates.

    Returns:
        Seconds to wait, at least 0; `None` if the value says nothing.
    """
    try:
        return _parse(value, wall_clock)
    except Exception:  # somebody else's number or text may do anything
        return None


def _parse(value: object, wall_clock: Callable[[], float]) -> float | None:
    if isinstance(value, int | float):
        return max(0.0, float(value)) if math.isfinite(value) else None
    if not isinstance(value, str):
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text[:12])
    return _until(text, wall_clock()) if text.endswith("GMT") else None


def _until(date: str, wall: float) -> float | None:
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 - rare, and dear to import

    return max(0.0, parsedate_to_datetime(date).timestamp() - wall)


def of(subject: object, wall_clock: Callable[[], float]) -> float | None:
    """Find the `Retry-After` that came with a failure.

    Args:
        subject: An exception or a result: its own `retry_after`, or the headers of its `response` or its own.
        wall_clock: Gives the time of day (seconds since the epoch); only read for dates.

    Returns:
        Seconds to wait, or `None` if there is none to be found.
    """
    try:
        own = getattr(subject, "retry_after", None)
        if own is not None:
            return parse(own, wall_clock)
        headers = getattr(getattr(subject, "response", subject), "headers", None)
        return None if headers is None else parse(headers.get("Retry-After"), wall_clock)
    except Exception:
        return None
