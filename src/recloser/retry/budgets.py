"""The retry budget: of a breaker's recent calls, only a small share may be retries.

Without one, every failing call becomes `attempts` calls just when its dependency can bear them least. (Google, Site
Reliability Engineering, chapter 22, "Retries"; Finagle's `RetryBudget`.)
"""

from __future__ import annotations

import weakref
from _thread import RLock
from typing import Final, NamedTuple

from recloser.core import fork, living
from recloser.core.breaker import CircuitBreaker
from recloser.core.driver import Driver
from recloser.core.errors import ConfigurationError, Problem

SHARE: Final = 0.2
FLOOR: Final = 5
WINDOW: Final = 10.0
BUCKETS: Final = 10


class BudgetCounts(NamedTuple):
    """What a breaker's retries came to since the budget was made.

    Attributes:
        granted: Retries that were allowed.
        exhausted: Retries that were wanted and not allowed; each was a call that failed at once.
    """

    granted: int = 0
    exhausted: int = 0


class RetryBudget:
    """Allows retries while they are at most a share of the breaker's calls in the last ten seconds.

    The calls are those that the breaker itself counts, first attempts and retries alike, so a successful call costs
    nothing here. They are looked at when a retry is wanted; calls between two looks are taken to be evenly spread.
    O(1) in time and memory, shared by all threads and tasks. Made by `budget`, one for each breaker.

    Args:
        name: The breaker's name, for errors.
        now: The present (monotonic seconds).
        calls: Calls that the breaker has counted up to now.
    """

    __slots__ = (
        "__weakref__",
        "_bucket",
        "_calls",
        "_exhausted",
        "_floor",
        "_granted",
        "_last_calls",
        "_last_look",
        "_lock",
        "_name",
        "_retries",
        "_share",
    )
    _last_look: float | None

    def __init__(self, name: str, now: float, calls: int) -> None:
        self._name = name
        self._share = SHARE
        self._floor = FLOOR
        self._begin()
        self._look(now, calls)
        fork.watch(self)
        living.memories.add(self)

    @property
    def share(self) -> float:
        """The share of recent calls that may be retries (ratio 0..1)."""
        return self._share

    @property
    def floor(self) -> int:
        """Retries allowed in ten seconds however few the calls."""
        return self._floor

    def configure(self, *, share: float = SHARE, floor: int = FLOOR) -> None:
        """Set the limits.

        Args:
            share: The share of recent calls that may be retries (ratio, at least 0 and below 1).
            floor: Retries allowed in ten seconds however few the calls (at least 0).

        Raises:
            ConfigurationError: Lists what is wrong.
        """
        problems: list[Problem] = []
        if not _is_number(share) or not 0 <= share < 1:
            problems.append(
                Problem(
                    f"the retry budget of {self._name!r}: share",
                    repr(share),
                    "must be a ratio, at least 0 and below 1",
                )
            )
        if not _is_number(floor) or not floor >= 0:
            problems.append(
                Problem(
                    f"the retry budget of {self._name!r}: floor",
                    repr(floor),
                    "must be a number of retries, at least 0",
                )
            )
        if problems:
            raise ConfigurationError(problems)
        with self._lock:
            self._share, self._floor = share, floor

    def take(self, now: float, calls: int) -> bool:
        """Ask for one retry.

        Args:
            now: The present (monotonic seconds).
            calls: Calls that the breaker has counted since it was made.

        Returns:
            Whether it is allowed; then it has been counted.
        """
        with self._lock:
            self._look(now, calls)
            if sum(self._retries) + 1 > max(self._floor, self._share * sum(self._calls)):
                self._exhausted += 1
                return False
            self._retries[self._bucket % BUCKETS] += 1
            self._granted += 1
            return True

    def counts(self) -> BudgetCounts:
        """Return the numbers, for metrics."""
        return BudgetCounts(self._granted, self._exhausted)

    def forget(self) -> None:
        """Begin anew, on whatever clock comes next."""
        with self._lock:
            self._empty()

    def _look(self, now: float, calls: int) -> None:
        """Move to `now`, and put the calls since the last look where they belong."""
        width = WINDOW / BUCKETS
        bucket = int(now // width)
        if self._last_look is None:
            self._last_look, self._last_calls, self._bucket = now, calls, bucket
        elapsed = max(now - self._last_look, 0.0)
        new = max(calls - self._last_calls, 0)
        for number in range(max(self._bucket + 1, bucket - BUCKETS + 1), bucket + 1):
            self._calls[number % BUCKETS] = 0.0
            self._retries[number % BUCKETS] = 0
        self._bucket = max(self._bucket, bucket)
        if elapsed <= width:
            self._calls[self._bucket % BUCKETS] += new
        else:
            for number in range(self._bucket - BUCKETS + 1, self._bucket + 1):
                begun = max(number * width, self._last_look)
                ended = min((number + 1) * width, now)
                if ended > begun:
                    self._calls[number % BUCKETS] += new * (ended - begun) / elapsed
        self._last_look, self._last_calls = max(now, self._last_look), calls

    def _begin(self) -> None:
        self._lock = RLock()
        self._empty()

    def _empty(self) -> None:
        self._calls = [0.0] * BUCKETS
        self._retries = [0] * BUCKETS
        self._bucket = 0
        self._last_look = None
        self._last_calls = 0
        self._granted = self._exhausted = 0

    def before_fork(self) -> None:
        """Wait until no thread is inside."""
        self._lock.acquire()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        self._lock.release()

    def after_fork_in_child(self) -> None:
        """Begin anew: what the parent counted is the parent's."""
        self._begin()


_budgets: Final[weakref.WeakKeyDictionary[Driver, RetryBudget]] = weakref.WeakKeyDictionary()


def budget(breaker: CircuitBreaker) -> RetryBudget:
    """Return the one retry budget of a breaker, in this process: 20 % of its recent calls, at least 5 in 10 s."""
    driver = _driver(breaker)
    found = _budgets.get(driver)
    if found is None:
        calls = breaker.snapshot().calls
        found = _budgets.setdefault(driver, RetryBudget(driver.name, driver.clock(), calls))
    return found


def counts(breaker: CircuitBreaker) -> BudgetCounts:
    """Return a breaker's retry numbers, for metrics; zeros for one that was never retried."""
    found = _budgets.get(_driver(breaker))
    return BudgetCounts() if found is None else found.counts()


def _driver(breaker: CircuitBreaker) -> Driver:
    # What stands for a breaker of Django's present settings has no place of its own: the driver has.
    return breaker._driver  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
