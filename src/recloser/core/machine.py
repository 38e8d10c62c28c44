"""The state machine of one breaker, sans-IO: it is told the time and outcomes, and returns decisions.

It holds no lock, reads no clock and calls no foreign code; whoever drives it does (see `breaker`). Its
condition is one immutable value replaced by one assignment, so that a reader, a signal handler or a forked
child never sees half a transition (SEMANTICS C1).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from math import inf
from typing import NamedTuple

from recloser.core.condition import Bulkhead, Condition, Ramp, Slot, Token, Totals
from recloser.core.durations import NO_SHEET, Sheet
from recloser.core.errors import Refusal
from recloser.core.events import Cause, Event, ModeChanged, Rejection, Rule, StateChanged
from recloser.core.policy import Policy
from recloser.core.probes import Lease, Probes
from recloser.core.state import Epoch, Mode, Override, State
from recloser.core.tally import Tally

AUTOMATIC = Override()
_FORCED = frozenset({Mode.FORCED_OPEN, Mode.FORCED_CLOSED})


class Admission:
    """A call may run: `token` comes back with its outcome (`None`: uncounted), `slot` is dropped with it."""

    __slots__ = ("settled", "slot", "token")

    def __init__(self, token: Token | None, slot: Slot | None = None) -> None:
        self.token = token
        self.slot = slot
        self.settled = False


class Verdict(NamedTuple):
    """How an admitted call ended.

    Attributes:
        failed: It is a failure.
        slow: It is slow.
        answered: The dependency answered; false for a slow call that was cancelled.
        text: The failure as one bounded line.
        retry_after: What the failure asked for (seconds).
    """

    failed: bool = False
    slow: bool = False
    answered: bool = True
    text: str = ""
    retry_after: float | None = None


class Machine:
    """One breaker's rules. For one thread at a time; `condition` may be read by any.

    Args:
        name: The breaker's name.
        policy: What to decide by.
        clock: Named in refusals, so that their remaining time counts down; not read here.
        random: Gives 0 <= x < 1 for jitter, once per open period.
        now: The present (monotonic seconds).

    Attributes:
        recorder: The present epoch's tick while every call is admitted and counted in it, else `None` (C3). Taken
            away with every change of condition; `Driver` puts it back.
        sheet: The present epoch's sheet while it stands for the recorder, else one that admits nobody.
        next_look: From this moment on a success is recorded with its time, not ticked (monotonic seconds).
    """

    __slots__ = (
        "_clock",
        "_name",
        "_random",
        "bulkhead",
        "condition",
        "events",
        "last_failure",
        "next_look",
        "policy",
        "recorder",
        "sheet",
        "totals",
    )

    def __init__(
        self,
        name: str,
        policy: Policy,
        *,
        clock: Callable[[], float],
        random: Callable[[], float],
        now: float,
    ) -> None:
        self._name = name
        self.policy = policy
        self._clock = clock
        self._random = random
        self.bulkhead = Bulkhead()
        self.events: list[Event] = []
        self.last_failure = ""
        self.totals = Totals()
        self.recorder: Callable[[], object] | None = None
        self.sheet: Sheet = NO_SHEET
        self.next_look = -inf
        self.condition = Condition(State.CLOSED, _epoch(0), now, tally=Tally(policy, now))

    # -- calls ---------------------------------------------------------------------------------------------

    def admit(self, now: float, wall: float) -> Admission | Refusal:
        """Decide on one call, in the order mode, state, ramp, bulkhead, lease; a refusal takes nothing (C2).

        Args:
            now: The present (monotonic seconds).
            wall: The present (wall clock seconds); only looked at where a mode has an end.
        """
        self.expire_override(now, wall)
        condition = self.condition
        if condition.override.mode is Mode.FORCED_OPEN:
            until = condition.override.until
            wait = self.policy.recovery_timeout if until is None else until - wall
            return self.refusal(Rejection.FORCED_OPEN, now + wait)
        if condition.state is State.OPEN:
            if now < condition.until:
                return self.refusal(Rejection.OPEN, condition.until)
            refusal = self._due(now)
            if refusal is not None:
                return refusal
        if self.condition.state is State.CLOSED:
            return self._admit_closed(now)
        return self._admit_probe(now)

    def settle(self, admission: Admission, verdict: Verdict | None, now: float, wall: float) -> None:
        """Take an admitted call's outcome, once; one of another epoch is dropped (C1).

        Args:
            admission: What the call was given.
            verdict: How it ended; `None`: ignored.
            now: The present (monotonic seconds).
            wall: The present (wall clock seconds).
        """
        if admission.settled:
            return
        admission.settled = True
        token = admission.token
        admission.slot = None
        if self.condition.override.until is not None:
            self.expire_override(now, wall)
        if isinstance(token, Lease):
            self._settle_probe(token, verdict, now)
        elif verdict is not None and token is not None:
            self._settle_closed(token, verdict, now)

    def _admit_closed(self, now: float) -> Admission | Refusal:
        condition = self.condition
        assert condition.tally is not None  # noqa: S101 - closed is where a tally is
        ramp = condition.ramp
        if ramp is not None and now >= ramp.end:
            self.condition, ramp = condition._replace(ramp=None), None
        credit = 0.0
        if ramp is not None:
            credit = ramp.credit
            if not ramp.admits(now):
                return self.refusal(Rejection.RAMP, ramp.end)
        if self._full():
            if ramp is not None:
                ramp.credit = credit
            return self.refusal(Rejection.BULKHEAD, now + 1)
        return Admission(condition.tally.tick, self._slot())

    def _admit_probe(self, now: float) -> Admission | Refusal:
        probes = self.condition.probes
        assert probes is not None  # noqa: S101 - half-open is where probes are
        timeout = probes.expire(now)
        if timeout is not None:
            self._open(now, timeout, self.condition.reopenings + 1)
            return self.refusal(Rejection.OPEN, self.condition.until)
        if self._full():
            return self.refusal(Rejection.BULKHEAD, now + 1)
        lease = probes.grant(now)
        if lease is None:
            return self.refusal(Rejection.HALF_OPEN, min(probes.next_place(), now + 1))
        self.totals.probes += 1
        return Admission(lease, self._slot())

    def _settle_closed(self, token: Token, verdict: Verdict, now: float) -> None:
        condition = self.condition
        tally = condition.tally
        if tally is None or token is not tally.tick:
            return
        if verdict.failed:
            self.last_failure = verdict.text
            if verdict.retry_after is not None:
                self._heed(verdict.retry_after)
        cause = tally.record(now, failed=verdict.failed, slow=verdict.slow, answered=verdict.answered)
        if cause is None or condition.override.mode is Mode.FORCED_CLOSED:
            return
        lasting = self.policy.recovery_ramp + self.policy.recovery_timeout
        after_probes = condition.cause is not None and condition.cause.rule is Rule.PROBES_SUCCEEDED
        flapping = after_probes and now - condition.since < lasting
        self._open(now, cause, condition.reopenings + 1 if flapping else 0, verdict.retry_after)

    def _heed(self, wait: float) -> None:
        """Note what a failure asked for (seconds), which matters here only if it trips."""

    def _settle_probe(self, lease: Lease, verdict: Verdict | None, now: float) -> None:
        probes = self.condition.probes
        if probes is None or lease.epoch != self.condition.epoch:
            return
        cause: Cause | None = None
        retry_after: float | None = None
        if verdict is not None:
            self.totals.count(failed=verdict.failed, slow=verdict.slow)
            retry_after = verdict.retry_after
            if verdict.failed:
                self.last_failure = verdict.text
            cause = probes.settle(lease, failed=verdict.failed, slow=verdict.slow)
        cause = cause or probes.expire(now)
        probes.give_back(lease)
        if cause is None:
            return
        if cause.rule is Rule.PROBES_SUCCEEDED:
            self._close(now, cause)
        else:
            self._open(now, cause, self.condition.reopenings + 1, retry_after)

    def _full(self) -> bool:
        limit = self.policy.max_concurrent_calls
        forced = self.condition.override.mode is Mode.FORCED_CLOSED
        return limit is not None and self.bulkhead.in_flight >= limit and not forced

    def _slot(self) -> Slot | None:
        return None if self.policy.max_concurrent_calls is None else self.bulkhead.slot()

    def refusal(self, reason: Rejection, due: float) -> Refusal:
        """Say what a caller refused for `reason` is told; `due` in monotonic seconds."""
        c = self.condition
        return Refusal(self._name, c.state, reason, c.since, due, c.cause, self.last_failure, self._clock)

    # -- transitions ---------------------------------------------------------------------------------------

    def _open(self, now: float, cause: Cause, reopenings: int, retry_after: float | None = None) -> None:
        period = self._open_period(reopenings, retry_after)
        condition = self._next(State.OPEN, now, cause)
        condition = condition._replace(until=now + period, reopenings=reopenings)
        self._enter(self._with_refusal(condition), period)

    def _due(self, now: float) -> Refusal | None:
        """End an open period: half-open, or a refusal where somebody else decides that."""
        self._enter(self._next(State.HALF_OPEN, now, Cause(Rule.RECOVERY_DUE)))
        return None

    def _close(self, now: float, cause: Cause) -> None:
        ramp = Ramp(now, self.policy.recovery_ramp) if self.policy.recovery_ramp else None
        self._enter(self._next(State.CLOSED, now, cause)._replace(ramp=ramp))

    def _next(self, state: State, now: float, cause: Cause) -> Condition:
        """Make the condition that follows the present one under the same mode and backoff."""
        before = self.condition
        epoch = _epoch(before.epoch.number + 1)
        tally = Tally(self.policy, now) if state is State.CLOSED else None
        probes = Probes(self.policy, epoch) if state is State.HALF_OPEN else None
        return Condition(
            state,
            epoch,
            now,
            before.override,
            cause,
            reopenings=before.reopenings,
            tally=tally,
            probes=probes,
        )

    def _enter(self, condition: Condition, retry_after: float = 0.0) -> None:
        before = self.condition
        self._replace(condition)
        self.totals.retire(before.tally)
        if condition.state is not before.state:
            self.totals.entered(condition.state)
        assert condition.cause is not None  # noqa: S101 - only a new breaker has no cause
        self.events.append(
            StateChanged(
                breaker=self._name,
                at=condition.since,
                epoch=condition.epoch,
                old=before.state,
                new=condition.state,
                cause=condition.cause,
                last_failure=self.last_failure,
                retry_after=retry_after,
            )
        )

    def _replace(self, condition: Condition) -> None:
        self.ask_for_each_call()  # whatever interrupts us now, no call is admitted by what has ended
        self.condition = condition

    def ask_for_each_call(self) -> None:
        """Let no call in without `admit`."""
        self.recorder = None
        self.sheet = NO_SHEET

    def _open_period(self, reopenings: int, retry_after: float | None) -> float:
        policy = self.policy
        longest = policy.recovery_timeout_max
        try:
            period = min(policy.recovery_timeout * policy.recovery_backoff**reopenings, longest)
        except OverflowError:
            period = longest
        period *= 1 + policy.recovery_jitter * (2 * self._random() - 1)
        if retry_after is not None and policy.honor_retry_after:
            period = max(period, min(retry_after, longest))
        return period

    def _with_refusal(self, condition: Condition) -> Condition:
        """Prepare what every caller is told while open, where nothing but the deadline needs to be asked."""
        if condition.override.mode is not Mode.AUTO:
            return condition
        refusal = Refusal(
            self._name,
            condition.state,
            Rejection.OPEN,
            condition.since,
            condition.until,
            condition.cause,
            self.last_failure,
            self._clock,
        )
        return condition._replace(refuse_until=condition.until, refusal=refusal)

    # -- operators -----------------------------------------------------------------------------------------

    def expire_override(self, now: float, wall: float) -> None:
        """Return to automatic if the operator's mode has ended at `wall` (wall clock seconds)."""
        until = self.condition.override.until
        if until is not None and wall >= until:
            self.override(AUTOMATIC, now)

    def override(self, override: Override, now: float) -> None:
        """Set an operator's mode: a new epoch with an empty window and no leases (C9)."""
        before = self.condition
        forced = bool(_FORCED & {override.mode, before.override.mode})
        state = before.state
        if forced:
            state = State.OPEN if override.mode is Mode.FORCED_OPEN else State.CLOSED
        cause = Cause(Rule.MODE, by=override.by, why=override.why)
        condition = self._next(state, now, cause)._replace(override=override)
        if forced:
            condition = condition._replace(reopenings=0)
        else:  # what goes on keeps its reason and its deadline
            condition = condition._replace(cause=before.cause, until=before.until, ramp=before.ramp)
        self.events.append(
            ModeChanged(breaker=self._name, at=now, epoch=condition.epoch, old=before.override, new=override)
        )
        if state is not before.state:
            self._enter(condition)
            return
        condition = condition._replace(since=before.since)
        self._replace(self._with_refusal(condition) if state is State.OPEN else condition)
        self.totals.retire(before.tally)

    def reset(self, now: float, by: str, why: str) -> None:
        """Close (stay open where forced open), forget counts and backoff, keep the mode."""
        forced_open = self.condition.override.mode is Mode.FORCED_OPEN
        state = State.OPEN if forced_open else State.CLOSED
        self._enter(self._next(state, now, Cause(Rule.RESET, by=by, why=why))._replace(reopenings=0))

    def renew(self, now: float) -> None:
        """Begin a new epoch of the same state without leases, counts or calls in flight: a fork's child (C13)."""
        before = self.condition
        epoch = _epoch(before.epoch.number + 1)
        self._replace(
            before._replace(
                epoch=epoch,
                tally=Tally(self.policy, now) if before.tally is not None else None,
                probes=Probes(self.policy, epoch) if before.probes is not None else None,
            )
        )
        self.bulkhead = Bulkhead()
        self.totals = Totals()
        self.events.clear()


def _epoch(number: int) -> Epoch:
    # Not from the injected randomness: forked children must not draw the same tags.
    return Epoch(number, int.from_bytes(os.urandom(8), "big"))
