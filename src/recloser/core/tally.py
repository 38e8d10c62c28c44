"""What a closed breaker counts, and when that is enough to trip."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from recloser.core.durations import SheetCounter
from recloser.core.events import Cause, Rule
from recloser.core.policy import Policy
from recloser.core.window import CallCounter, CallWindow, Counts, NoWindow, TimeWindow, Window


class Tally:
    """The counts of one closed epoch (SEMANTICS B).

    Args:
        policy: Whose thresholds apply.
        now: The epoch's beginning (monotonic seconds).

    Attributes:
        elsewhere: Rates are judged by a fleet's store, on the counts of all; they are only counted here.
    """

    __slots__ = (
        "_policy",
        "_previous_failure",
        "calls",
        "counter",
        "elsewhere",
        "failures",
        "run",
        "slow",
        "tick",
        "ticks_suffice",
        "window",
    )

    def __init__(self, policy: Policy, now: float) -> None:
        self._policy = policy
        self.counter = SheetCounter() if policy.duration_buckets else CallCounter()
        self.tick: Callable[[], object] = self.counter.tick
        self.window = _window(policy, now)
        # False while each success must be judged: until `minimum_calls`, and after an unjudged roll (B3).
        self.ticks_suffice = not policy.judges_rates
        self.elsewhere = False
        self._previous_failure = 0
        self.run = 0
        self.calls = 0
        self.failures = 0
        self.slow = 0

    @property
    def next_look(self) -> float:
        """When a success must be recorded with its time rather than ticked (monotonic seconds)."""
        return self.window.next_roll if self.ticks_suffice else -inf

    def record(self, now: float, *, failed: bool, slow: bool, answered: bool = True) -> Cause | None:
        """Count one call and judge.

        Args:
            now: The present (monotonic seconds).
            failed: Whether it is a failure.
            slow: Whether it is slow.
            answered: Whether it ends a run of failures; a cancelled call does not.

        Returns:
            The rule that trips, or `None`.
        """
        number = self.counter.number()
        self.calls = number
        self.window.advance(number - 1, now)
        if failed or slow:
            self.window.note(number, failed=failed, slow=slow)
        self.failures += failed
        self.slow += slow
        if failed:
            self.run = self.run + 1 if self._previous_failure == number - 1 else 1
            self._previous_failure = number
        elif not answered and self._previous_failure == number - 1:
            self._previous_failure = number
        return self._judge(number)

    def counts(self, now: float) -> Counts:
        """Count what the window holds at `now` (monotonic seconds)."""
        self.calls = self.counter.read()
        roll = self.window.next_roll
        self.window.advance(self.calls, now)
        if self.window.next_roll != roll:
            self.ticks_suffice = False
        return self.window.counts(self.calls)

    def current_run(self) -> int:
        """The failures in a row up to the last counted call."""
        return self.run if self._previous_failure == self.calls else 0

    def _judge(self, number: int) -> Cause | None:
        policy = self._policy
        limit = policy.failure_threshold
        if limit is not None and self.run >= limit and self._previous_failure == number:
            return Cause(Rule.CONSECUTIVE_FAILURES, self.run, 0, limit)
        if not policy.judges_rates:
            return None
        held = self.window.counts(number)
        self.ticks_suffice = self.elsewhere or held.calls >= policy.minimum_calls
        if not self.ticks_suffice or self.elsewhere:
            return None
        share = policy.failure_rate_threshold
        if share is not None and held.failures / held.calls >= share:
            return Cause(Rule.FAILURE_RATE, held.failures, held.calls, share)
        share = policy.slow_call_rate_threshold
        if share is not None and held.slow / held.calls >= share:
            return Cause(Rule.SLOW_CALL_RATE, held.slow, held.calls, share)
        return None


_NO_WINDOW = NoWindow()


def _window(policy: Policy, now: float) -> Window:
    if not policy.judges_rates:
        return _NO_WINDOW
    if policy.window_calls is not None:
        return CallWindow(policy.window_calls)
    assert policy.window_seconds is not None  # noqa: S101 - Policy sets exactly one
    return TimeWindow(policy.window_seconds, now)
