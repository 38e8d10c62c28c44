"""The real breaker decides as the reference model does, over timed interleavings that Hypothesis invents.

`RECLOSER_PROOF=deep` runs twenty times as many steps as the suite.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import chain, repeat
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from driving import BreakerSubject, Clock, ModelSubject, News
from model import Refused, Verdict
from proof import DEEP, examples
from recloser import Policy
from recloser.core.state import Mode, State
from ways_in import ENTRIES, STREAMS, WRAPPERS, ByCalling, ByFinish, ByVerdict, Excluded

MOMENT = 0.25  # the grid of time: deadlines and bucket edges lie on it, so they are met exactly

RATES = st.sampled_from([0.25, 0.3, 0.5, 0.6, 1.0])
MOMENTS = st.integers(0, 12).map(lambda count: count * MOMENT)
VERDICTS = st.sampled_from(
    [*[Verdict.FAILURE] * 3, *[Verdict.SUCCESS] * 3, Verdict.IGNORED, Verdict.CANCELLED]
)
RETRY_AFTERS = st.sampled_from([None, None, 0.0, 3.0, 1e6])
MEANWHILE: dict[str, Callable[[Any], object]] = {
    "reset": lambda subject: subject.reset(),
    "forced_open": lambda subject: subject.set_mode(Mode.FORCED_OPEN, subject.clock.wall + 1),
    "forced_closed": lambda subject: subject.set_mode(Mode.FORCED_CLOSED, subject.clock.wall + 1),
    "shadow": lambda subject: subject.set_mode(Mode.SHADOW, None),
    "failures of others": lambda subject: [subject.call(Verdict.FAILURE, 0.0) for _ in range(3)],
}


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """Draw policies small enough that a few calls trip, close, fill and empty them."""
    knobs: dict[str, Any] = {}
    if draw(st.booleans()):
        knobs["failure_rate_threshold"] = draw(RATES)
    if draw(st.booleans()):
        knobs["slow_call_rate_threshold"] = draw(RATES)
        knobs["slow_call_duration"] = draw(st.sampled_from([0.25, 1.0]))
    if draw(st.booleans()):
        knobs["failure_threshold"] = draw(st.sampled_from([None, 1, 2, 3]))
    if draw(st.booleans()):
        knobs["window_calls"] = draw(st.integers(1, 9))
        knobs["minimum_calls"] = draw(st.integers(1, knobs["window_calls"]))
    else:
        knobs["window_seconds"] = draw(st.sampled_from([2.5, 5.0, 10.0]))
        knobs["minimum_calls"] = draw(st.integers(1, 6))
    knobs["recovery_timeout"] = draw(st.sampled_from([0.5, 2.0]))
    knobs["recovery_backoff"] = draw(st.sampled_from([1.0, 2.0]))
    knobs["recovery_timeout_max"] = draw(st.sampled_from([2.0, 6.0]))
    knobs["recovery_jitter"] = draw(st.sampled_from([0.0, 0.5]))
    knobs["honor_retry_after"] = draw(st.booleans())
    knobs["half_open_max_calls"] = draw(st.integers(1, 4))
    knobs["success_threshold"] = draw(st.integers(1, 3))
    knobs["probe_timeout"] = draw(st.sampled_from([0.5, 1.0, 3.0]))
    knobs["recovery_ramp"] = draw(st.sampled_from([0.0, 0.0, 2.0, 5.0]))
    knobs["max_concurrent_calls"] = draw(st.sampled_from([None, None, None, 1, 3]))
    knobs["duration_buckets"] = draw(st.sampled_from([(), (MOMENT, 1.0)]))
    return Policy(**knobs, ignore=(Excluded,))


class BreakerAgainstModel(RuleBasedStateMachine):
    """Tell the same story to the model and to a breaker, and compare all they say."""

    calls = Bundle("calls")
    ended = Bundle("ended")
    blocks = Bundle("blocks")

    @initialize(
        policy=policies(),
        dice=st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.75]), max_size=8),
        start=st.sampled_from([0.0, 1000.0]),
    )
    def begin(self, policy: Policy, dice: list[float], start: float) -> None:
        self.asked = 0
        self.kept: dict[str, Any] = {}
        self.model = ModelSubject(policy, chain(dice, repeat(0.5)).__next__, Clock(start))
        self.real = BreakerSubject(policy, chain(dice, repeat(0.5)).__next__, Clock(start))
        self.subjects = (self.model, self.real)

    # Time

    def advance_both(self, seconds: float) -> None:
        for subject in self.subjects:
            subject.clock.advance(seconds)

    @rule(seconds=MOMENTS)
    def time_passes(self, seconds: float) -> None:
        self.advance_both(seconds)

    @rule(seconds=st.sampled_from([60.0, 3600.0]))
    def much_time_passes(self, seconds: float) -> None:
        self.advance_both(seconds)

    @rule(early=st.sampled_from([0.0, 0.0, MOMENT]))
    def the_next_deadline_comes(self, early: float) -> None:
        """Go to the very moment (or just before it) at which something is due."""
        model, now = self.model.model, self.model.clock.now
        policy = model.policy
        deadlines = [model.open_until, *(call.lease_end for call in model.in_flight())]
        deadlines += [model.ramp_from + policy.recovery_ramp] if model.ramp_from is not None else []
        if model.recovered_at is not None:
            deadlines.append(model.recovered_at + policy.recovery_ramp + policy.recovery_timeout)
        if policy.window_seconds is not None and policy.judges_rates:
            deadlines += [
                seen.at // (policy.window_seconds / 10) * (policy.window_seconds / 10) + policy.window_seconds
                for seen in model.heard
            ]
        if model.until is not None:
            deadlines.append(now + model.until - self.model.clock.wall)
        ahead = [deadline - early - now for deadline in deadlines if deadline - early > now]
        self.advance_both(min(ahead, default=0.0))

    @rule(seconds=st.sampled_from([-5.0, 1.0, 5.0]))
    def the_wall_clock_is_set(self, seconds: float) -> None:
        for subject in self.subjects:
            subject.clock.wall += seconds

    def avoid_the_knife_edge(self) -> None:
        """Let a moment pass where rounding alone would decide whether the ramp's credit is a whole call."""
        while True:
            credit = self.model.model.next_credit(self.model.clock.now)
            if credit is None or abs(credit - 1.0) > 1e-9:
                return
            self.advance_both(MOMENT)

    # Calls

    def admit(self, **how: Any) -> Any:
        self.avoid_the_knife_edge()
        self.asked += 1
        name = f"call {self.asked}"
        expected, seen = self.model.admit(name), self.real.admit(name, **how)
        self.agree(expected, seen)
        return name if expected is None else multiple()

    @rule(target=calls, entry=st.sampled_from(sorted(ENTRIES)))
    def call_begins(self, entry: str) -> Any:
        return self.call_begins_by(entry)

    def call_begins_by(self, entry: str) -> Any:
        name = self.admit(enter=ENTRIES[entry])
        if entry in STREAMS and isinstance(name, str):
            self.model.answer(name)
        return name

    @rule(target=blocks)
    def calling_is_kept(self) -> str:
        name = f"block {self.asked}-{len(self.kept)}"
        self.kept[name] = self.real.breaker.calling()
        return name

    @rule(target=calls, block=consumes(blocks))
    def kept_calling_is_entered(self, block: str) -> Any:
        return self.admit(enter=lambda breaker: ByCalling(breaker, self.kept.pop(block)))

    @rule(target=ended, name=consumes(calls), verdict=VERDICTS, retry_after=RETRY_AFTERS)
    def call_ends(self, name: str, verdict: Verdict, retry_after: float | None) -> str:
        self.end(name, verdict, retry_after)
        return name

    def end(self, name: str, verdict: Verdict, retry_after: float | None) -> None:
        for subject in self.subjects:
            subject.settle(name, verdict, retry_after)

    @rule(name=calls)
    def answer_begins(self, name: str) -> None:
        if isinstance(self.real.in_flight[name], ByVerdict | ByFinish):
            for subject in self.subjects:
                subject.answer(name)

    @rule(name=consumes(calls))
    def call_is_forgotten(self, name: str) -> None:
        for subject in self.subjects:
            subject.forget(name)

    @rule(name=ended, verdict=VERDICTS)
    def permit_is_settled_again(self, name: str, verdict: Verdict) -> None:
        if isinstance(self.real.in_flight[name], ByVerdict | ByFinish):
            for subject in self.subjects:
                subject.settle(name, verdict)

    @rule(
        wrapper=st.sampled_from(sorted(WRAPPERS)),
        verdict=VERDICTS,
        takes=st.sampled_from([0.0, 0.0, 0.25, 1.0]),
        retry_after=RETRY_AFTERS,
    )
    def whole_call(self, wrapper: str, verdict: Verdict, takes: float, retry_after: float | None) -> None:
        self.call_with(None, wrapper, verdict, takes, retry_after)

    @rule(
        wrapper=st.sampled_from(sorted(WRAPPERS)),
        verdict=VERDICTS,
        takes=st.sampled_from([0.0, 0.25]),
        meanwhile=st.sampled_from(sorted(MEANWHILE)),
    )
    def whole_call_in_which_things_happen(
        self, wrapper: str, verdict: Verdict, takes: float, meanwhile: str
    ) -> None:
        if self.model.model.ramp_from is None:  # else their credit may stand on the knife edge
            self.call_with(MEANWHILE[meanwhile], wrapper, verdict, takes, None)

    def call_with(
        self,
        meanwhile: Callable[[Any], object] | None,
        wrapper: str,
        verdict: Verdict,
        takes: float,
        retry_after: float | None,
    ) -> None:
        self.avoid_the_knife_edge()
        answers = []
        for subject in self.subjects:
            self.real.wrapper = wrapper
            inside = partial(self.aside, subject, meanwhile) if meanwhile else None
            answers.append(subject.call(verdict, takes, retry_after, inside))
        self.agree(*answers)

    def aside(self, subject: Any, happens: Callable[[Any], object]) -> None:
        """Let something happen in the middle of a wrapped call, by other callers' means."""
        wrapper, self.real.wrapper = self.real.wrapper, None
        body = self.real.body
        happens(subject)
        self.real.wrapper, self.real.body = wrapper, body

    @rule(
        wrapper=st.sampled_from(sorted(WRAPPERS)),
        verdicts=st.lists(VERDICTS, min_size=2, max_size=12),
        takes=st.sampled_from([0.0, 0.0, MOMENT]),
    )
    def many_calls(self, wrapper: str, verdicts: list[Verdict], takes: float) -> None:
        self.real.wrapper = wrapper
        for verdict in verdicts:
            self.avoid_the_knife_edge()
            self.agree(self.model.call(verdict, takes), self.real.call(verdict, takes))

    @precondition(lambda self: self.model.model.state is State.CLOSED)
    @rule()
    def an_outage(self) -> None:
        self.many_calls("decorator", [Verdict.FAILURE] * 6, 0.0)

    @precondition(lambda self: self.model.model.state is not State.CLOSED)
    @rule(
        target=calls,
        entry=st.sampled_from(sorted(ENTRIES)),
        steps=st.lists(
            st.tuples(
                st.sampled_from([0.0, MOMENT, 0.5, 1.0, 3.0]),
                st.sampled_from([None, None, None, *Verdict]),
                st.booleans(),
            ),
            min_size=2,
            max_size=9,
        ),
    )
    def a_trial(self, entry: str, steps: list[tuple[float, Verdict | None, bool]]) -> Any:
        """Wait out the open period; then, step by step, a probe begins, or the oldest or newest one ends."""
        self.advance_both(self.model.model.open_for(self.model.clock.now))
        begun: list[str] = []
        for wait, verdict, oldest in steps:
            if verdict is None:
                name = self.call_begins_by(entry)
                begun += [name] if isinstance(name, str) else []
            elif begun:
                self.end(begun.pop(0 if oldest else -1), verdict, None)
            self.tell_the_same()
            self.advance_both(wait)
        return multiple(*begun)

    @precondition(lambda self: self.model.model.state is not State.CLOSED)
    @rule()
    def a_recovery(self) -> None:
        """Wait out the open period and let as many probes succeed as close the circuit."""
        self.advance_both(self.model.model.open_for(self.model.clock.now))
        self.many_calls("decorator", [Verdict.SUCCESS] * self.model.model.policy.success_threshold, 0.0)

    @precondition(lambda self: self.model.model.recovered_at is not None)
    @rule(early=st.sampled_from([0.0, MOMENT]))
    def a_relapse(self, early: float) -> None:
        """Go to where the backoff is about to be forgiven, and fail there."""
        model, now = self.model.model, self.model.clock.now
        forgiven = (model.recovered_at or 0.0) + model.policy.recovery_ramp + model.policy.recovery_timeout
        self.advance_both(max(0.0, forgiven - early - now))
        self.an_outage()

    # Operators

    @rule(mode=st.sampled_from(list(Mode)), lasts=st.sampled_from([0.5, 2.0, 10.0, None]))
    def operator_sets_the_mode(self, mode: Mode, lasts: float | None) -> None:
        for subject in self.subjects:
            subject.set_mode(mode, None if lasts is None or mode is Mode.AUTO else subject.clock.wall + lasts)

    @precondition(lambda self: self.model.model.mode is not Mode.AUTO)
    @rule()
    def operator_lifts_the_mode(self) -> None:
        self.operator_sets_the_mode(Mode.AUTO, None)

    @rule()
    def operator_resets(self) -> None:
        for subject in self.subjects:
            subject.reset()

    # What they say

    def agree(self, expected: Refused | None, seen: Refused | None) -> None:
        assert rounded(seen) == rounded(expected)

    @invariant()
    def tell_the_same(self) -> None:
        if not hasattr(self, "subjects"):
            return
        expected, seen = (comparable(subject.news()) for subject in self.subjects)
        assert seen == expected
        assert self.real.look() == self.model.look()
        assert self.real.clock == self.model.clock
        ignored = self.model.model.totals["ignored"]
        numbers = self.real.breaker.snapshot()
        assert ignored <= numbers.ignored <= ignored + self.model.forgotten
        assert numbers.durations is None or sum(numbers.durations.counts) >= numbers.calls

    @invariant()
    def recorder_is_there_while_every_call_is_admitted_and_counted(self) -> None:
        if not hasattr(self, "subjects"):
            return
        model = self.model.model
        if model.state is not State.CLOSED or model.policy.max_concurrent_calls is not None:
            assert self.real.breaker.recorder is None
        elif model.until is None and model.ramp_from is None:
            assert self.real.breaker.recorder is not None


def rounded(refused: Refused | None) -> Refused | None:
    return refused and refused._replace(retry_after=round(refused.retry_after, 6))


def comparable(news: News) -> News:
    return news._replace(
        changes=[change._replace(retry_after=round(change.retry_after, 6)) for change in news.changes],
        refusals=[refused._replace(retry_after=round(refused.retry_after, 6)) for refused in news.refusals],
    )


TestBreakerAgainstModel = pytest.mark.timeout(0 if DEEP else 120)(BreakerAgainstModel.TestCase)
TestBreakerAgainstModel.settings = settings(
    max_examples=examples(400, deep=4000),
    stateful_step_count=80 if DEEP else 40,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
