"""What drives one machine: it brings calls and their outcomes to it, judged and timed, and tells what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import inf
from typing import Final, TypeAlias

from recloser.core import retry_after
from recloser.core.delivery import Delivery
from recloser.core.durations import SORT_SECONDS, Durations, Sheet, SheetCounter
from recloser.core.errors import (
    BulkheadFullError,
    CircuitOpenError,
    FailedResultError,
    Refusal,
)
from recloser.core.events import CallRejected, Rejection
from recloser.core.machine import Admission, Machine, Verdict
from recloser.core.outcome import Judge, Outcome, describe, is_cancellation
from recloser.core.policy import Policy
from recloser.core.scope import Scope, current
from recloser.core.section import Section
from recloser.core.state import Mode, State
from recloser.core.tally import Tally
from recloser.core.window import CallCounter

Recorder: TypeAlias = Callable[[], object]
# What a call in flight holds: the recorder it was admitted by, or its admission where that was decided.
Ticket: TypeAlias = Recorder | Admission

GOOD: Final = Verdict()
# On CPython 3.11 an enumeration looks its members up in Python, each time one is named.
_SUCCESS: Final = Outcome.SUCCESS
_FAILURE: Final = Outcome.FAILURE
_IGNORED: Final = Outcome.IGNORED


class Driver(Section):
    """Runs one breaker's machine for all threads and tasks of this process.

    Args:
        name: The breaker's name.
        policy: What to decide by.
        clock: Monotonic time (seconds).
        wall_clock: Time of day (seconds since the epoch).
        random: Gives 0 <= x < 1.

    Attributes:
        slow_after: A call that takes at least so long is slow (seconds).
        times: Whether calls are timed, since `slow_call_duration` or `duration_buckets` is set.
        durations: How long calls took, if `duration_buckets` is set.
        rolls: Whether a time window must be rolled by successes.
    """

    __slots__ = (
        "_counter",
        "_next_sort",
        "_warm",
        "durations",
        "ignored",
        "judge",
        "name",
        "policy",
        "refused",
        "refused_open",
        "rolls",
        "slow_after",
        "times",
        "would_refuse",
    )

    def __init__(
        self,
        name: str,
        policy: Policy,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        random: Callable[[], float],
    ) -> None:
        self.name = name
        self.policy = policy
        machine = self._made(clock, random)
        super().__init__(machine, Delivery(name), clock, wall_clock)
        self.judge = Judge(name, policy)
        self.slow_after = policy.slow_call_duration if policy.slow_call_duration is not None else inf
        self.times = policy.times_calls
        self.durations = Durations(policy.duration_buckets) if policy.duration_buckets else None
        self._counter: SheetCounter | None = None
        self._next_sort = inf
        self.rolls = policy.judges_rates and policy.window_seconds is not None
        self._warm: tuple[Tally, Recorder] | None = None
        self._count_anew()
        self._publish()

    def _made(self, clock: Callable[[], float], random: Callable[[], float]) -> Machine:
        return Machine(self.name, self.policy, clock=clock, random=random, now=clock())

    # -- admission -----------------------------------------------------------------------------------------

    def refusal(self, now: float, scope: Scope | None) -> Refusal | None:
        """Refuse a call without the lock, as most are while open.

        The caller raises: each frame that an exception crosses costs as much as all that is done here.

        Args:
            now: The present (monotonic seconds).
            scope: Of the request that the call belongs to.

        Returns:
            What the refused call is told; `None` where the machine must be asked.
        """
        condition = self.machine.condition
        if now >= condition.refuse_until or (scope is not None and scope.held(self) is not None):
            return None
        self.refused_open.tick()
        if scope is not None or self.delivery.listeners:
            self._report(condition.refusal, now, scope)
        return condition.refusal

    def admit(self, now: float, scope: Scope | None) -> Admission:
        """Ask for one call where no recorder stands for the answer.

        Args:
            now: The present (monotonic seconds).
            scope: Of the request that the call belongs to.

        Raises:
            CircuitOpenError: The circuit does not let it through.
            BulkheadFullError: Too many calls are in flight.
        """
        decision, mode = self._decide_inside() if self.inside() else self._decide(now)
        if isinstance(decision, Admission):
            return decision
        shadow = mode is Mode.SHADOW
        counters = self.would_refuse if shadow else self.refused
        counters.setdefault(decision.reason, CallCounter()).tick()
        self._report(decision, now, None if shadow else scope, shadow=shadow)
        if shadow:
            return Admission(None)
        raise (BulkheadFullError if decision.reason is Rejection.BULKHEAD else CircuitOpenError)(
            decision, now
        )

    def _decide(self, now: float) -> tuple[Admission | Refusal, Mode]:
        machine, wall = self.machine, self.wall()
        decided: list[tuple[Admission | Refusal, Mode]] = []
        try:
            self.run(lambda: decided.append((machine.admit(now, wall), machine.condition.override.mode)))
        except BaseException:
            for decision, _ in decided:
                if isinstance(decision, Admission):
                    self._settle(decision, None, now)
            raise
        return decided[0]

    def _decide_inside(self) -> tuple[Admission | Refusal, Mode]:
        """Decide for a signal handler or finaliser in our own section: it must not wait, nor see half a decision.

        What needs no place is admitted uncounted; what needs one is refused.
        """
        machine, now = self.machine, self.clock()
        state, mode = machine.condition.state, machine.condition.override.mode
        if mode is Mode.FORCED_OPEN:
            return machine.refusal(Rejection.FORCED_OPEN, now + self.policy.recovery_timeout), mode
        if mode is not Mode.SHADOW and state is not State.CLOSED:
            return machine.refusal(Rejection.HALF_OPEN, now), mode
        if mode is Mode.AUTO and self.policy.max_concurrent_calls is not None:
            return machine.refusal(Rejection.BULKHEAD, now), mode
        return Admission(None), mode

    def _report(self, refusal: Refusal, now: float, scope: Scope | None, *, shadow: bool = False) -> None:
        if scope is not None:
            scope.note_rejected(self.name)
        if self.delivery.listeners:
            event = CallRejected(
                breaker=self.name,
                at=now,
                epoch=self.machine.condition.epoch,
                reason=refusal.reason,
                retry_after=max(0.0, refusal.due - now),
                shadow=shadow,
            )
            if self.inside():
                self.machine.events.append(event)  # no listener runs under the lock: its holder delivers
            else:
                self.delivery.tell(event)

    # -- outcomes ------------------------------------------------------------------------------------------

    def failed(
        self, ticket: Ticket, error: BaseException, started: float = 0.0, answered: float | None = None
    ) -> Outcome:
        """Settle a call that raised, as the policy judges it.

        Args:
            ticket: What the call was admitted by.
            error: What it raised.
            started: When it began, if calls are timed (monotonic seconds).
            answered: When the dependency began to answer, if that is known and not now (monotonic seconds).

        Returns:
            The outcome that was counted.
        """
        now = self.clock()
        try:
            outcome = self.judge.of_error(error)
        except BaseException:
            self.conclude(ticket, Outcome.IGNORED, now)
            raise
        ended = now if answered is None else answered
        slow = self.is_slow(started, ended)
        if slow and outcome is _IGNORED and is_cancellation(error):
            outcome = Outcome.SLOW
        if outcome is not _IGNORED:
            self.took(started, ended)
        return self.conclude(ticket, outcome, now, slow=slow, error=error)

    def failed_on_sheet(self, sheet: Sheet, error: BaseException, started: float) -> Outcome:
        """Settle a call that raised and was admitted by a sheet; arguments and result as for `failed`."""
        tally = self.machine.condition.tally
        if tally is not None and isinstance(tally.counter, SheetCounter) and tally.counter.sheet is sheet:
            return self.failed(tally.tick, error, started)
        return self.failed(Admission(None), error, started)

    def returned(
        self, ticket: Ticket, result: object, started: float = 0.0, answered: float | None = None
    ) -> Outcome:
        """Settle a call that returned, as `failure_if` judges it; arguments and result as for `failed`."""
        now = self.clock()
        try:
            outcome = self.judge.of_result(result)
        except BaseException:
            self.conclude(ticket, Outcome.IGNORED, now)
            raise
        slow = self.took(started, now if answered is None else answered)
        error = FailedResultError(result) if outcome is _FAILURE else None
        return self.conclude(ticket, outcome, now, slow=slow, error=error)

    def succeeded(self, ticket: Ticket, started: float = 0.0, answered: float | None = None) -> Outcome:
        """Settle a success; arguments and result as for `failed`."""
        now = self.clock()
        slow = self.took(started, now if answered is None else answered)
        return self.conclude(ticket, _SUCCESS, now, slow=slow)

    def succeeded_while_closed(self, recorder: Recorder, started: float, answered: float | None) -> None:
        """Settle a success that the recorder admitted: nearly always a tick; arguments as for `failed`."""
        now = self.clock()
        is_slow = self.is_slow(started, now if answered is None else answered)
        if is_slow or now >= self.machine.next_look or self.durations is not None:
            self.succeeded(recorder, started, answered)
        else:
            recorder()

    def took(self, started: float, ended: float) -> bool:
        """Note how long a call took, if the policy asks.

        Args:
            started: When it began, if calls are timed (monotonic seconds).
            ended: When the dependency answered or failed (monotonic seconds).

        Returns:
            Whether that is slow.
        """
        if self.durations is not None:
            self.durations.note(ended - started)
        return self.is_slow(started, ended)

    def is_slow(self, started: float, ended: float) -> bool:
        """Tell whether a call that took from `started` to `ended` (monotonic seconds) is slow."""
        return self.times and ended - started >= self.slow_after

    def conclude(
        self,
        ticket: Ticket,
        outcome: Outcome,
        now: float,
        *,
        slow: bool = False,
        error: BaseException | None = None,
        wait: float | None = None,
    ) -> Outcome:
        """Settle a call whose outcome is known. Never raises, and waits for nobody (but see `section`).

        Args:
            ticket: What the call was admitted by.
            outcome: Success, failure, ignored, or slow for a slow call that got no answer.
            now: When the call ended (monotonic seconds).
            slow: Whether it was slow.
            error: The failure.
            wait: The failure's `Retry-After` (seconds); without it the error is asked.

        Returns:
            The outcome; slow for a slow success.
        """
        scope = current.get()
        if scope is not None:
            scope.note_inner(self, outcome)
        if outcome is _IGNORED:
            self.ignored.tick()
            if isinstance(ticket, Admission):
                self._settle(ticket, None, now)
            return outcome
        if outcome is _FAILURE:
            if scope is not None:
                scope.note_failed(self.name)
            verdict = self._failure(slow=slow, error=error, wait=wait)
        elif slow:
            verdict = Verdict(slow=True, answered=outcome is _SUCCESS)
            outcome = Outcome.SLOW
        elif not isinstance(ticket, Admission) and now < self.machine.next_look:
            ticket()
            return outcome
        else:
            verdict = GOOD
        if not isinstance(ticket, Admission):
            ticket = Admission(self._token(ticket))
        self._settle(ticket, verdict, now)
        return outcome

    def _failure(self, *, slow: bool, error: BaseException | None, wait: float | None) -> Verdict:
        if error is None:
            return Verdict(failed=True, slow=slow, retry_after=wait)
        if wait is None and self.policy.honor_retry_after:
            told = error.result if isinstance(error, FailedResultError) else error
            wait = retry_after.of(told, self.wall_clock)
        return Verdict(True, slow, True, describe(error), wait)  # by name it would take twice as long

    def _token(self, recorder: Recorder) -> Recorder:
        warm = self._warm
        return warm[0].tick if warm is not None and recorder is warm[1] else recorder

    def _tick_warm(self, tally: Tally) -> None:
        """Count a success that may complete `minimum_calls` (B3)."""
        self._settle(Admission(tally.tick), GOOD, self.clock())

    def _settle(self, admission: Admission, verdict: Verdict | None, now: float) -> None:
        self.queue(partial(self.machine.settle, admission, verdict, now, self.wall()))

    def _publish(self) -> None:
        """Let the fast path see what the machine has decided."""
        machine = self.machine
        condition = machine.condition
        tally = condition.tally
        ended = self._counter
        if self.durations is not None:
            counter = tally.counter if tally is not None else None
            self._counter = counter if isinstance(counter, SheetCounter) else None
            self._next_sort = self.clock() + SORT_SECONDS
        counts_all = condition.override.until is None and self.policy.max_concurrent_calls is None
        if tally is None or condition.ramp is not None or not counts_all:
            machine.ask_for_each_call()
        else:
            machine.next_look = min(tally.next_look, self._next_sort)
            if self._counter is not None:
                machine.sheet = self._counter.sheet
                machine.sheet.until = machine.next_look
            suffice = self.rolls or tally.ticks_suffice
            machine.recorder = tally.tick if suffice else self._warm_recorder(tally)
        if self.durations is not None:  # last: until calls are let in again, they queue up
            self.durations.sort(ended.take() if ended is not None else ())

    def _warm_recorder(self, tally: Tally) -> Recorder:
        warm = self._warm
        if warm is None or warm[0] is not tally:
            warm = self._warm = (tally, partial(self._tick_warm, tally))
        return warm[1]

    def sort_durations(self) -> None:
        """Sort the durations that calls have noted."""
        if self.durations is not None:
            self.durations.sort(self._counter.take() if self._counter is not None else ())

    def after_fork_in_child(self) -> None:
        """Begin anew in the same state: a new lock, no inherited permit, lease or count."""
        self._count_anew()
        super().after_fork_in_child()

    def _count_anew(self) -> None:
        self.ignored = CallCounter()
        self.refused_open = CallCounter()
        self.refused: dict[Rejection, CallCounter] = {Rejection.OPEN: self.refused_open}
        self.would_refuse: dict[Rejection, CallCounter] = {}
        self._counter = None
        if self.durations is not None:
            self.durations.clear()
