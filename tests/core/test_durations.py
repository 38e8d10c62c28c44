"""How long calls take is measured where the policy asks, in every way to make a call."""

from __future__ import annotations

import asyncio
import threading
from bisect import bisect_left
from contextlib import suppress
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.acting import Boom, Clock, fail, succeed
from core.conftest import Build
from core.test_fork import in_child
from recloser import CircuitBreaker, CircuitOpenError
from recloser.core.durations import Durations, Histogram
from recloser.core.state import State
from ways_in import WRAPPERS

BUCKETS = [0.1, 1]


def taken(breaker: CircuitBreaker) -> Histogram:
    durations = breaker.snapshot().durations
    assert durations is not None
    return durations


def test_nothing_is_measured_unasked(build: Build):
    """Without buckets there is no histogram, and calls are not timed."""
    breaker = build()
    succeed(breaker)
    assert breaker.snapshot().durations is None
    assert not breaker.policy.times_calls


def test_calls_are_sorted_into_buckets(build: Build, clock: Clock):
    """A bound belongs to its bucket; the last bucket has none."""
    breaker = build(duration_buckets=[timedelta(seconds=0.1), 1])

    @breaker
    def wait(seconds: float) -> None:
        clock.advance(seconds)

    for seconds in (0.05, 0.5, 0.5, 7):
        wait(seconds)

    assert taken(breaker) == Histogram((0.1, 1.0), (1, 2, 1), pytest.approx(8.05))
    assert breaker.snapshot().calls == 4


@pytest.mark.parametrize(
    "knobs",
    [
        {},
        {"failure_rate_threshold": 0.9},
        {"slow_call_duration": 2, "slow_call_rate_threshold": 1, "minimum_calls": 100},
        {"failure_if": lambda result: result == "bad"},
        {"max_concurrent_calls": 3},
    ],
    ids=lambda knobs: next(iter(knobs), "default"),
)
@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_every_way_to_call_is_measured(build: Build, clock: Clock, wrap, knobs):
    """Decorators, blocks and permits measure alike, whatever else the policy asks for; failures too."""
    breaker = build(failure_threshold=100, duration_buckets=BUCKETS, **knobs)

    def body(error: BaseException | None = None) -> str:
        clock.advance(0.5)
        if error is not None:
            raise error
        return "good"

    def call(error: BaseException | None = None) -> None:
        wrap(breaker, lambda url: body(error))("/stock")

    for _ in range(3):
        call()
    with pytest.raises(Boom):
        call(Boom())

    assert taken(breaker) == Histogram((0.1, 1.0), (0, 4, 0), 2.0)


def test_an_ignored_call_is_not_measured(build: Build, clock: Clock):
    """A cancelled call says nothing about how long the dependency takes."""
    breaker = build(duration_buckets=BUCKETS)

    async def cancelled() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(breaker(cancelled)())
    breaker.acquire().ignore()
    assert taken(breaker).counts == (0, 0, 0)


def test_a_refused_call_is_not_measured(build: Build, clock: Clock):
    """What never reached the dependency took none of its time."""
    breaker = build(duration_buckets=BUCKETS)
    fail(breaker)
    with pytest.raises(CircuitOpenError):
        breaker.acquire()
    assert taken(breaker).counts == (1, 0, 0)


def test_a_response_is_measured_to_its_beginning(build: Build, clock: Clock):
    """How long the consumer takes to read it is not the dependency's time."""
    breaker = build(duration_buckets=BUCKETS)
    permit = breaker.acquire()
    clock.advance(0.5)
    permit.answered()
    clock.advance(60)
    permit.success()
    assert taken(breaker) == Histogram((0.1, 1.0), (0, 1, 0), 0.5)


@pytest.mark.parametrize("knobs", [{}, {"failure_rate_threshold": 0.9}], ids=["no window", "time window"])
def test_what_is_noted_does_not_pile_up(build: Build, clock: Clock, knobs):
    """While calls are made, at most a tenth of a second's durations wait to be sorted, whether or not anybody reads them."""
    breaker = build(duration_buckets=BUCKETS, **knobs)
    driver = breaker._driver
    assert driver.durations is not None
    assert driver._counter is not None

    @breaker
    def wait() -> None:
        clock.advance(0.01)

    for _ in range(1000):
        wait()
        assert len(driver.durations._noted) + len(driver._counter.sheet) <= 13
    assert taken(breaker).counts == (1000, 0, 0)
    assert breaker.snapshot().calls == 1000


def test_a_call_whose_judge_is_interrupted_is_neither_counted_nor_measured(build: Build, clock: Clock):
    """A Ctrl-C in the midst of the policy's own question leaves nothing known of the call."""

    def interrupted(error: BaseException) -> bool:
        raise KeyboardInterrupt

    breaker = build(duration_buckets=BUCKETS, failure_on=interrupted)
    with pytest.raises(KeyboardInterrupt):
        breaker(raised)(Boom())
    assert (sum(taken(breaker).counts), breaker.snapshot().calls) == (0, 0)


@pytest.mark.parametrize("end", [None, Boom()], ids=["success", "failure"])
def test_a_call_that_outlives_its_epoch_is_not_counted(build: Build, clock: Clock, end: Boom | None):
    """What began before a reset says nothing about what comes after it, and trips nothing."""
    breaker = build(duration_buckets=BUCKETS, failure_threshold=1)

    @breaker
    def call() -> None:
        breaker.reset(by="ann", reason="test")
        if end is not None:
            raise end

    with suppress(Boom):
        call()
    assert (breaker.state, breaker.snapshot().calls) == (State.CLOSED, 0)


def test_successes_end_a_run_of_failures(build: Build, clock: Clock):
    """Calls that are only noted have numbers too: failures with one between them are not in a row."""
    breaker = build(duration_buckets=BUCKETS, failure_threshold=2)
    call = breaker(lambda error: raised(error) if error else None)
    for error in (Boom(), None, Boom(), None):
        with suppress(Boom):
            call(error)
    assert breaker.snapshot().consecutive_failures == 0
    with suppress(Boom):
        call(Boom())
    assert breaker.state is State.CLOSED
    with suppress(Boom):
        call(Boom())
    assert breaker.state is State.OPEN
    assert breaker.snapshot().calls == sum(taken(breaker).counts) == 6


def raised(error: Exception) -> None:
    raise error


def test_threads_lose_nothing(build: Build):
    """Durations are exact under threads, also while somebody reads."""
    breaker = CircuitBreaker("shop", duration_buckets=BUCKETS)
    call = breaker(lambda: None)
    threads = [threading.Thread(target=lambda: [call() for _ in range(2000)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        breaker.snapshot()
    for thread in threads:
        thread.join()
    assert sum(taken(breaker).counts) == breaker.snapshot().calls == 8000


def test_a_forked_child_measures_anew(build: Build, clock: Clock):
    """A child's histogram holds its own calls, also those of a function that was decorated before."""
    breaker = build(duration_buckets=BUCKETS)
    call = breaker(lambda: clock.advance(0.5))
    call()

    def check() -> None:
        assert taken(breaker).counts == (0, 0, 0)
        call()
        assert taken(breaker).counts == (0, 1, 0)

    in_child(check)
    assert taken(breaker).counts == (0, 1, 0)


@given(
    st.lists(st.floats(0.001, 100), min_size=1, max_size=8, unique=True).map(sorted),
    st.lists(st.lists(st.floats(0, 200), max_size=20), max_size=5),
)
def test_a_histogram_holds_what_was_noted(bounds: list[float], rounds: list[list[float]]):
    """However often it is sorted, each duration is in the first bucket whose bound is not below it."""
    durations = Durations(tuple(bounds))
    for noted in rounds:
        for seconds in noted:
            durations.note(seconds)
        durations.sort()
    flat = [seconds for noted in rounds for seconds in noted]
    expected = [0] * (len(bounds) + 1)
    for seconds in flat:
        expected[bisect_left(bounds, seconds)] += 1
    assert durations.read().counts == tuple(expected)
    assert durations.read().seconds == pytest.approx(sum(flat))
