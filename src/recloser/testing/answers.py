"""The degraded answers of a test: its caches are empty and keep the test's time, and answers say who gave them."""

from __future__ import annotations

from typing import Any

from recloser.http import rigging
from recloser.testing.clock import Clock, Hand


class Answers:
    """What becomes of response caches and answers while a test runs.

    Args:
        clock: The test's.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def begin(self) -> None:
        """Empty the caches, and let answers be named."""
        rigging.named_for.add(self)
        for cache in list(rigging.caches):
            cache.clear()
            self._take(cache)
        rigging.hearers.append(self._take)

    def _take(self, cache: rigging.Cache) -> None:
        private: Any = cache
        private._clock = Hand(private._clock, self._clock)
        private._wall_clock = Hand(private._wall_clock, self._clock)

    def end(self) -> None:
        """Undo that; what was kept during the test is forgotten."""
        rigging.named_for.discard(self)
        rigging.hearers.remove(self._take)
        for cache in list(rigging.caches):
            private: Any = cache
            cache.clear()
            private._clock, private._wall_clock = private._clock.own, private._wall_clock.own
