"""How long calls take, where the policy asks: noted as calls end, sorted into buckets later."""

from __future__ import annotations

from bisect import bisect_left
from typing import Final, NamedTuple

SORT_SECONDS: Final = 1.0


class Histogram(NamedTuple):
    """Calls by how long they took.

    Attributes:
        bounds: The buckets' upper bounds, which belong to them (seconds, rising).
        counts: Calls in each bucket; one more than bounds, since the last bucket has none.
        seconds: All calls together.
    """

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    seconds: float


class Durations:
    """The durations of one breaker's calls.

    `note(seconds)` is an append, which is atomic and takes no lock. All else is for one thread at a time; sorting
    at least every `SORT_SECONDS` while calls are made keeps what is noted small.

    Args:
        bounds: The buckets' upper bounds (seconds, rising).
    """

    __slots__ = ("_bounds", "_counts", "_noted", "_seconds", "note")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._noted: list[float] = []
        self.note = self._noted.append
        self.clear()

    def sort(self) -> None:
        """Sort what was noted into the buckets."""
        fresh = self._noted[:]
        del self._noted[: len(fresh)]
        for seconds in fresh:
            self._counts[bisect_left(self._bounds, seconds)] += 1
        self._seconds += sum(fresh)

    def read(self) -> Histogram:
        """Return all that was sorted."""
        return Histogram(self._bounds, tuple(self._counts), self._seconds)

    def clear(self) -> None:
        """Forget everything."""
        self._noted.clear()
        self._counts = [0] * (len(self._bounds) + 1)
        self._seconds = 0.0
