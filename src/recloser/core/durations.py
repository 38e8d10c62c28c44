"""How long calls take, where the policy asks: noted as calls end, sorted into buckets later.

Most calls are noted on the sheet of their epoch, which counts them too: its `append` is all that is done for a
success, and is atomic, needs no lock, and costs less than a tick of a counter.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from math import inf
from typing import Final, NamedTuple

from recloser.core.window import CallCounter

SORT_SECONDS: Final = 0.1
_AT_ONCE: Final = 1000  # short lists are sorted for a third of what a search for each duration costs


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


class Sheet(list[float]):
    """How long calls took (seconds), as they note it.

    Attributes:
        until: It admits the calls that begin before this moment (monotonic seconds).
    """

    __slots__ = ("until",)

    def __init__(self) -> None:
        super().__init__()
        self.until = -inf


NO_SHEET: Final = Sheet()  # admits nobody, so nobody writes on it


class SheetCounter(CallCounter):
    """Counts the calls of one epoch, by ticks and on its sheet.

    Attributes:
        sheet: Of this epoch.
    """

    __slots__ = ("_taken", "sheet")

    def __init__(self) -> None:
        super().__init__()
        self.sheet = Sheet()
        self._taken = 0

    def number(self) -> int:
        """Count one call and return its number, from 1 on without gaps."""
        return super().number() + self._noted()

    def read(self) -> int:
        """Return how many calls were counted."""
        return super().read() + self._noted()

    def take(self) -> list[float]:
        """Take what is noted off the sheet (seconds). It stays counted."""
        noted = self.sheet[:]
        self._taken += len(noted)  # first: an interruption may make numbers jump, but never go back
        del self.sheet[: len(noted)]
        return noted

    def _noted(self) -> int:
        return self._taken + len(self.sheet)


class Durations:
    """The durations of one breaker's calls.

    `note(seconds)` is for calls that are on no sheet: an append, which is atomic and takes no lock. All else is for
    one thread at a time; sorting at least every `SORT_SECONDS` while calls are made keeps what is noted small.

    Args:
        bounds: The buckets' upper bounds (seconds, rising).
    """

    __slots__ = ("_bounds", "_counts", "_noted", "_seconds", "note")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._noted: list[float] = []
        self.note = self._noted.append
        self.clear()

    def sort(self, noted: Iterable[float] = ()) -> None:
        """Sort what was noted into the buckets, here and on a sheet (seconds)."""
        fresh = self._noted[:]
        del self._noted[: len(fresh)]
        fresh += noted
        for start in range(0, len(fresh), _AT_ONCE):
            self._add(sorted(fresh[start : start + _AT_ONCE]))

    def _add(self, rising: list[float]) -> None:
        self._seconds += sum(rising)
        bounds, number, at = self._bounds, len(rising), 0
        while at < number:
            bucket = bisect_left(bounds, rising[at])
            upto = bisect_right(rising, bounds[bucket], at) if bucket < len(bounds) else number
            self._counts[bucket] += upto - at
            at = upto

    def read(self) -> Histogram:
        """Return all that was sorted."""
        return Histogram(self._bounds, tuple(self._counts), self._seconds)

    def clear(self) -> None:
        """Forget everything."""
        self._noted.clear()
        self._counts = [0] * (len(self._bounds) + 1)
        self._seconds = 0.0
