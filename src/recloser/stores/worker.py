"""This process as a member of the fleet."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version

from recloser.core import snapshot
from recloser.core.leading import LedDriver
from recloser.stores.view import Belief, Worker


class Myself:
    """Says who this process is and what it believes.

    Args:
        wall_clock: Time of day (seconds since the epoch).

    Attributes:
        id: Unique over the fleet, also after forks and restarts.
        degraded: Tells how many answers this process gave in the breakers' stead, by breaker and strategy.
    """

    degraded: Callable[[], Mapping[tuple[str, str], int]] = dict

    def __init__(self, wall_clock: Callable[[], float]) -> None:
        self.id = uuid.uuid4().hex[:16]
        self._host = socket.gethostname()[:64]
        self._started = wall_clock()
        self._version = version_text()

    def report(self, drivers: Iterable[LedDriver]) -> Worker:
        """Read what the breakers believe."""
        degraded: dict[str, int] = {}
        for (name, _), number in self.degraded().items():
            degraded[name] = degraded.get(name, 0) + number
        beliefs = {driver.name: _belief(driver, degraded.get(driver.name, 0)) for driver in drivers}
        return Worker(self.id, self._host, os.getpid(), self._version, self._started, beliefs)


def _belief(driver: LedDriver, degraded: int) -> Belief:
    seen = driver.run_quietly(lambda: snapshot.read(driver))
    return Belief(
        epoch=seen.epoch,
        state=seen.state,
        mode=seen.mode.mode,
        calls=seen.calls,
        failures=seen.failures,
        slow=seen.slow,
        ignored=seen.ignored,
        rejected=sum(seen.rejected.values()),
        probes=seen.probes,
        degraded=degraded,
        window_calls=seen.window.calls,
        window_failures=seen.window.failures,
        window_slow=seen.window.slow,
        consecutive=seen.consecutive_failures,
        last_failure=seen.last_failure,
    )


def version_text() -> str:
    """Return the version of recloser."""
    try:
        return version("recloser")
    except PackageNotFoundError:
        return "unknown"
