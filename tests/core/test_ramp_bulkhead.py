"""The ramp after a close, the bound on calls in flight: SEMANTICS C7 and C8."""

from __future__ import annotations

import gc

import pytest

from core.acting import Boom, Clock, admits, fail, half_open, raiser, refused, succeed
from core.conftest import Build
from recloser import BulkheadFullError, CircuitBreaker, Rejection, State


def ramping(build: Build, clock: Clock, **knobs: object) -> CircuitBreaker:
    """Return a breaker that has just closed, with a ramp of 100 s."""
    breaker = build(recovery_ramp=100, **knobs)
    half_open(breaker, clock)
    succeed(breaker)
    return breaker


def admitted(breaker: CircuitBreaker, calls: int) -> int:
    return sum(admits(breaker) for _ in range(calls))


def test_c7_the_admitted_share_grows_from_a_tenth_to_all(build: Build, clock: Clock):
    """The share is exact at every moment: a tenth at the close, all at the end."""
    breaker = ramping(build, clock)
    assert [admits(breaker) for _ in range(11)] == [True] + [False] * 8 + [True, False]
    shares = []
    for _ in range(10):
        shares.append(admitted(breaker, 1000) / 1000)
        clock.advance(10)
    assert shares == pytest.approx([0.1 + 0.09 * step for step in range(10)], abs=0.002)
    assert admitted(breaker, 1000) == 1000


def test_c7_the_share_is_deterministic(build: Build, clock: Clock):
    """No dice: the same calls at the same times are admitted."""

    def story() -> list[bool]:
        breaker = ramping(build, clock)
        decisions = []
        for _ in range(200):
            decisions.append(admits(breaker))
            clock.advance(0.3)
        return decisions

    assert story() == story()


def test_c7_a_refused_call_is_a_rejection_until_the_ramps_end(build: Build, clock: Clock):
    """It is counted as rejected, not as an outcome, and says when all are admitted."""
    breaker = ramping(build, clock)
    succeed(breaker)
    clock.advance(25)
    while admits(breaker):
        pass
    error = refused(breaker)
    assert (error.reason, error.state, error.retry_after) == (Rejection.RAMP, State.CLOSED, 75)
    assert str(error).startswith("circuit 'shop' is closed for 25.0 s (1 successful probe >= 1)")
    assert breaker.snapshot().rejected[Rejection.RAMP] == 2


def test_c7_an_admitted_call_counts_as_any_other(build: Build, clock: Clock):
    """A failure during the ramp trips."""
    breaker = ramping(build, clock)
    fail(breaker)
    assert breaker.state is State.OPEN


def test_c7_only_a_close_by_probes_has_a_ramp(build: Build, clock: Clock):
    """An operator who resets, or lifts a mode, means all calls."""
    breaker = build(recovery_ramp=100)
    assert admitted(breaker, 20) == 20
    fail(breaker)
    breaker.reset(by="ann", reason="fixed")
    assert admitted(breaker, 20) == 20
    breaker.force_open(by="ann", reason="drill")
    breaker.auto(by="ann", reason="over")
    assert admitted(breaker, 20) == 20


def test_c8_more_calls_than_the_bound_are_refused(build: Build):
    """`max_concurrent_calls` are in flight; a call that ends makes room, however it ends."""
    breaker = build(max_concurrent_calls=2, failure_threshold=9)
    first, second = breaker.acquire(), breaker.acquire()
    assert refused(breaker).reason is Rejection.BULKHEAD
    first.failure()
    third = breaker.acquire()
    assert not admits(breaker)
    second.success()
    third.ignore()
    assert breaker.snapshot().in_flight == 0
    assert breaker.snapshot().rejected == {Rejection.BULKHEAD: 2}


def test_c8_a_full_bulkhead_is_counted_as_neither(build: Build):
    """A refusal by the bulkhead is no failure of the dependency."""
    breaker = build(max_concurrent_calls=1)
    held = breaker.acquire()
    for _ in range(50):
        refused(breaker)
    held.success()
    assert (breaker.state, breaker.snapshot().calls) == (State.CLOSED, 1)


def test_c8_every_kind_of_call_holds_and_returns_a_slot(build: Build):
    """A call, a block, a decorated function and a stream each hold one slot while they run."""
    breaker = build(max_concurrent_calls=1, failure_threshold=9)

    def full() -> bool:
        return not admits(breaker)

    @breaker
    def stream():
        yield full()

    assert breaker.call(full)
    assert breaker(full)()
    assert breaker.protect(fallback=None)(full)()
    with breaker.calling():
        assert full()
    assert next(stream())
    gc.collect(0)
    with pytest.raises(Boom):
        breaker.call(raiser(Boom()))
    with pytest.raises(Boom):
        breaker(raiser(Boom()))()
    assert breaker.snapshot().in_flight == 0


def test_c8_a_forgotten_permit_gives_its_slot_back(build: Build):
    """A permit that is garbage-collected unsettled, also in a cycle, is ignored and frees its slot."""
    breaker = build(max_concurrent_calls=2)
    breaker.acquire()
    cycle: list[object] = [breaker.acquire()]
    cycle.append(cycle)
    del cycle
    gc.collect()
    assert (breaker.snapshot().in_flight, breaker.snapshot().ignored) == (0, 2)


def test_c8_a_forgotten_block_gives_its_slot_back(build: Build):
    """A block that was entered and never left, too."""
    breaker = build(max_concurrent_calls=1)
    breaker.calling().__enter__()
    gc.collect(0)
    assert breaker.snapshot().in_flight == 0


def test_c8_a_slot_outlives_its_epoch(build: Build, clock: Clock):
    """A call in flight is in flight, whatever the circuit has done since: its slot comes back when it ends."""
    breaker = build(max_concurrent_calls=2)
    old = breaker.acquire()
    half_open(breaker, clock)
    succeed(breaker)
    new = breaker.acquire()
    with pytest.raises(BulkheadFullError):
        breaker.acquire()
    old.failure()
    assert (breaker.state, breaker.snapshot().in_flight) == (State.CLOSED, 1)
    new.success()
    assert breaker.snapshot().in_flight == 0


def test_c8_a_probe_needs_a_slot_too(build: Build, clock: Clock):
    """A full bulkhead refuses a probe without taking its place."""
    breaker = build(max_concurrent_calls=1)
    held = breaker.acquire()
    late = held
    breaker.force_open(by="ann", reason="drill")
    breaker.auto(by="ann", reason="over")
    assert refused(breaker).reason is Rejection.BULKHEAD
    late.ignore()
    half_open(breaker, clock)
    probe = breaker.acquire()
    error = refused(breaker)
    assert (error.reason, error.retry_after, breaker.snapshot().in_flight) == (Rejection.BULKHEAD, 1, 1)
    probe.success()
    assert (breaker.state, breaker.snapshot().in_flight) == (State.CLOSED, 0)


def test_c2_c7_a_bulkhead_refusal_costs_no_credit_of_the_ramp(build: Build, clock: Clock):
    """A call that the bulkhead refused leaves the ramp as it was."""
    breaker = ramping(build, clock, max_concurrent_calls=1)
    held = breaker.acquire()
    while refused(breaker).reason is not Rejection.BULKHEAD:
        pass
    for _ in range(20):
        assert refused(breaker).reason is Rejection.BULKHEAD
    held.success()
    assert admits(breaker)
    assert refused(breaker).reason is Rejection.RAMP
