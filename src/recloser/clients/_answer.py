"""What the head of an HTTP response says about the dependency, whichever client received it."""

from __future__ import annotations


def is_failure(status: int) -> bool:
    """Tell whether a status says that the dependency is unwell: any 5xx, and 429 (RFC 6585 §4)."""
    return status >= 500 or status == 429


def ends_with_headers(method: str, status: int) -> bool:
    """Tell whether no body follows (RFC 9110 §6.4.1), or no HTTP at all: an upgraded connection (§7.8)."""
    return status < 200 or status in (204, 304) or method == "HEAD"
