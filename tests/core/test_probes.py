"""Probes, their leases and verdicts: SEMANTICS C4 and C5, promise 1."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from typing import Any

import pytest

from core.acting import Boom, Clock, Heard, admits, fail, half_open, refused, succeed
from core.conftest import Build
from recloser import CircuitBreaker, Rejection, Rule, State


def test_c4_the_first_call_after_the_deadline_starts_half_open(build: Build, clock: Clock):
    """Nothing happens by itself: the breaker stays open until somebody asks, at the deadline or after."""
    breaker = build()
    fail(breaker)
    clock.advance(9.999)
    assert refused(breaker).reason is Rejection.OPEN
    clock.advance(0.001)
    assert breaker.state is State.OPEN
    breaker.acquire()
    assert breaker.state is State.HALF_OPEN


@pytest.mark.parametrize("places", [1, 3])
def test_c4_half_open_admits_so_many_probes_at_once(build: Build, clock: Clock, places: int):
    """`half_open_max_calls` probes run; the next call is refused."""
    breaker = build(half_open_max_calls=places, success_threshold=places)
    half_open(breaker, clock)
    probes = [breaker.acquire() for _ in range(places)]
    assert refused(breaker).reason is Rejection.HALF_OPEN
    assert breaker.snapshot().probes_in_flight == places
    for probe in probes:
        probe.success()
    assert breaker.state is State.CLOSED


def settle_by_success(breaker: CircuitBreaker) -> None:
    breaker.acquire().success()


def settle_by_ignoring(breaker: CircuitBreaker) -> None:
    breaker.acquire().ignore()


def settle_by_cancellation(breaker: CircuitBreaker) -> None:
    breaker.acquire().finish(asyncio.CancelledError())


def settle_by_forgetting(breaker: CircuitBreaker) -> None:
    breaker.acquire()
    gc.collect(0)


def settle_by_exit(breaker: CircuitBreaker) -> None:
    def leave() -> None:
        raise SystemExit

    with pytest.raises(SystemExit):
        breaker.call(leave)


@pytest.mark.parametrize(
    "settle",
    [settle_by_success, settle_by_ignoring, settle_by_cancellation, settle_by_forgetting, settle_by_exit],
)
def test_c4_promise_3_a_place_comes_back_on_any_outcome(
    build: Build, clock: Clock, settle: Callable[[CircuitBreaker], None]
):
    """However a probe ends, its place is free at once."""
    breaker = build(success_threshold=9)
    half_open(breaker, clock)
    for _ in range(5):
        settle(breaker)
        assert (breaker.state, breaker.snapshot().probes_in_flight) == (State.HALF_OPEN, 0)
    breaker.acquire().success()


def test_c4_promise_1_a_probe_that_hangs_loses_its_place_at_its_deadline(build: Build, clock: Clock):
    """Another call probes as soon as the lease has ended, and not before."""
    breaker = build(probe_timeout=5)
    half_open(breaker, clock)
    hanging = breaker.acquire()
    clock.advance(4.9)
    assert not admits(breaker)
    clock.advance(0.1)
    breaker.acquire().success()
    assert breaker.state is State.CLOSED
    hanging.failure()
    assert breaker.state is State.CLOSED


def test_c4_promise_1_a_generator_never_finished_loses_its_place(build: Build, clock: Clock):
    """A consumer that walks away from a stream without closing it holds a place until the lease ends."""
    breaker = build(probe_timeout=5)

    @breaker
    def lines():
        yield "first"
        yield "second"

    half_open(breaker, clock)
    stream = lines()
    assert next(stream) == "first"
    assert not admits(breaker)
    clock.advance(5)
    succeed(breaker)
    assert breaker.state is State.CLOSED
    stream.close()


def test_c4_expiry_frees_the_place_but_not_the_verdict(build: Build, clock: Clock):
    """A healthy dependency slower than `probe_timeout` closes its circuit."""
    breaker = build(probe_timeout=5)
    half_open(breaker, clock)
    late = breaker.acquire()
    clock.advance(6)
    other = breaker.acquire()
    late.success()
    assert breaker.state is State.CLOSED
    other.success()


def test_c4_a_late_verdict_counts_once(build: Build, clock: Clock):
    """It is one of the successes that close, and frees nobody else's place."""
    breaker = build(probe_timeout=5, success_threshold=2)
    half_open(breaker, clock)
    late = breaker.acquire()
    clock.advance(6)
    other = breaker.acquire()
    late.success()
    late.success()
    seen = breaker.snapshot()
    assert (seen.state, seen.probe_successes, seen.probes_in_flight) == (State.HALF_OPEN, 1, 1)
    other.success()
    assert breaker.state is State.CLOSED


def test_c4_a_late_failure_reopens(build: Build, clock: Clock):
    """A failing probe is a failing probe."""
    breaker = build(probe_timeout=5)
    half_open(breaker, clock)
    late = breaker.acquire()
    clock.advance(6)
    late.failure(Boom("late"))
    assert (breaker.state, breaker.snapshot().last_failure) == (State.OPEN, "Boom: late")


def test_c4_three_expiries_without_a_verdict_reopen(build: Build, clock: Clock, heard: Heard):
    """Half-open cannot last for ever: three probes that never answer are an answer."""
    breaker = build(probe_timeout=5)
    half_open(breaker, clock)
    breaker.add_listener(heard)
    hanging = []
    for _ in range(3):
        hanging.append(breaker.acquire())
        clock.advance(5)
    error = refused(breaker)
    assert (error.reason, error.cause.rule, error.cause.number) == (Rejection.OPEN, Rule.PROBE_TIMEOUT, 3)
    assert str(error.cause) == "3 probes without a verdict at the deadline"
    assert heard.states == ["half_open", "open"]
    assert breaker.snapshot().reopenings == 1
    for probe in hanging:
        probe.success()
    assert breaker.state is State.OPEN


def test_c4_expiries_are_noticed_at_an_outcome_too(build: Build, clock: Clock):
    """Three hang together; the fourth call's end, without a verdict, shows it."""
    breaker = build(probe_timeout=5, half_open_max_calls=4)
    half_open(breaker, clock)
    hanging = [breaker.acquire() for _ in range(3)]
    clock.advance(1)
    fourth = breaker.acquire()
    clock.advance(4)
    fourth.ignore()
    assert (breaker.state, breaker.snapshot().cause.rule) == (State.OPEN, Rule.PROBE_TIMEOUT)
    assert len(hanging) == 3


def test_c4_an_expiry_with_a_late_verdict_is_none_of_the_three(build: Build, clock: Clock):
    """What answered late did answer; what was ignored late did not."""
    breaker = build(probe_timeout=5, success_threshold=9)
    half_open(breaker, clock)
    late = []
    for _ in range(2):
        late.append(breaker.acquire())
        clock.advance(5)
    third = breaker.acquire()
    late[0].success()
    late[1].ignore()
    clock.advance(5)
    assert admits(breaker)
    hanging = breaker.acquire()
    clock.advance(5)
    assert not admits(breaker)
    assert breaker.snapshot().cause.rule is Rule.PROBE_TIMEOUT
    assert not hanging.settled
    assert not third.settled


def test_c4_expiries_of_another_epoch_do_not_add_up(build: Build, clock: Clock):
    """Each half-open epoch counts its own."""
    breaker = build(probe_timeout=5, recovery_backoff=1)
    hanging = []
    for _ in range(4):
        half_open(breaker, clock) if breaker.state is State.CLOSED else clock.advance(10)
        for _ in range(2):
            hanging.append(breaker.acquire())
            clock.advance(5)
        fail(breaker)
        assert breaker.snapshot().cause.rule is Rule.PROBE_FAILED
    assert len(hanging) == 8


def test_promise_1_a_rejected_call_extends_nothing(build: Build, clock: Clock):
    """Calls that keep knocking move neither the open period nor a lease."""
    breaker = build(probe_timeout=5)
    fail(breaker)
    for _ in range(100):
        refused(breaker)
        clock.advance(0.1)
    hanging = breaker.acquire()
    for _ in range(50):
        refused(breaker)
        clock.advance(0.1)
    assert admits(breaker)
    assert not hanging.settled


@pytest.mark.parametrize("knobs", [{}, {"slow_call_duration": 1, "slow_call_rate_threshold": 0.5}])
@pytest.mark.parametrize("before", [0, 1])
def test_c5_one_failing_probe_reopens(build: Build, clock: Clock, knobs: dict[str, Any], before: int):
    """Successes before it do not help."""
    breaker = build(success_threshold=3, **{"failure_threshold": 1, **knobs})
    half_open(breaker, clock)
    succeed(breaker, before)
    fail(breaker)
    assert (breaker.state, breaker.snapshot().cause.rule) == (State.OPEN, Rule.PROBE_FAILED)
    assert str(breaker.snapshot().cause) == "probe failed"


@pytest.mark.parametrize("cancelled", [False, True])
def test_c5_a_slow_probe_fails_where_a_slow_threshold_is_set(build: Build, clock: Clock, cancelled: bool):
    """A dependency that answers as slowly as before has not recovered; nor has one that is waited for in vain."""
    breaker = build(failure_threshold=1, slow_call_duration=2, slow_call_rate_threshold=0.5)
    half_open(breaker, clock)
    probe = breaker.acquire()
    clock.advance(2)
    probe.finish(asyncio.CancelledError() if cancelled else None)
    seen = breaker.snapshot()
    assert (seen.state, seen.cause.rule, seen.cause.number, seen.slow) == (State.OPEN, Rule.PROBE_SLOW, 1, 1)


def test_c5_a_probe_may_take_its_time_where_no_slow_threshold_is_set(build: Build, clock: Clock):
    """Without `slow_call_duration` no probe is slow."""
    breaker = build(probe_timeout=60)
    half_open(breaker, clock)
    probe = breaker.acquire()
    clock.advance(59)
    probe.success()
    assert breaker.state is State.CLOSED


def test_c5_so_many_successes_close(build: Build, clock: Clock, heard: Heard):
    """`success_threshold` successful probes, in any order of admission, close the circuit."""
    breaker = build(success_threshold=3, half_open_max_calls=2)
    half_open(breaker, clock)
    breaker.add_listener(heard)
    first, second = breaker.acquire(), breaker.acquire()
    second.success()
    first.success()
    assert breaker.state is State.HALF_OPEN
    succeed(breaker)
    assert str(heard.changes[-1].cause) == "3 successful probes >= 3"
    assert breaker.state is State.CLOSED


def test_c5_a_verdict_is_heard_before_leases_expire(build: Build, clock: Clock):
    """The success that closes wins over expired leases that nobody has noticed yet."""
    breaker = build(probe_timeout=5, half_open_max_calls=3)
    half_open(breaker, clock)
    probes = [breaker.acquire() for _ in range(3)]
    clock.advance(60)
    probes[0].success()
    assert breaker.state is State.CLOSED


def test_c4_a_probe_that_answers_late_is_no_expiry_of_its_own(build: Build, clock: Clock):
    """Its own lease has run out unnoticed; with two others that is not three without a verdict."""
    breaker = build(probe_timeout=5, half_open_max_calls=3, success_threshold=2)
    half_open(breaker, clock)
    probes = [breaker.acquire() for _ in range(3)]
    clock.advance(60)
    probes[0].success()
    assert (breaker.state, breaker.snapshot().probe_successes) == (State.HALF_OPEN, 1)


def test_c5_a_success_that_does_not_close_lets_expired_leases_reopen(build: Build, clock: Clock):
    """With more successes to go, three silent probes are noticed at the fourth's success."""
    breaker = build(probe_timeout=5, half_open_max_calls=4, success_threshold=2)
    half_open(breaker, clock)
    probes = [breaker.acquire() for _ in range(4)]
    clock.advance(60)
    probes[0].success()
    assert (breaker.state, breaker.snapshot().cause.rule) == (State.OPEN, Rule.PROBE_TIMEOUT)
