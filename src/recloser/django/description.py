"""A breaker's numbers as plain values: for JSON, for a table, for a page."""

from __future__ import annotations

import os
import socket
import time
from datetime import UTC, datetime
from typing import Final

from django.utils import formats, timezone

from recloser.core.breaker import CircuitBreaker
from recloser.core.state import Override, State
from recloser.django.lazy import registry
from recloser.status.redaction import redacted
from recloser.stores.health import Connection
from recloser.stores.protocol import StoreError

FLEET_SECONDS: Final = 0.5  # that a page waits for the store
_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"))


def page_note() -> str:
    """Say whose state a page shows and changes."""
    here = f"worker process {os.getpid()} on {socket.gethostname()}"
    health = registry.store_health
    if health.connection is Connection.NONE:
        return (
            f"This is {here} alone: without a shared store each worker decides by itself, and an action here reaches "
            "this one only."
        )
    if health.connection is Connection.UP:
        workers = f"{health.workers} worker{'s' * (health.workers != 1)}"
        return (
            f"States and modes are those of the fleet ({workers} at the store {health.address}), and an action here "
            f"reaches all of it. Numbers are those of {here}."
        )
    return f"This is {here} alone: {health}. The fleet hears of an action here when the store is back."


def reach(*, in_fleet: bool) -> str:
    """Say how far an action went."""
    return "in the whole fleet" if in_fleet else f"in worker process {os.getpid()} alone"


def command_note() -> str:
    """Say whose state a command shows and changes."""
    here = f"the command's own process ({os.getpid()} on {socket.gethostname()})"
    health = registry.store_health
    if health.connection is Connection.NONE:
        return f"This is {here}: without a shared store it reaches no running worker, and what it changed ends with it."
    if health.connection is Connection.UP:
        return f"States and modes are those of the fleet at the store {health.address}. Numbers are those of {here}."
    return f"This is {here}: {health}."


def workers() -> list[dict[str, str]]:
    """Describe the fleet's workers, as texts for a table; none without a store, or while it does not answer."""
    try:
        fleet = registry.fleet(FLEET_SECONDS)
    except StoreError:
        return []
    return [
        {
            "process": f"{worker.pid} on {worker.host}",
            "heard": duration(ago),
            "age": duration(time.time() - worker.started),
            "version": worker.version,
            "circuits": ", ".join(
                f"{name}: {belief.state.prose}"
                for name, belief in worker.beliefs.items()
                if belief.state is not State.CLOSED
            ),
        }
        for worker, ago in (fleet.workers if fleet is not None else ())
    ]


def duration(seconds: float) -> str:
    """Tell a duration in its largest whole unit."""
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{seconds // size:.0f} {unit}"
    return f"{seconds // 1:.0f} s"


def override(mode: Override) -> str:
    """Tell a mode: who set it, why, and until when in the site's time zone."""
    told = mode.mode.replace("_", " ")
    if mode.by:
        told += f" by {mode.by}: {mode.why}"
    if mode.until is None:
        return told
    until = timezone.localtime(datetime.fromtimestamp(mode.until, UTC))
    return f"{told} (until {formats.date_format(until, 'DATETIME_FORMAT')} {until.tzname()})"


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
        "last_failure": redacted(now.last_failure),
        "mode": {"mode": str(now.mode.mode), "by": now.mode.by, "why": now.mode.why, "until": until},
        "calls": now.calls,
        "failures": now.failures,
        "slow": now.slow,
        "ignored": now.ignored,
        "rejected": {str(reason): number for reason, number in now.rejected.items()},
    }
