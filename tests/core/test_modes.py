"""Operators' modes and the reset: SEMANTICS C9."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from core.acting import MIDNIGHT, Clock, Heard, admits, fail, half_open, refused, succeed
from core.conftest import Build
from recloser import CallRejected, CircuitBreaker, Mode, ModeChanged, Permit, Rejection, Rule, State
from recloser.core.state import Override

WHO: dict[str, Any] = {"by": "ann", "reason": "drill"}


def set_mode(breaker: CircuitBreaker, mode: Mode, until: float | None = None) -> None:
    if mode is Mode.AUTO:
        breaker.auto(**WHO)
    else:
        name = {Mode.FORCED_OPEN: "force_open", Mode.FORCED_CLOSED: "force_closed", Mode.SHADOW: "shadow"}[
            mode
        ]
        getattr(breaker, name)(**WHO, until=until)


def test_c9_a_mode_carries_who_why_and_until_when(build: Build, clock: Clock):
    """An operator's override says everything about itself, until it is lifted."""
    breaker = build()
    assert breaker.mode == (Mode.AUTO, "", "", None)
    breaker.force_open(by="ann", reason="migration", until=clock.wall + 60)
    assert breaker.mode == (Mode.FORCED_OPEN, "ann", "migration", clock.wall + 60)
    assert breaker.snapshot().mode == breaker.mode
    breaker.auto(by="bob", reason="done")
    assert breaker.mode == (Mode.AUTO, "bob", "done", None)


def test_c9_until_is_an_aware_datetime_or_seconds(build: Build, clock: Clock):
    """Both name the same moment."""
    breaker = build()
    moment = datetime.fromtimestamp(MIDNIGHT, UTC) + timedelta(minutes=1)
    for until in (moment, moment.timestamp()):
        breaker.force_open(**WHO, until=until)
        assert breaker.mode.until == MIDNIGHT + 60


@pytest.mark.parametrize(
    ("until", "fix"),
    [
        (datetime(2030, 1, 1), "until must have a time zone"),  # noqa: DTZ001 - that is the mistake
        (MIDNIGHT, "until must lie in the future"),
        (MIDNIGHT - 1, "until must lie in the future"),
        (float("nan"), "until must lie in the future"),
        (float("inf"), "until must lie in the future"),
        (1e17, "until must lie in the future, before the year 9999"),
    ],
)
def test_c9_a_wrong_until_is_refused(build: Build, until: Any, fix: str):
    """A naive, past or endless end is an operator's mistake, and changes nothing."""
    breaker = build()
    for force in (breaker.force_open, breaker.force_closed, breaker.shadow):
        with pytest.raises(ValueError, match=f"breaker 'shop': {fix}"):
            force(**WHO, until=until)
    assert breaker.mode.mode is Mode.AUTO


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("before", list(Mode))
def test_c9_any_change_of_mode_is_a_new_epoch_with_an_empty_window(build: Build, before: Mode, mode: Mode):
    """Counts of one mode decide nothing in the next, and calls in flight say nothing to it."""
    breaker = build(failure_threshold=3, failure_rate_threshold=1, minimum_calls=4)
    set_mode(breaker, before)
    if before is not Mode.FORCED_OPEN:
        late = breaker.acquire()
        fail(breaker, 2)
    epoch = breaker.snapshot().epoch
    set_mode(breaker, mode)
    seen = breaker.snapshot()
    assert seen.epoch.number == epoch.number + 1
    assert (tuple(seen.window), seen.consecutive_failures) == ((0, 0, 0), 0)
    if before is not Mode.FORCED_OPEN:
        late.failure()
        assert tuple(breaker.snapshot().window) == (0, 0, 0)


@pytest.mark.parametrize("mode", [Mode.AUTO, Mode.SHADOW])
def test_c9_a_change_of_mode_takes_all_leases(build: Build, clock: Clock, mode: Mode):
    """Between automatic and shadow half-open goes on, but its probes no longer count."""
    breaker = build(half_open_max_calls=2)
    set_mode(breaker, Mode.SHADOW if mode is Mode.AUTO else Mode.AUTO)
    half_open(breaker, clock)
    probes = [breaker.acquire(), breaker.acquire()]
    set_mode(breaker, mode)
    assert (breaker.state, breaker.snapshot().probes_in_flight) == (State.HALF_OPEN, 0)
    for probe in probes:
        probe.success()
    assert breaker.state is State.HALF_OPEN
    succeed(breaker)
    assert breaker.state is State.CLOSED


def test_c9_an_open_circuit_keeps_its_deadline_between_automatic_and_shadow(build: Build, clock: Clock):
    """The state goes on: since when, why and until when stay as they were."""
    breaker = build()
    fail(breaker)
    clock.advance(4)
    before = breaker.snapshot()
    for mode in (Mode.SHADOW, Mode.AUTO):
        set_mode(breaker, mode)
        seen = breaker.snapshot()
        assert (seen.state, seen.retry_after, seen.elapsed, seen.cause) == (State.OPEN, 6, 4, before.cause)
    assert refused(breaker).retry_after == 6


def test_c9_forced_open_freezes_the_machine_and_rejects(build: Build, clock: Clock, heard: Heard):
    """Nothing but an operator or the mode's own end moves it."""
    breaker = build()
    late = breaker.acquire()
    breaker.force_open(**WHO)
    breaker.add_listener(heard)
    late.success()
    for _ in range(100):
        clock.advance(100)
        error = refused(breaker)
        assert (error.reason, error.state) == (Rejection.FORCED_OPEN, State.OPEN)
    assert not heard.changes
    assert breaker.snapshot().rejected == {Rejection.FORCED_OPEN: 100}


@pytest.mark.parametrize("mode", [Mode.AUTO, Mode.SHADOW, Mode.FORCED_CLOSED])
def test_c9_leaving_forced_open_starts_closed(build: Build, mode: Mode):
    """Also where the circuit had been open before."""
    breaker = build()
    fail(breaker)
    breaker.force_open(**WHO)
    set_mode(breaker, mode)
    assert breaker.state is State.CLOSED
    assert admits(breaker)


def test_c9_forced_closed_admits_and_counts_and_never_trips(build: Build, clock: Clock):
    """Every failure is counted; none opens the circuit."""
    breaker = build(failure_threshold=2, failure_rate_threshold=0.5, minimum_calls=2)
    fail(breaker, 2)
    assert breaker.state is State.OPEN
    breaker.force_closed(**WHO)
    fail(breaker, 50)
    seen = breaker.snapshot()
    assert (seen.state, seen.window.failures, seen.consecutive_failures) == (State.CLOSED, 50, 50)
    breaker.auto(**WHO)
    fail(breaker)
    assert breaker.state is State.CLOSED


def test_c9_forced_closed_admits_above_the_bulkhead_and_counts_what_is_in_flight(build: Build):
    """All means all; after the mode the calls still in flight hold their slots."""
    breaker = build(max_concurrent_calls=1)
    breaker.force_closed(**WHO)
    permits = [breaker.acquire() for _ in range(3)]
    assert breaker.snapshot().in_flight == 3
    breaker.auto(**WHO)
    assert refused(breaker).reason is Rejection.BULKHEAD
    for permit in permits:
        permit.ignore()
    assert admits(breaker)


def test_c9_shadow_decides_and_reports_and_never_rejects(build: Build, clock: Clock, heard: Heard):
    """The machine makes real transitions; what it would have refused runs uncounted and is reported."""
    breaker = build()
    breaker.shadow(**WHO)
    breaker.add_listener(heard)
    fail(breaker)
    assert breaker.state is State.OPEN
    calls = breaker.snapshot().calls
    assert breaker.call(lambda: "ran") == "ran"
    fail(breaker)
    clock.advance(10)
    probe = breaker.acquire()
    assert breaker.call(lambda: "ran beside the probe") == "ran beside the probe"
    assert breaker.snapshot().calls == calls
    probe.success()
    assert breaker.state is State.CLOSED
    reports = [event for event in heard if isinstance(event, CallRejected)]
    assert [(one.reason, one.shadow) for one in reports] == [
        (Rejection.OPEN, True),
        (Rejection.OPEN, True),
        (Rejection.HALF_OPEN, True),
    ]
    seen = breaker.snapshot()
    assert (seen.rejected, seen.would_reject) == ({}, {Rejection.OPEN: 2, Rejection.HALF_OPEN: 1})
    assert heard.states == ["open", "half_open", "closed"]


def test_c9_shadow_lets_full_bulkheads_and_ramps_pass(build: Build, clock: Clock):
    """These too are only reported."""
    breaker = build(max_concurrent_calls=1, recovery_ramp=100)
    breaker.shadow(**WHO)
    permits = [breaker.acquire() for _ in range(3)]
    assert breaker.snapshot().in_flight == 1
    for permit in permits:
        permit.ignore()
    half_open(breaker, clock)
    succeed(breaker)
    for _ in range(9):
        breaker.acquire().ignore()
    assert breaker.snapshot().would_reject == {Rejection.BULKHEAD: 2, Rejection.RAMP: 8}


@pytest.mark.parametrize("mode", list(Mode))
def test_c9_reset_closes_and_keeps_the_mode(build: Build, mode: Mode, heard: Heard):
    """Counts and backoff are forgotten; only forced open stays open. A reset is always told."""
    breaker = build()
    set_mode(breaker, mode)
    if mode is not Mode.FORCED_OPEN:
        fail(breaker)
    before = breaker.mode
    breaker.add_listener(heard)
    breaker.reset(by="bob", reason="fixed")
    seen = breaker.snapshot()
    assert seen.mode == before
    assert seen.state is (State.OPEN if mode is Mode.FORCED_OPEN else State.CLOSED)
    assert (seen.cause.rule, seen.reopenings, tuple(seen.window)) == (Rule.RESET, 0, (0, 0, 0))
    assert [str(change.cause) for change in heard.changes] == ["reset by bob: fixed"]
    assert admits(breaker) is (mode is not Mode.FORCED_OPEN)


def test_c9_a_mode_that_has_ended_is_a_new_epoch(build: Build, clock: Clock, heard: Heard):
    """The first look or call after its end finds the breaker automatic, and closed after a forced mode."""
    breaker = build()
    breaker.force_open(**WHO, until=clock.wall + 60)
    epoch = breaker.snapshot().epoch
    breaker.add_listener(heard)
    clock.advance(59.9)
    refused(breaker)
    clock.advance(0.1)
    assert (breaker.state, breaker.mode.mode) == (State.CLOSED, Mode.AUTO)
    assert breaker.snapshot().epoch.number == epoch.number + 1
    changed, closed = (event for event in heard if not isinstance(event, CallRejected))
    assert isinstance(changed, ModeChanged)
    assert (changed.old.mode, changed.new.mode, changed.at) == (Mode.FORCED_OPEN, Mode.AUTO, clock.now)
    assert (closed.old, closed.new, str(closed.cause)) == (State.OPEN, State.CLOSED, "mode ended")
    assert changed.epoch == closed.epoch == breaker.snapshot().epoch


NOTICES: dict[str, Callable[[CircuitBreaker, Permit], object]] = {
    "admission": lambda breaker, permit: breaker.acquire(),
    "success": lambda breaker, permit: permit.success(),
    "failure": lambda breaker, permit: permit.failure(),
    "ignore": lambda breaker, permit: permit.ignore(),
    "snapshot": lambda breaker, permit: breaker.snapshot(),
    "reset": lambda breaker, permit: breaker.reset(by="bob", reason="fixed"),
    "mode": lambda breaker, permit: breaker.mode,
    "state": lambda breaker, permit: breaker.state,
    "repr": lambda breaker, permit: repr(breaker),
}


@pytest.mark.parametrize("notice", NOTICES)
def test_c9_whatever_happens_next_notices_the_end_of_a_mode(
    build: Build, clock: Clock, heard: Heard, notice: str
):
    """Admission, outcome, operator and reader alike find the mode gone, and its end is told as of now."""
    breaker = build()
    breaker.force_closed(**WHO, until=clock.wall + 60)
    permit = breaker.acquire()
    breaker.add_listener(heard)
    clock.advance(300)
    NOTICES[notice](breaker, permit)
    assert isinstance(heard[0], ModeChanged)
    assert (heard[0].new, heard[0].at) == (Override(), clock.now)
    assert breaker.recorder is not None
    assert breaker.snapshot().calls == 0


def test_c9_a_mode_without_an_end_does_not_end(build: Build, clock: Clock):
    """An operator's word stands until it is taken back."""
    breaker = build()
    breaker.force_open(**WHO)
    clock.advance(10**9)
    assert not admits(breaker)


def test_c9_events_and_counters_work_in_every_mode(build: Build, clock: Clock, heard: Heard):
    """Modes are told in order with who, why and until when, each with the epoch that it began."""
    breaker = build()
    breaker.add_listener(heard)
    for mode in (Mode.SHADOW, Mode.FORCED_OPEN, Mode.FORCED_CLOSED, Mode.AUTO):
        set_mode(breaker, mode)
    modes = [event for event in heard if isinstance(event, ModeChanged)]
    assert [one.new.mode for one in modes] == [Mode.SHADOW, Mode.FORCED_OPEN, Mode.FORCED_CLOSED, Mode.AUTO]
    assert [one.old.mode for one in modes][1:] == [one.new.mode for one in modes][:-1]
    assert {(one.new.by, one.new.why) for one in modes} == {("ann", "drill")}
    assert [one.epoch.number for one in modes] == [1, 2, 3, 4]
    assert [(str(one.old), str(one.new)) for one in heard.changes] == [("closed", "open"), ("open", "closed")]
    assert {str(one.cause) for one in heard.changes} == {"mode by ann: drill"}
    assert [type(event).__name__ for event in heard] == [
        "ModeChanged",
        "ModeChanged",
        "StateChanged",
        "ModeChanged",
        "StateChanged",
        "ModeChanged",
    ]


def test_c9_totals_outlive_every_epoch(build: Build, clock: Clock):
    """A change of mode empties the window, not what the breaker has counted since it was made."""
    breaker = build(slow_call_duration=2, slow_call_rate_threshold=0.9, failure_threshold=9)
    permit = breaker.acquire()
    clock.advance(2)
    permit.success()
    fail(breaker, 2)
    breaker.shadow(**WHO)
    succeed(breaker)
    breaker.force_open(**WHO)
    breaker.reset(**WHO)
    breaker.auto(**WHO)
    succeed(breaker)
    seen = breaker.snapshot()
    assert (seen.calls, seen.failures, seen.slow, seen.reopenings) == (5, 2, 1, 0)


def test_c9_an_operator_may_leave_his_reason_out(build: Build):
    """The cause then reads without it."""
    breaker = build()
    breaker.force_open(by="ann", reason="")
    assert str(refused(breaker).cause) == "mode by ann"
