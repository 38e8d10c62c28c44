"""A reference breaker: every outcome kept in a plain list, every number counted anew when it is asked for.

It exists to be compared with, and to be read. It knows nothing of the real breaker's code: it shares the
names of states, modes, rules and reasons, and the `Policy` whose values it reads. Time is an argument.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from math import floor
from typing import NamedTuple

from recloser.core.events import Rejection, Rule
from recloser.core.policy import Policy
from recloser.core.state import Mode, State

BUCKETS = 10  # a time window is seen in so many slices
PATIENCE = 1.0  # seconds until a place may be free again
EXPIRIES = 3  # so many leases without a verdict re-open
FORCED = (Mode.FORCED_OPEN, Mode.FORCED_CLOSED)


class Verdict(StrEnum):
    """How a call ended, as the caller tells it. Whether it was slow, its duration tells."""

    SUCCESS = "success"
    FAILURE = "failure"
    IGNORED = "ignored"
    CANCELLED = "cancelled"


class Decision(NamedTuple):
    """The rule that moved the state, and its numbers (0 where the rule has none)."""

    rule: Rule
    number: int = 0
    total: int = 0
    threshold: float = 0.0


class Change(NamedTuple):
    """One transition. `retry_after` is the time to the first probe, where the circuit opened by itself."""

    old: State
    new: State
    why: Decision
    retry_after: float


class Refused(NamedTuple):
    """One refusal or, in shadow mode, what would have been one."""

    reason: Rejection
    retry_after: float
    shadow: bool


class Heard(NamedTuple):
    """One counted outcome. A slow cancelled call (`neither`) is no failure and does not end a run either."""

    at: float
    failed: bool
    slow: bool
    neither: bool


@dataclass
class Call:
    """One admitted call."""

    epoch: int
    started: float
    counted: bool
    answered: float | None = None
    settled: bool = False
    judged: bool = False
    expired: bool = False
    lease_end: float = 0.0


class Counts(NamedTuple):
    """What the window holds."""

    calls: int
    failures: int
    slow: int


@dataclass
class Model:
    """One breaker. Every method takes the monotonic time `now` and the time of day `wall`, in seconds."""

    policy: Policy
    random: Callable[[], float]
    since: float

    state: State = State.CLOSED
    mode: Mode = Mode.AUTO
    until: float | None = None
    epoch: int = 1

    calls: list[Call] = field(default_factory=list)
    heard: list[Heard] = field(default_factory=list)

    open_until: float = 0.0
    reopenings: int = 0
    recovered_at: float | None = None
    ramp_from: float | None = None
    credit: float = 0.0
    good_probes: int = 0

    changes: list[Change] = field(default_factory=list)
    modes: list[tuple[Mode, Mode]] = field(default_factory=list)
    refusals: list[Refused] = field(default_factory=list)
    totals: Counter[str] = field(default_factory=Counter)

    # Admission

    def admit(self, now: float, wall: float) -> int | Refused:
        """Let a call in (its number) or refuse it. In shadow mode nobody is refused, but some are not counted."""
        self.catch_up(now, wall)
        refusal = self._objection(now, wall)
        if refusal is None:
            return self._let_in(now, counted=True)
        refused = Refused(*refusal, shadow=self.mode is Mode.SHADOW)
        self.refusals.append(refused)
        self.totals["shadowed" if refused.shadow else "rejected"] += 1
        return self._let_in(now, counted=False) if refused.shadow else refused

    def _objection(self, now: float, wall: float) -> tuple[Rejection, float] | None:
        # In this order: mode, state, ramp, bulkhead, lease.
        if self.mode is Mode.FORCED_OPEN:
            return Rejection.FORCED_OPEN, self.forced_for(wall)
        if self.mode is Mode.FORCED_CLOSED:
            return None
        if self.state is State.OPEN:
            if now < self.open_until:
                return Rejection.OPEN, self.open_until - now
            self._move(now, State.HALF_OPEN, Decision(Rule.RECOVERY_DUE))

        credit = self.next_credit(now)
        if credit is not None and self.ramp_from is not None and credit < 1:
            self.credit = credit
            return Rejection.RAMP, self.ramp_from + self.policy.recovery_ramp - now

        most = self.policy.max_concurrent_calls
        if most is not None and len(self.in_flight()) >= most:
            return Rejection.BULKHEAD, PATIENCE

        if self.state is State.HALF_OPEN:
            leases = self.leases(now)
            if len(leases) >= self.policy.half_open_max_calls:
                return Rejection.HALF_OPEN, min(PATIENCE, min(call.lease_end for call in leases) - now)

        if credit is not None:  # only an admitted call pays
            self.credit = credit - 1
        return None

    def _let_in(self, now: float, *, counted: bool) -> int:
        if counted and self.state is State.HALF_OPEN:
            self.totals["probes"] += 1
        self.calls.append(Call(self.epoch, now, counted, lease_end=now + self.policy.probe_timeout))
        return len(self.calls) - 1

    # Outcomes

    def answer(self, number: int, now: float) -> None:
        """Note that the dependency began to answer: the call's duration ends here."""
        call = self.calls[number]
        if call.answered is None:
            call.answered = now

    def settle(
        self, number: int, verdict: Verdict, now: float, wall: float, retry_after: float | None = None
    ) -> None:
        """Hear how a call ended. Only the first verdict counts, and only in the epoch that admitted the call."""
        call = self.calls[number]
        if call.settled:
            return
        ended = now if call.answered is None else call.answered
        limit = self.policy.slow_call_duration
        slow = limit is not None and ended - call.started >= limit
        ignored = verdict is Verdict.IGNORED or (verdict is Verdict.CANCELLED and not slow)

        self.end_mode(now, wall)
        of_this_epoch = call.counted and call.epoch == self.epoch
        if ignored:
            self.totals["ignored"] += 1
            if of_this_epoch:
                self.catch_up(now, wall)
            call.settled = True
            return
        call.settled = call.judged = True
        if not of_this_epoch:
            return
        self.totals.update(calls=1, failures=int(verdict is Verdict.FAILURE), slow=int(slow))

        heard = Heard(now, verdict is Verdict.FAILURE, slow, verdict is Verdict.CANCELLED)
        if verdict is not Verdict.FAILURE:
            retry_after = None
        if self.state is State.HALF_OPEN:
            self._probed(heard, now, retry_after)
            self.catch_up(now, wall)  # a verdict is heard before expiries are noticed
        else:
            self.heard.append(heard)
            self._judge(now, retry_after)

    def _judge(self, now: float, retry_after: float | None) -> None:
        decision = self.trip_decision(now)
        if decision is None or self.mode is Mode.FORCED_CLOSED:
            return
        enough = self.policy.recovery_ramp + self.policy.recovery_timeout
        flapping = self.recovered_at is not None and now - self.recovered_at < enough
        self.reopenings = self.reopenings + 1 if flapping else 0
        self._open(now, decision, retry_after)

    def trip_decision(self, now: float) -> Decision | None:
        """The first rule that is met, in the order consecutive, failure rate, slow rate."""
        policy, window = self.policy, self.window(now)
        if policy.failure_threshold is not None and self.run() >= policy.failure_threshold:
            return Decision(Rule.CONSECUTIVE_FAILURES, self.run(), 0, policy.failure_threshold)
        if window.calls < policy.minimum_calls:
            return None
        for rule, number, threshold in (
            (Rule.FAILURE_RATE, window.failures, policy.failure_rate_threshold),
            (Rule.SLOW_CALL_RATE, window.slow, policy.slow_call_rate_threshold),
        ):
            if threshold is not None and number / window.calls >= threshold:
                return Decision(rule, number, window.calls, threshold)
        return None

    def _probed(self, heard: Heard, now: float, retry_after: float | None) -> None:
        if heard.failed or heard.slow:
            self.reopenings += 1
            rule = Rule.PROBE_FAILED if heard.failed else Rule.PROBE_SLOW
            self._open(now, Decision(rule, 1), retry_after)
            return
        self.good_probes += 1
        if self.good_probes >= self.policy.success_threshold:
            why = Decision(Rule.PROBES_SUCCEEDED, self.good_probes, 0, self.policy.success_threshold)
            self._move(now, State.CLOSED, why)
            self.recovered_at = now
            if self.policy.recovery_ramp:
                self.ramp_from, self.credit = now, 1.0

    # What time alone brings about

    def catch_up(self, now: float, wall: float) -> None:
        """Notice what ended meanwhile: an operator's mode, then the leases of probes."""
        self.end_mode(now, wall)
        if self.state is not State.HALF_OPEN:
            return
        probes = [call for call in self.calls if call.counted and call.epoch == self.epoch]
        for call in probes:
            if not call.settled and now >= call.lease_end:
                call.expired = True
        silent = [call for call in probes if call.expired and not call.judged]
        if len(silent) >= EXPIRIES:
            self.reopenings += 1
            self._open(now, Decision(Rule.PROBE_TIMEOUT, len(silent)), None)

    def end_mode(self, now: float, wall: float) -> None:
        """Notice that an operator's mode has ended; looking is enough to notice this."""
        if self.until is not None and wall >= self.until:
            self._change_mode(now, Mode.AUTO, None)

    # Operators

    def set_mode(self, mode: Mode, now: float, wall: float, until: float | None = None) -> None:
        """Override the breaker, until a time of day or for good."""
        self.end_mode(now, wall)
        self._change_mode(now, mode, until)

    def _change_mode(self, now: float, mode: Mode, until: float | None) -> None:
        old, self.mode, self.until = self.mode, mode, until
        self.modes.append((old, mode))
        if mode not in FORCED and old not in FORCED:  # the state stays, and all that belongs to it
            self._new_epoch()
            return
        self._forget_recovery()
        forced = State.OPEN if mode is Mode.FORCED_OPEN else State.CLOSED
        self._move(now, forced, Decision(Rule.MODE))

    def reset(self, now: float, wall: float) -> None:
        """Close, and forget all that was counted. The mode stays, and under forced_open so does the state."""
        self.end_mode(now, wall)
        self._forget_recovery()
        forced_open = self.mode is Mode.FORCED_OPEN
        self._move(now, State.OPEN if forced_open else State.CLOSED, Decision(Rule.RESET))

    # Transitions

    def _open(self, now: float, why: Decision, retry_after: float | None) -> None:
        policy = self.policy
        period = policy.recovery_timeout
        for _ in range(self.reopenings):
            period = min(period * policy.recovery_backoff, policy.recovery_timeout_max)
        period *= 1 + policy.recovery_jitter * (2 * self.random() - 1)
        if retry_after is not None and policy.honor_retry_after:
            period = max(period, min(retry_after, policy.recovery_timeout_max))
        self.open_until = now + period
        self._move(now, State.OPEN, why, period)

    def _move(self, now: float, new: State, why: Decision, retry_after: float = 0.0) -> None:
        if new is not self.state:
            self.totals[
                {State.OPEN: "opened", State.HALF_OPEN: "half_opened", State.CLOSED: "closed"}[new]
            ] += 1
        if new is not self.state or why.rule is Rule.RESET:  # an operator's reset is always told
            self.changes.append(Change(self.state, new, why, retry_after))
            self.since = now
        self.state = new
        self.ramp_from = None
        self._new_epoch()

    def _new_epoch(self) -> None:
        self.epoch += 1
        self.heard.clear()
        self.good_probes = 0

    def _forget_recovery(self) -> None:
        self.reopenings = 0
        self.recovered_at = None

    # Counting

    def window(self, now: float) -> Counts:
        """Count the calls of this epoch that are in the window at `now`."""
        if self.policy.window_calls is not None:
            inside = self.heard[-self.policy.window_calls :]
        else:
            width = (self.policy.window_seconds or 0.0) / BUCKETS
            oldest = floor(now / width) - BUCKETS + 1
            inside = [heard for heard in self.heard if floor(heard.at / width) >= oldest]
        return Counts(len(inside), sum(h.failed for h in inside), sum(h.slow for h in inside))

    def run(self) -> int:
        """Count the failures since the last success of this epoch."""
        length = 0
        for heard in reversed(self.heard):
            if heard.failed:
                length += 1
            elif not heard.neither:
                break
        return length

    def in_flight(self) -> list[Call]:
        """Calls that hold a place of the bulkhead: of any epoch, but never uncounted ones."""
        return [call for call in self.calls if call.counted and not call.settled]

    def leases(self, now: float) -> list[Call]:
        """Probes of this half-open epoch that still hold their place."""
        return [call for call in self.in_flight() if call.epoch == self.epoch and now < call.lease_end]

    def next_credit(self, now: float) -> float | None:
        """The ramp's credit that the next call would find, `None` when there is no ramp; 1 admits it."""
        length = self.policy.recovery_ramp
        if self.ramp_from is None or now - self.ramp_from >= length:
            return None
        return self.credit + 0.1 + 0.9 * (now - self.ramp_from) / length

    def open_for(self, now: float) -> float:
        """Seconds until an open circuit is due, 0 when it is or when it is not open."""
        return max(0.0, self.open_until - now) if self.state is State.OPEN else 0.0

    def forced_for(self, wall: float) -> float:
        """Seconds that a forced mode still holds; without an end, one recovery time-out is a fair guess."""
        return self.policy.recovery_timeout if self.until is None else max(0.0, self.until - wall)
