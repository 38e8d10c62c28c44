"""Windows and counting: SEMANTICS B."""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Callable

import pytest

from core.acting import Boom, Clock, Heard, fail, slow, succeed
from core.conftest import Build
from recloser import CircuitBreaker, Outcome, Rule, State
from recloser.core.tally import Tally
from recloser.core.window import BitRing, CallCounter, Counts, NoWindow


def tripped_by(breaker: CircuitBreaker) -> tuple[Rule, int, int] | None:
    """Return the rule that opened the breaker, and its numbers."""
    seen = breaker.snapshot()
    if seen.state is not State.OPEN or seen.cause is None:
        return None
    return seen.cause.rule, seen.cause.number, seen.cause.total


def window(breaker: CircuitBreaker) -> tuple[int, int, int]:
    return tuple(breaker.snapshot().window)


def test_b1_reading_the_counter_loses_and_adds_no_call():
    """A read consumes a number, and neither numbers nor reads show it."""
    counter = CallCounter()
    assert counter.read() == 0
    assert [counter.number(), counter.number()] == [1, 2]
    assert [counter.read(), counter.read()] == [2, 2]
    counter.tick()
    assert (counter.number(), counter.read()) == (4, 4)


def test_b1_promise_5_a_success_is_one_tick_and_stores_nothing(build: Build):
    """While closed the recorder is the counter's own tick: it runs no Python code and keeps nothing."""
    breaker = build()
    recorder = breaker.recorder
    assert type(recorder).__name__ == "method-wrapper"
    before = sys.getallocatedblocks()
    for _ in range(10_000):
        recorder()
    assert sys.getallocatedblocks() - before < 50
    assert breaker.snapshot().calls == 10_000


def test_b1_a_bucket_roll_is_no_new_epoch(build: Build, clock: Clock):
    """Time buckets are cuts in one counter: the recorder and the epoch live on, and a late success counts."""
    breaker = build(failure_rate_threshold=0.5, window_seconds=10, minimum_calls=2)
    succeed(breaker, 3)
    recorder, epoch = breaker.recorder, breaker.snapshot().epoch
    late = breaker.acquire()
    for _ in range(5):
        clock.advance(1)
        succeed(breaker)
    assert (breaker.recorder, breaker.snapshot().epoch) == (recorder, epoch)
    late.success()
    assert window(breaker) == (9, 0, 0)


def test_b2_consecutive_failures_trip(build: Build):
    """As many failures in a row as `failure_threshold` open the circuit."""
    breaker = build(failure_threshold=3)
    fail(breaker, 2)
    assert breaker.state is State.CLOSED
    fail(breaker)
    assert tripped_by(breaker) == (Rule.CONSECUTIVE_FAILURES, 3, 0)


def test_b2_a_success_ends_the_run(build: Build):
    """Failures on both sides of a success are no run."""
    breaker = build(failure_threshold=3)
    for _ in range(4):
        fail(breaker, 2)
        assert breaker.snapshot().consecutive_failures == 2
        succeed(breaker)
        assert breaker.snapshot().consecutive_failures == 0
    assert breaker.state is State.CLOSED


def test_b2_a_slow_success_ends_the_run(build: Build, clock: Clock):
    """Slow is not failed: the dependency answered."""
    breaker = build(failure_threshold=3, slow_call_duration=1, slow_call_rate_threshold=1)
    fail(breaker, 2)
    slow(breaker, clock, 1)
    fail(breaker, 2)
    assert (breaker.state, breaker.snapshot().consecutive_failures) == (State.CLOSED, 2)


def ignored(breaker: CircuitBreaker, clock: Clock) -> None:
    breaker.acquire().ignore()


def cancelled_late(breaker: CircuitBreaker, clock: Clock) -> None:
    permit = breaker.acquire()
    clock.advance(1)
    assert permit.finish(asyncio.CancelledError()) is Outcome.SLOW


def read(breaker: CircuitBreaker, clock: Clock) -> None:
    breaker.snapshot()


@pytest.mark.parametrize("between", [ignored, cancelled_late, read])
def test_b2_only_an_answer_stands_between_failures(
    build: Build, clock: Clock, between: Callable[[CircuitBreaker, Clock], None]
):
    """Reads of the counter, ignored calls and calls cancelled late neither end nor lengthen a run."""
    breaker = build(failure_threshold=3, slow_call_duration=1, slow_call_rate_threshold=1, minimum_calls=50)
    for number in (1, 2):
        fail(breaker)
        for _ in range(3):
            between(breaker, clock)
        assert (breaker.state, breaker.snapshot().consecutive_failures) == (State.CLOSED, number)
    fail(breaker)
    assert tripped_by(breaker) == (Rule.CONSECUTIVE_FAILURES, 3, 0)


def test_b2_the_window_does_not_bound_the_run(build: Build, clock: Clock):
    """Failures hours apart, or more of them than the window holds calls, are a run all the same."""
    by_time = build(failure_threshold=3, failure_rate_threshold=1, window_seconds=1, minimum_calls=50)
    by_calls = build(failure_threshold=30, failure_rate_threshold=1, window_calls=4, minimum_calls=4)
    by_calls.force_closed(by="ann", reason="drill")  # lets the run grow past what the rate would trip at
    for _ in range(3):
        fail(by_time)
        clock.advance(3600)
    fail(by_calls, 29)
    assert tripped_by(by_time) == (Rule.CONSECUTIVE_FAILURES, 3, 0)
    assert by_calls.snapshot().consecutive_failures == 29


def test_b2_consecutive_is_judged_before_rates_and_failures_before_slowness(build: Build, clock: Clock):
    """Where several rules are met at once, the first of the order is the cause."""
    knobs = {"slow_call_duration": 1, "slow_call_rate_threshold": 0.5, "minimum_calls": 3}
    for more, cause in (
        ({"failure_threshold": 3, "failure_rate_threshold": 0.5}, (Rule.CONSECUTIVE_FAILURES, 3, 0)),
        ({"failure_rate_threshold": 0.5}, (Rule.FAILURE_RATE, 3, 3)),
        ({}, (Rule.SLOW_CALL_RATE, 3, 3)),
    ):
        breaker = build(**knobs, **more)
        for _ in range(3):
            permit = breaker.acquire()
            clock.advance(1)
            permit.failure()
        assert tripped_by(breaker) == cause


@pytest.mark.parametrize("size", [{"window_calls": 100}, {"window_seconds": 100}])
def test_b3_no_rate_is_judged_below_minimum_calls(build: Build, size: dict[str, int]):
    """Nine failures of nine are not enough where ten calls are asked for; the tenth call decides."""
    breaker = build(failure_rate_threshold=0.5, minimum_calls=10, **size)
    fail(breaker, 9)
    assert breaker.state is State.CLOSED
    fail(breaker)
    assert tripped_by(breaker) == (Rule.FAILURE_RATE, 10, 10)


@pytest.mark.parametrize("size", [{"window_calls": 100}, {"window_seconds": 100}])
@pytest.mark.parametrize("way", ["acquire", "call", "decorator", "calling"])
def test_b3_the_success_that_completes_minimum_calls_is_judged(build: Build, size: dict[str, int], way: str):
    """Until `minimum_calls` each call is judged, also a success, however it was made."""
    breaker = build(failure_rate_threshold=0.5, minimum_calls=4, **size)
    fail(breaker, 2)

    def calling() -> None:
        with breaker.calling():
            pass

    ways = {
        "acquire": lambda: succeed(breaker),
        "call": lambda: breaker.call(int),
        "decorator": breaker(lambda: None),
        "calling": calling,
    }
    ways[way]()
    assert breaker.state is State.CLOSED
    ways[way]()
    assert tripped_by(breaker) == (Rule.FAILURE_RATE, 2, 4)


@pytest.mark.parametrize(("successes", "opens"), [(5, True), (6, False)])
def test_b3_a_share_equal_to_the_threshold_trips(build: Build, successes: int, opens: bool):
    """The failure rate is the failures' share of all calls in the window, and its threshold is met when equal."""
    breaker = build(failure_rate_threshold=0.5, window_calls=100, minimum_calls=10)
    succeed(breaker, successes)
    fail(breaker, 5)
    assert breaker.state is (State.OPEN if opens else State.CLOSED)


def test_b3_slow_calls_have_a_rate_of_their_own(build: Build, clock: Clock):
    """The slow-call rate trips where nothing fails."""
    breaker = build(slow_call_duration=2, slow_call_rate_threshold=0.5, window_calls=4, minimum_calls=4)
    succeed(breaker, 2)
    slow(breaker, clock, 2)
    slow(breaker, clock, 1.9)
    assert breaker.state is State.CLOSED
    slow(breaker, clock, 2)
    assert tripped_by(breaker) == (Rule.SLOW_CALL_RATE, 2, 4)


def test_b3_a_rate_is_judged_at_bucket_rotation(build: Build, clock: Clock):
    """When old successes leave the window, the next call sees that the share is now too high, also a success."""
    breaker = build(failure_rate_threshold=0.5, window_seconds=10, minimum_calls=4)
    succeed(breaker, 7)
    clock.advance(5)
    fail(breaker, 4)
    succeed(breaker)
    clock.advance(4.9)
    succeed(breaker)
    assert breaker.state is State.CLOSED
    clock.advance(0.1)
    succeed(breaker)
    assert tripped_by(breaker) == (Rule.FAILURE_RATE, 4, 7)


def test_b3_looking_does_not_swallow_a_rotation(build: Build, clock: Clock):
    """A snapshot rolls the window too, and the next success is judged all the same."""
    breaker = build(failure_rate_threshold=0.5, window_seconds=10, minimum_calls=4)
    succeed(breaker, 7)
    clock.advance(5)
    fail(breaker, 4)
    clock.advance(5)
    assert window(breaker) == (4, 4, 0)
    assert breaker.state is State.CLOSED
    breaker(lambda: None)()
    assert tripped_by(breaker) == (Rule.FAILURE_RATE, 4, 5)


def test_b3_a_call_window_forgets_the_oldest_call(build: Build):
    """The window is the last calls: an old failure leaves as a new call comes."""
    breaker = build(failure_rate_threshold=0.5, window_calls=4, minimum_calls=4)
    fail(breaker)
    succeed(breaker, 3)
    assert window(breaker) == (4, 1, 0)
    succeed(breaker)
    assert window(breaker) == (4, 0, 0)
    succeed(breaker)
    fail(breaker)
    assert window(breaker) == (4, 1, 0)
    fail(breaker)
    assert tripped_by(breaker) == (Rule.FAILURE_RATE, 2, 4)


def test_b3_a_call_window_holds_a_bit_per_call():
    """A set of 10,000 numbers costs its bits, and nothing before the first failure."""
    ring = BitRing(10_000)
    empty = sys.getsizeof(ring._bits)
    assert empty < 64
    for number in range(1, 30_001):
        ring.add(number)
    assert sys.getsizeof(ring._bits) - empty < 10_000 / 8 + 64
    assert ring.count(20_001) == 10_000


@pytest.mark.parametrize("size", [1, 3, 7, 8, 9, 16, 64, 100])
@pytest.mark.parametrize("gap", [1, 2, 5, 8, 13, 63, 200])
def test_b3_bits_are_counted_exactly_as_they_leave(size: int, gap: int):
    """Whatever the size of the window and the distance of failures, the count is that of a plain list."""
    ring = BitRing(size)
    held: list[int] = []
    for number in range(1, 6 * size + 3 * gap, gap):
        ring.add(number)
        held.append(number)
        for oldest in (number - size + 1, number - size + 1 + gap // 2):
            held = [one for one in held if one >= oldest]
            assert ring.count(oldest) == len(held)
    assert ring.count(10**12) == 0
    assert ring.count(10**12 + 1) == 0


def test_b3_bits_are_counted_exactly_over_jumps_and_steps():
    """Failures in clusters with wide gaps between them: nothing old comes back, nothing new is missed."""
    dice = random.Random(7)
    for size in (5, 16, 24, 61, 128):
        ring, held, number = BitRing(size), [], 0
        for _ in range(600):
            number += dice.choice([1, 1, 1, 2, 3, 7, 8, 9, 16, size - 1, size, size + 1, 3 * size])
            ring.add(number)
            held.append(number)
            oldest = number - size + 1
            held = [one for one in held if one >= oldest]
            assert ring.count(oldest) == len(held)


def test_b3_an_operation_costs_the_same_in_a_window_of_any_size():
    """Rolling past a million calls touches each held bit once, not each call."""
    ring = BitRing(10_000)
    ring.add(5_000)
    ring.add(14_999)
    assert ring.count(5_000) == 2
    assert ring.count(5_001) == 1
    assert ring.count(10_000_000) == 0
    ring.add(10_000_001)
    assert ring.count(10_000_001) == 1


def test_b5_an_idle_hour_empties_a_time_window(build: Build, clock: Clock):
    """Outcomes of another hour say nothing about this one."""
    breaker = build(failure_rate_threshold=0.5, window_seconds=60, minimum_calls=4)
    fail(breaker, 3)
    clock.advance(3600)
    assert window(breaker) == (0, 0, 0)
    fail(breaker, 3)
    assert breaker.state is State.CLOSED
    assert window(breaker) == (3, 3, 0)
    fail(breaker)
    assert tripped_by(breaker) == (Rule.FAILURE_RATE, 4, 4)


def test_b5_a_time_window_leaves_bucket_by_bucket(build: Build, clock: Clock):
    """The window is the present tenth and the nine before it."""
    breaker = build(failure_rate_threshold=0.9, window_seconds=10, minimum_calls=100)
    for _ in range(12):
        fail(breaker)
        succeed(breaker)
        clock.advance(1)
    assert window(breaker) == (18, 9, 0)
    clock.advance(4)
    assert window(breaker) == (10, 5, 0)


def test_b5_a_bucket_is_a_tenth_of_the_window(build: Build, clock: Clock):
    """A call leaves with its bucket: the last of a tenth after nine tenths more, the first of the next one later."""
    breaker = build(failure_rate_threshold=0.9, window_seconds=10, minimum_calls=1)
    succeed(breaker)
    clock.advance(0.99)
    succeed(breaker)
    clock.advance(0.01)
    breaker(lambda: None)()
    clock.advance(8.99)
    assert window(breaker) == (3, 0, 0)
    clock.advance(0.01)
    assert window(breaker) == (1, 0, 0)
    clock.advance(0.99)
    assert window(breaker) == (1, 0, 0)
    clock.advance(0.01)
    assert window(breaker) == (0, 0, 0)


def test_b1_between_rolls_a_success_is_only_a_tick(build: Build, clock: Clock):
    """Once there are enough calls to judge, the lock is needed for one success per bucket, not for each."""
    breaker = build(failure_rate_threshold=0.9, window_seconds=10, minimum_calls=2)
    machine = breaker._driver.machine
    succeed(breaker)
    assert machine.next_look < clock.now
    succeed(breaker)
    assert machine.next_look == clock.now + 1
    clock.advance(3.5)
    succeed(breaker)
    assert machine.next_look == clock.now + 0.5


def test_a_time_window_survives_a_clock_that_goes_backwards(build: Build, clock: Clock):
    """Calls are counted where the window stands until the clock has caught up."""
    breaker = build(failure_rate_threshold=0.5, window_seconds=10, minimum_calls=4)
    fail(breaker, 2)
    clock.advance(-500)
    succeed(breaker)
    assert window(breaker) == (3, 2, 0)
    fail(breaker)
    assert tripped_by(breaker) == (Rule.FAILURE_RATE, 3, 4)


def test_a_policy_without_rates_keeps_no_window(build: Build):
    """Where no rate is judged, there is nothing to hold and nothing to roll."""
    breaker = build(failure_threshold=3)
    fail(breaker, 2)
    assert window(breaker) == (0, 0, 0)
    assert isinstance(Tally(breaker.policy, 0).window, NoWindow)
    assert Tally(breaker.policy, 0).window.counts(9) == Counts()


def test_b_a_failing_slow_call_is_both(build: Build, clock: Clock, heard: Heard):
    """It counts in both rates."""
    breaker = build(
        failure_rate_threshold=0.9,
        slow_call_duration=1,
        slow_call_rate_threshold=0.9,
        window_calls=9,
        minimum_calls=9,
    )
    permit = breaker.acquire()
    clock.advance(1)
    permit.failure(Boom())
    assert window(breaker) == (1, 1, 1)
