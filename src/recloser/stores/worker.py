"""This process as a member of the fleet."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from recloser.core.leading import LedDriver
from recloser.core.window import Counts
from recloser.stores.view import Belief, Worker

_NOTHING: Final = Counts()


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
        self._beliefs: dict[str, Belief] = {}

    def report(self, drivers: Iterable[LedDriver]) -> Worker:
        """Read what the breakers believe."""
        degraded: dict[str, int] = {}
        for (name, _), number in self.degraded().items():
            degraded[name] = degraded.get(name, 0) + number
        before = self._beliefs
        self._beliefs = {
            driver.name: _belief(driver, degraded.get(driver.name, 0), before.get(driver.name))
            for driver in drivers
        }
        return Worker(self.id, self._host, os.getpid(), self._version, self._started, self._beliefs)


def _belief(driver: LedDriver, degraded: int, before: Belief | None) -> Belief:
    if before is not None and driver.look(lambda: _is_as_before(driver, degraded, before)):
        return before
    return driver.run_quietly(lambda: _read(driver, degraded))


def _is_as_before(driver: LedDriver, degraded: int, before: Belief) -> bool:
    """Whether a breaker has had no call since, and its window is empty: most of an idle process's are such."""
    machine = driver.machine
    tally = machine.condition.tally
    return (
        tally is not None
        and not before.window_calls
        and before.epoch == machine.condition.epoch
        and before.calls == machine.totals.calls + tally.counter.read()
        and before.ignored == driver.ignored.read()
        and before.rejected == _rejected(driver)
        and before.degraded == degraded
    )


def _read(driver: LedDriver, degraded: int) -> Belief:
    # Only what is told: a whole snapshot of each breaker would be most of what an idle process does.
    machine = driver.machine
    condition, totals = machine.condition, machine.totals
    tally = condition.tally
    window, consecutive, counted = _NOTHING, 0, _NOTHING
    if tally is not None:
        window = tally.counts(driver.clock())
        consecutive = tally.current_run()
        counted = Counts(tally.calls, tally.failures, tally.slow)
    return Belief(
        epoch=condition.epoch,
        state=condition.state,
        mode=condition.override.mode,
        calls=totals.calls + counted.calls,
        failures=totals.failures + counted.failures,
        slow=totals.slow + counted.slow,
        ignored=driver.ignored.read(),
        rejected=_rejected(driver),
        probes=totals.probes,
        degraded=degraded,
        window_calls=window.calls,
        window_failures=window.failures,
        window_slow=window.slow,
        consecutive=consecutive,
        last_failure=machine.last_failure,
    )


def _rejected(driver: LedDriver) -> int:
    return sum([counter.read() for counter in list(driver.refused.values())])


def version_text() -> str:
    """Return the version of recloser."""
    try:
        return version("recloser")
    except PackageNotFoundError:
        return "unknown"
