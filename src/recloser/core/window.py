"""The recent outcomes of a closed breaker: one counter for all calls, and what is known of the bad ones.

A success is one tick of a counter and stores nothing. Failures and slow calls are noted by the call's number
in that counter, so a window of any size costs the same (SEMANTICS B1, B3).
"""

from __future__ import annotations

from itertools import count
from math import floor, inf
from typing import Final, NamedTuple, Protocol

BUCKETS: Final = 10


class Counts(NamedTuple):
    """What a window holds, in calls."""

    calls: int = 0
    failures: int = 0
    slow: int = 0


class CallCounter:
    """Counts calls by `tick()`, which is atomic and takes no lock; reading consumes a number.

    `number` and `read` are for one thread at a time.
    """

    __slots__ = ("_reads", "tick")

    def __init__(self) -> None:
        self.tick = count(1).__next__
        self._reads = 0

    def number(self) -> int:
        """Count one call and return its number, from 1 on without gaps."""
        return self.tick() - self._reads

    def read(self) -> int:
        """Return how many calls were counted."""
        self._reads += 1
        return self.tick() - self._reads


class Window(Protocol):
    """Recent outcomes. Call numbers come from one `CallCounter` and never go back."""

    next_roll: float

    def advance(self, before: int, now: float) -> None:
        """Move to `now` (monotonic seconds); the calls up to number `before` belong to what was until now."""
        ...

    def note(self, number: int, *, failed: bool, slow: bool) -> None:
        """Note the bad call `number`."""
        ...

    def counts(self, number: int) -> Counts:
        """Count what the window holds when `number` is the last call."""
        ...


class NoWindow:
    """For policies that judge no rate."""

    __slots__ = ()
    next_roll = inf

    def advance(self, before: int, now: float) -> None:
        """Nothing moves."""

    def note(self, number: int, *, failed: bool, slow: bool) -> None:
        """Nothing is kept."""

    def counts(self, number: int) -> Counts:  # noqa: ARG002 - there is nothing to count
        """Nothing is held."""
        return Counts()


class CallWindow:
    """The last `size` calls: a bit per call."""

    __slots__ = ("_failed", "_size", "_slow")
    next_roll = inf

    def __init__(self, size: int) -> None:
        self._size = size
        self._failed = BitRing(size)
        self._slow = BitRing(size)

    def advance(self, before: int, now: float) -> None:
        """Time does not move this window."""

    def note(self, number: int, *, failed: bool, slow: bool) -> None:
        """Note the bad call `number`."""
        if failed:
            self._failed.add(number)
        if slow:
            self._slow.add(number)

    def counts(self, number: int) -> Counts:
        """Count what the window holds when `number` is the last call."""
        oldest = number - self._size + 1
        return Counts(min(number, self._size), self._failed.count(oldest), self._slow.count(oldest))


class TimeWindow:
    """The last `seconds`, in ten buckets aligned to the clock."""

    __slots__ = ("_base", "_bucket", "_failures", "_past", "_past_counts", "_slow", "_width", "next_roll")

    def __init__(self, seconds: float, now: float) -> None:
        self._width = seconds / BUCKETS
        self._bucket = floor(now / self._width)
        self._base = self._failures = self._slow = 0
        self._past: list[tuple[int, Counts]] = []
        self._past_counts = Counts()
        self.next_roll = (self._bucket + 1) * self._width

    def advance(self, before: int, now: float) -> None:
        """Close the bucket that ended and forget those that the window has left behind."""
        bucket = floor(now / self._width)
        if bucket <= self._bucket:
            return
        self._past.append((self._bucket, Counts(before - self._base, self._failures, self._slow)))
        oldest = bucket - BUCKETS + 1
        self._past = [entry for entry in self._past if entry[0] >= oldest]
        self._past_counts = Counts(*map(sum, zip(*(held for _, held in self._past), strict=True)))
        self._base, self._failures, self._slow = before, 0, 0
        self._bucket = bucket
        self.next_roll = (bucket + 1) * self._width

    def note(self, number: int, *, failed: bool, slow: bool) -> None:  # noqa: ARG002 - buckets need no number
        """Note a bad call in the present bucket."""
        self._failures += failed
        self._slow += slow

    def counts(self, number: int) -> Counts:
        """Count what the window holds when `number` is the last call."""
        calls, failures, slow = self._past_counts
        return Counts(calls + number - self._base, failures + self._failures, slow + self._slow)


class BitRing:
    """A set of growing numbers, of which only the last `size` matter: a bit each, counted as they leave."""

    __slots__ = ("_bits", "_capacity", "_held", "_oldest", "_size")

    def __init__(self, size: int) -> None:
        self._size = size
        self._capacity = 0
        self._bits = bytearray()
        self._held = 0
        self._oldest = 0  # no held number is below

    def add(self, number: int) -> None:
        """Add `number`, which is above all held ones."""
        if not self._bits:  # memory is for those who fail
            self._bits = bytearray(self._size // 8 + 1)
            self._capacity = len(self._bits) * 8
        self.count(number - self._size + 1)
        at = number % self._capacity
        self._bits[at >> 3] |= 1 << (at & 7)
        self._held += 1

    def count(self, oldest: int) -> int:
        """Forget the numbers below `oldest` and return how many are left."""
        if oldest > self._oldest:
            if self._held:
                self._forget(self._oldest, oldest)
            self._oldest = oldest
        return self._held

    def _forget(self, low: int, high: int) -> None:
        if high - low >= self._capacity:
            self._bits = bytearray(len(self._bits))
            self._held = 0
            return
        while low < high and self._held:
            at = low % self._capacity
            whole = min(high - low, self._capacity - at) >> 3
            if at & 7 or not whole:
                bit = 1 << (at & 7)
                if self._bits[at >> 3] & bit:
                    self._bits[at >> 3] ^= bit
                    self._held -= 1
                low += 1
            else:
                gone = slice(at >> 3, (at >> 3) + whole)
                self._held -= int.from_bytes(self._bits[gone], "little").bit_count()
                self._bits[gone] = bytes(whole)
                low += whole * 8
