"""A breaker's numbers as plain values: for JSON, for a table, for a page."""

from __future__ import annotations

import os
import socket
from datetime import UTC, datetime

from recloser.core.breaker import CircuitBreaker


def page_note() -> str:
    """Say whose state a page shows and changes."""
    return (
        f"This is worker process {os.getpid()} on {socket.gethostname()} alone: without a shared store each worker "
        "decides by itself, and an action here reaches this one only."
    )


def command_note() -> str:
    """Say whose state a command shows and changes."""
    return (
        f"This is the command's own process ({os.getpid()} on {socket.gethostname()}): without a shared store it "
        "reaches no running worker, and what it changed ends with it."
    )


def describe(breaker: CircuitBreaker) -> dict[str, object]:
    """Describe a breaker by values that JSON can write. Times are seconds, `until` is ISO 8601."""
    now = breaker.snapshot()
    until = None if now.mode.until is None else datetime.fromtimestamp(now.mode.until, UTC).isoformat()
    return {
        "name": now.name,
        "state": str(now.state),
        "since": round(now.elapsed, 3),
        "cause": "" if now.cause is None else str(now.cause),
        "retry_after": round(now.retry_after, 3),
        "last_failure": now.last_failure,
        "mode": {"mode": str(now.mode.mode), "by": now.mode.by, "why": now.mode.why, "until": until},
        "calls": now.calls,
        "failures": now.failures,
        "slow": now.slow,
        "ignored": now.ignored,
        "rejected": {str(reason): number for reason, number in now.rejected.items()},
    }
