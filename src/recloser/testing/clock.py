"""Time that stands still until a test moves it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Final

_REAL: Final = (time.monotonic, time.time)


class Clock:
    """Monotonic time and the time of day, which stand still until they are moved.

    May be given to whatever takes a clock: `Registry(declaration, clock=clock, wall_clock=clock.of_day)`.

    Attributes:
        elapsed: By how much it was moved (seconds).
    """

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._start_of_day = time.time()
        self.elapsed = 0.0

    def __call__(self) -> float:
        """Return the monotonic time (seconds)."""
        return self._start + self.elapsed

    def of_day(self) -> float:
        """Return the time of day (seconds since the epoch)."""
        return self._start_of_day + self.elapsed

    def advance(self, seconds: float) -> None:
        """Move on.

        Args:
            seconds: By how much, at least 0.

        Raises:
            ValueError: It would run backwards.
        """
        if not (math.isfinite(seconds) and seconds >= 0):
            raise ValueError(f"a clock moves forward by a number of seconds, got {seconds!r}")
        self.elapsed += seconds


class Hand:
    """What one breaker or cache reads in place of its own clock: that clock at the start, moved by `clock` since.

    Real time stands still at the start; a clock that a test made itself goes on being read. `clock` itself moves once.

    Args:
        own: What it read before.
        clock: What moves it.

    Attributes:
        own: What it read before.
        pending: By how much the next reading moves the clock, once it has been made: time that passes within a
            call, whose beginning is read before.
    """

    def __init__(self, own: Callable[[], float], clock: Clock) -> None:
        self.own = own
        self.pending = 0.0
        self._clock = clock
        self._from = clock.elapsed
        start, first = own(), self._from
        self._read: Callable[[], float] = own
        if own in _REAL:
            self._read = lambda: start
        elif own in (clock, clock.of_day):
            self._read = lambda: own() - clock.elapsed + first

    def __call__(self) -> float:
        """Return the time, and then let pass what is pending."""
        now = self._read() + self._clock.elapsed - self._from
        if self.pending:
            seconds, self.pending = self.pending, 0.0
            self._clock.advance(seconds)
        return now

    def let_go(self) -> None:
        """Read its own clock alone, for whoever took hold of this one during the test."""
        self._read, self._clock, self._from, self.pending = self.own, Clock(), 0.0, 0.0
