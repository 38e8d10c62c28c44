"""The circuit's states, epochs, the recorder, time: SEMANTICS C1-C3, C10, C14."""

from __future__ import annotations

from typing import Any

import pytest

from core.acting import Boom, Clock, Heard, admits, fail, half_open, refused, succeed
from core.conftest import Build
from recloser import CircuitBreaker, Rejection, Rule, State


def test_a_circuit_opens_probes_and_closes(build: Build, clock: Clock, heard: Heard):
    """Closed, open, half-open, closed: each transition is told once, with its cause."""
    breaker = build(failure_threshold=2)
    breaker.add_listener(heard)
    fail(breaker, 2, Boom("down"))
    assert refused(breaker).state is State.OPEN
    clock.advance(10)
    succeed(breaker)
    assert [(str(one.old), str(one.new), one.cause.rule) for one in heard.changes] == [
        ("closed", "open", Rule.CONSECUTIVE_FAILURES),
        ("open", "half_open", Rule.RECOVERY_DUE),
        ("half_open", "closed", Rule.PROBES_SUCCEEDED),
    ]
    assert [one.last_failure for one in heard.changes] == ["Boom: down"] * 3
    assert [one.retry_after for one in heard.changes] == [10, 0, 0]
    assert breaker.state is State.CLOSED


def test_a_breaker_shows_itself(build: Build):
    """The repr names the breaker, its state, and an operator's mode."""
    breaker = build()
    assert repr(breaker) == "<CircuitBreaker 'shop' closed>"
    breaker.shadow(by="ann", reason="trial")
    fail(breaker)
    assert repr(breaker) == "<CircuitBreaker 'shop' open (shadow)>"


def test_c1_promise_2_a_late_outcome_of_a_closed_epoch_says_nothing(build: Build, clock: Clock):
    """Calls admitted while closed are not heard by open, by half-open, nor by the next closed epoch."""
    breaker = build(failure_threshold=2, success_threshold=2)
    late = [breaker.acquire() for _ in range(6)]
    fail(breaker, 2)
    late[0].success()
    late[1].failure()
    assert breaker.state is State.OPEN
    clock.advance(10)
    probe = breaker.acquire()
    late[2].success()
    late[3].failure()
    seen = breaker.snapshot()
    assert (seen.state, seen.probe_successes, seen.probes_in_flight) == (State.HALF_OPEN, 0, 1)
    probe.success()
    succeed(breaker)
    late[4].failure()
    late[5].success()
    fail(breaker)
    assert (breaker.state, breaker.snapshot().consecutive_failures) == (State.CLOSED, 1)
    assert breaker.snapshot().calls == 5


@pytest.mark.parametrize("verdict", ["success", "failure", "ignore"])
def test_c1_promise_2_a_late_probe_says_nothing_to_the_next_round(build: Build, clock: Clock, verdict: str):
    """A probe of an earlier half-open epoch neither closes, re-opens nor frees a place of this one."""
    breaker = build(half_open_max_calls=2, success_threshold=2, probe_timeout=60)
    half_open(breaker, clock)
    late, failing = breaker.acquire(), breaker.acquire()
    failing.failure()
    clock.advance(20)
    probes = [breaker.acquire(), breaker.acquire()]
    before = breaker.snapshot()
    getattr(late, verdict)()
    after = breaker.snapshot()
    assert (after.state, after.epoch, after.probes_in_flight) == (State.HALF_OPEN, before.epoch, 2)
    assert (after.probe_successes, after.failures) == (0, before.failures)
    assert len(probes) == 2


def test_c1_epochs_grow_and_are_unique(build: Build, clock: Clock, heard: Heard):
    """Each transition begins an epoch with a higher number and a tag of its own."""
    breaker, twin = build(), build()
    for one in (breaker, twin):
        one.add_listener(heard)
        for _ in range(20):
            half_open(one, clock)
            succeed(one)
    numbers = [change.epoch.number for change in heard.changes]
    assert numbers == [*range(1, 61), *range(1, 61)]
    assert len({change.epoch.tag for change in heard.changes}) == 120


def test_c1_the_condition_is_one_immutable_value(build: Build, clock: Clock):
    """Who holds an epoch's condition never sees it change: transitions replace it."""
    breaker = build()
    machine = breaker._driver.machine
    seen = [machine.condition]
    half_open(breaker, clock)
    probe = breaker.acquire()
    seen.append(machine.condition)
    probe.success()
    assert [one.state for one in seen] == [State.CLOSED, State.HALF_OPEN]
    with pytest.raises(AttributeError):
        seen[0].state = State.OPEN  # type: ignore[misc]


def test_c1_the_first_verdict_counts(build: Build):
    """A permit is settled once; whatever is said later changes nothing."""
    breaker = build(failure_threshold=2)
    permit = breaker.acquire()
    assert not permit.settled
    permit.failure()
    assert permit.settled
    for _ in range(3):
        permit.failure()
        permit.success()
        permit.ignore()
        permit.finish(Boom())
        permit.returned(1)
        permit.answered()
    seen = breaker.snapshot()
    assert (seen.state, seen.calls, seen.failures, seen.ignored) == (State.CLOSED, 1, 1, 0)


def test_c2_a_refusal_is_decided_in_order(build: Build, clock: Clock):
    """Mode, state, ramp, bulkhead, lease: the first of them that refuses is the reason."""
    breaker = build(max_concurrent_calls=1, recovery_ramp=100, half_open_max_calls=1, probe_timeout=50)
    only = breaker.acquire()
    assert refused(breaker).reason is Rejection.BULKHEAD
    only.failure()
    assert refused(breaker).reason is Rejection.OPEN
    clock.advance(10)
    probe = breaker.acquire()
    assert refused(breaker).reason is Rejection.BULKHEAD
    probe.success()
    _held = breaker.acquire()
    reasons = [refused(breaker).reason for _ in range(9)]
    assert reasons.count(Rejection.RAMP) == 8
    assert reasons.count(Rejection.BULKHEAD) == 1
    breaker.force_open(by="ann", reason="drill")
    assert refused(breaker).reason is Rejection.FORCED_OPEN


def test_c2_a_refusal_takes_nothing(build: Build, clock: Clock):
    """After any number of refusals every slot and place is still there."""
    breaker = build(max_concurrent_calls=2, half_open_max_calls=1)
    held = breaker.acquire()
    half_open(breaker, clock)
    probe = breaker.acquire()
    for _ in range(50):
        assert refused(breaker).reason is Rejection.BULKHEAD
    held.ignore()
    for _ in range(50):
        assert refused(breaker).reason is Rejection.HALF_OPEN
    seen = breaker.snapshot()
    assert (seen.in_flight, seen.probes_in_flight, seen.probes) == (1, 1, 1)
    probe.success()
    assert (breaker.state, breaker.snapshot().in_flight) == (State.CLOSED, 0)


def test_c2_a_block_kept_from_one_epoch_is_admitted_anew_on_entry(build: Build, clock: Clock):
    """`calling()` decides nothing: what counts is the state in which the block is entered."""
    breaker = build()
    kept = breaker.calling()
    fail(breaker)
    with pytest.raises(Exception, match="is open"):
        kept.__enter__()
    clock.advance(10)
    with kept:
        assert breaker.snapshot().probes_in_flight == 1
    assert breaker.state is State.CLOSED


@pytest.mark.parametrize(
    "knobs",
    [
        {},
        {"failure_rate_threshold": 0.5, "window_calls": 50},
        {"failure_rate_threshold": 0.5},
        {"slow_call_duration": 1, "slow_call_rate_threshold": 0.5},
    ],
)
def test_c3_there_is_a_recorder_exactly_while_all_calls_are_admitted_and_counted(
    build: Build, clock: Clock, knobs: dict[str, Any]
):
    """Closed has one, which dies with its epoch; open and half-open have none."""
    breaker = build(**{"failure_threshold": 1, **knobs})
    first = breaker.recorder
    assert first is not None
    fail(breaker)
    assert breaker.recorder is None
    clock.advance(10)
    probe = breaker.acquire()
    assert breaker.recorder is None
    probe.success()
    assert breaker.recorder not in (None, first)
    first()
    assert breaker.snapshot().window.calls == 0


def test_c3_no_recorder_where_calls_need_a_decision(build: Build, clock: Clock):
    """A bulkhead, a ramp, and a mode with an end each have to be asked at every call."""
    assert build(max_concurrent_calls=5).recorder is None
    ramping = build(recovery_ramp=5)
    assert ramping.recorder is not None
    half_open(ramping, clock)
    succeed(ramping)
    assert ramping.recorder is None
    clock.advance(5)
    succeed(ramping)
    assert ramping.recorder is not None
    for mode in ("force_closed", "shadow"):
        breaker = build()
        getattr(breaker, mode)(by="ann", reason="drill", until=clock.wall + 60)
        assert breaker.recorder is None
        getattr(breaker, mode)(by="ann", reason="drill")
        assert breaker.recorder is not None
        breaker.force_open(by="ann", reason="drill")
        assert breaker.recorder is None


def test_c3_without_a_recorder_every_call_still_counts(build: Build, clock: Clock):
    """The slow path counts what the recorder would."""
    breaker = build(max_concurrent_calls=5, failure_threshold=3)
    for _ in range(3):
        succeed(breaker, 5)
        fail(breaker, 2)
    succeed(breaker)
    assert (breaker.snapshot().calls, breaker.snapshot().failures) == (22, 6)


def test_c10_retry_after_while_open_is_the_time_left(build: Build, clock: Clock):
    """It counts down to the first probe."""
    breaker = build()
    fail(breaker)
    clock.advance(3)
    assert refused(breaker).retry_after == breaker.snapshot().retry_after == 7


@pytest.mark.parametrize(("probe_timeout", "wait"), [(30, 1), (0.25, 0.15)])
def test_c10_retry_after_while_half_open_is_the_earliest_lease_end(
    build: Build, clock: Clock, probe_timeout: float, wait: float
):
    """At most a second, since a probe usually ends long before its lease."""
    breaker = build(probe_timeout=probe_timeout, half_open_max_calls=2)
    half_open(breaker, clock)
    probes = [breaker.acquire()]
    clock.advance(0.1)
    probes.append(breaker.acquire())
    assert refused(breaker).retry_after == pytest.approx(wait)
    for probe in probes:
        probe.ignore()


def test_c10_retry_after_of_a_forced_open_circuit(build: Build, clock: Clock):
    """Until the mode ends; where it has no end, the recovery time-out."""
    breaker = build()
    breaker.force_open(by="ann", reason="drill", until=clock.wall + 90)
    clock.advance(20)
    assert refused(breaker).retry_after == 70
    breaker.force_open(by="ann", reason="drill")
    assert refused(breaker).retry_after == 10


def test_c10_retry_after_during_a_ramp_is_to_its_end(build: Build, clock: Clock):
    """A refused call may come back when all are admitted."""
    breaker = build(recovery_ramp=20)
    half_open(breaker, clock)
    succeed(breaker)
    clock.advance(4)
    while admits(breaker):
        pass
    error = refused(breaker)
    assert (error.reason, error.state, error.retry_after) == (Rejection.RAMP, State.CLOSED, 16)


def test_c14_promise_8_wall_time_never_moves_a_circuit(build: Build, clock: Clock):
    """A day's jump of the wall clock, either way, changes no window, deadline or lease."""
    breaker = build(failure_rate_threshold=0.5, minimum_calls=2)
    fail(breaker, 1)
    clock.wall += 86_400
    assert breaker.snapshot().window.calls == 1
    fail(breaker)
    clock.wall -= 2 * 86_400
    assert (breaker.state, refused(breaker).retry_after) == (State.OPEN, 10)
    clock.now += 10
    probe = breaker.acquire()
    clock.wall += 86_400
    assert refused(breaker).reason is Rejection.HALF_OPEN
    probe.success()
    assert breaker.state is State.CLOSED


def test_c14_the_wall_clock_is_not_read_without_need():
    """Only a mode's end and HTTP dates ask for the time of day."""

    def never() -> float:
        raise AssertionError

    clock = Clock()
    breaker = CircuitBreaker("shop", clock=clock, wall_clock=never, failure_threshold=1, recovery_jitter=0)
    half_open(breaker, clock)
    succeed(breaker)
    refused_open = breaker.acquire()
    refused_open.failure(Boom("no Retry-After"))
    breaker.snapshot()
    assert breaker.state is State.OPEN


def test_c14_a_clock_that_goes_backwards_breaks_nothing(build: Build, clock: Clock):
    """Deadlines stand where they were; numbers stay finite and at least 0."""
    breaker = build(recovery_ramp=10)
    fail(breaker)
    clock.advance(-500)
    error = refused(breaker)
    assert (error.retry_after, error.elapsed) == (510, 0)
    assert breaker.snapshot().elapsed == 0
    clock.advance(510)
    probe = breaker.acquire()
    clock.advance(-100)
    probe.success()
    clock.advance(-100)
    for _ in range(30):
        admits(breaker)
    clock.advance(200)
    assert breaker.state is State.CLOSED
    assert [admits(breaker) for _ in range(3)] == [True] * 3


def test_a_snapshot_counts_everything_since_the_breaker_was_made(build: Build, clock: Clock):
    """Totals outlive epochs; the present condition is that of now."""
    breaker = build(failure_threshold=2, success_threshold=2)
    succeed(breaker, 3)
    fail(breaker, 2, Boom("down"))
    for _ in range(4):
        refused(breaker)
    clock.advance(10)
    succeed(breaker)
    probe = breaker.acquire()
    for _ in range(2):
        refused(breaker)
    clock.advance(1.5)
    seen = breaker.snapshot()
    assert (seen.name, seen.state, seen.elapsed, seen.retry_after) == ("shop", State.HALF_OPEN, 1.5, 0)
    assert (seen.calls, seen.failures, seen.slow, seen.ignored) == (6, 2, 0, 0)
    assert seen.rejected == {Rejection.OPEN: 4, Rejection.HALF_OPEN: 2}
    assert (seen.probes, seen.probes_in_flight, seen.probe_successes) == (2, 1, 1)
    assert (seen.opened, seen.half_opened, seen.closed) == (1, 1, 0)
    assert seen.last_failure == "Boom: down"
    probe.success()
    seen = breaker.snapshot()
    assert (seen.calls, seen.closed, seen.cause.rule) == (7, 1, Rule.PROBES_SUCCEEDED)
