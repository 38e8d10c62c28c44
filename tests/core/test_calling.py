"""`acquire`, `call`, `call_async` and blocks."""

from __future__ import annotations

import contextvars
import threading

import pytest

from core.acting import Boom, Clock, elsewhere, fail, half_open, raiser, refused
from core.conftest import Build
from recloser import CircuitOpenError, Outcome, State
from recloser.core.permit import Permit


def test_call_passes_arguments_and_result_through(build: Build):
    """Names that the breaker uses itself are the function's all the same."""
    breaker = build()

    def echo(*args: object, **kwargs: object) -> tuple[object, object]:
        return args, kwargs

    expected = ((1, 2), {"function": 3, "self": 4, "permit": 5})
    assert breaker.call(echo, 1, 2, function=3, self=4, permit=5) == expected


def test_call_refuses_an_async_function(build: Build):
    """It would count a coroutine's making instead of its running; nothing is left unawaited or counted."""
    breaker = build(max_concurrent_calls=1)

    async def fetch() -> None: ...

    for _ in range(2):
        with pytest.raises(
            TypeError, match=r"breaker 'shop': .*fetch.* is async: use `await breaker.call_async"
        ):
            breaker.call(fetch)
    seen = breaker.snapshot()
    assert (seen.calls, seen.in_flight, seen.ignored) == (0, 0, 2)


def test_a_block_succeeds_or_fails_as_it_ends(build: Build):
    """Leaving counts a success, an exception a failure, which goes on its way."""
    breaker = build(failure_threshold=2)
    with breaker.calling():
        pass
    error = Boom()
    for _ in range(2):
        with pytest.raises(Boom) as caught, breaker.calling():
            raise error
        assert caught.value is error
    assert (breaker.state, breaker.snapshot().calls) == (State.OPEN, 3)
    with pytest.raises(CircuitOpenError), breaker.calling():
        raise AssertionError("entered")


@pytest.mark.parametrize("timed", [False, True])
@pytest.mark.parametrize("probing", [False, True])
def test_a_verdict_can_be_given_inside_a_block(build: Build, clock: Clock, timed: bool, probing: bool):
    """A status code is no exception: the block says what it means, and its end adds nothing."""
    knobs = {"slow_call_duration": 9, "slow_call_rate_threshold": 1, "failure_threshold": 1} if timed else {}
    breaker = build(**knobs)
    if probing:
        half_open(breaker, clock)
    with breaker.calling() as call:
        call.ignore()
    assert (breaker.snapshot().ignored, breaker.snapshot().probes_in_flight) == (1, 0)
    with breaker.calling() as call:
        call.failure(Boom("503"), retry_after=50)
        call.ignore()
    seen = breaker.snapshot()
    assert (seen.state, seen.last_failure, seen.retry_after) == (State.OPEN, "Boom: 503", 50)
    assert seen.failures == 1 + probing


@pytest.mark.parametrize("probing", [False, True])
def test_an_exception_after_a_verdict_adds_nothing(build: Build, clock: Clock, probing: bool):
    """The first verdict counts, also in a block."""
    breaker = build(failure_threshold=2)
    if probing:
        fail(breaker, 2)
        clock.advance(10)
    with pytest.raises(Boom), breaker.calling() as call:
        call.ignore()
        raise Boom
    assert breaker.snapshot().consecutive_failures == 0
    assert breaker.state is (State.HALF_OPEN if probing else State.CLOSED)


def test_a_block_may_be_left_in_another_thread_and_context(build: Build, clock: Clock):
    """Nothing is kept on the breaker, the thread or the context."""
    breaker = build()
    half_open(breaker, clock)
    block = breaker.calling()
    contextvars.copy_context().run(block.__enter__)
    assert refused(breaker).state is State.HALF_OPEN
    elsewhere(lambda: block.__exit__(None, None, None))
    assert breaker.state is State.CLOSED


def test_blocks_overlap_and_nest(build: Build):
    """Each is a call of its own."""
    breaker = build(max_concurrent_calls=3)
    with breaker.calling(), breaker.calling():
        other = breaker.calling().__enter__()
        assert breaker.snapshot().in_flight == 3
    assert breaker.snapshot().in_flight == 1
    other.__exit__(None, None, None)
    assert (breaker.snapshot().in_flight, breaker.snapshot().calls) == (0, 3)


def test_a_permit_may_be_settled_in_another_thread(build: Build):
    """A verdict comes from wherever the call ends."""
    breaker = build(max_concurrent_calls=1)
    permit = breaker.acquire()
    elsewhere(lambda: permit.failure(Boom()))
    assert (breaker.state, breaker.snapshot().in_flight) == (State.OPEN, 0)


def test_finish_returns_what_was_counted(build: Build, clock: Clock):
    """A settled permit has nothing more to say."""
    breaker = build(failure_threshold=9, slow_call_duration=1, slow_call_rate_threshold=1, minimum_calls=99)
    for error, outcome in (
        (None, Outcome.SUCCESS),
        (Boom(), Outcome.FAILURE),
        (GeneratorExit(), Outcome.IGNORED),
    ):
        permit = breaker.acquire()
        assert permit.finish(error) is outcome
        assert permit.finish(error) is Outcome.IGNORED
        assert permit.returned(3) is Outcome.IGNORED
    permit = breaker.acquire()
    clock.advance(1)
    assert permit.returned(3) is Outcome.SLOW


def test_slowness_is_measured_to_the_first_answer(build: Build, clock: Clock):
    """After `answered()` the time belongs to whoever reads the answer; only the first one counts."""
    breaker = build(slow_call_duration=2, slow_call_rate_threshold=1, minimum_calls=99)
    permit = breaker.acquire()
    clock.advance(1)
    permit.answered()
    clock.advance(20)
    permit.answered()
    assert permit.finish(None) is Outcome.SUCCESS
    permit = breaker.acquire()
    clock.advance(1)
    permit.answered()
    clock.advance(20)
    permit.failure(Boom("broken half-way"))
    late = breaker.acquire()
    clock.advance(2)
    late.answered()
    assert late.finish(None) is Outcome.SLOW
    assert tuple(breaker.snapshot().window) == (3, 1, 1)


def test_nested_breakers_guard_each_their_own(build: Build):
    """A failure inside counts for both; a refusal of the inner one only for itself."""
    outer, inner = build("outer", failure_threshold=2), build("inner")
    call = outer(inner(raiser(Boom())))
    with pytest.raises(Boom):
        call()
    assert (outer.snapshot().failures, inner.state) == (1, State.OPEN)
    for _ in range(5):
        with pytest.raises(CircuitOpenError, match="'inner'"):
            call()
    assert (outer.state, outer.snapshot().failures, outer.snapshot().ignored) == (State.CLOSED, 1, 5)


def test_a_recursive_call_is_a_call_of_its_own(build: Build, clock: Clock):
    """Half-open with one place, the inner call is refused, and the outer one stays a probe."""
    breaker = build()

    @breaker
    def countdown(number: int) -> int:
        return number if number == 0 else countdown(number - 1)

    assert countdown(3) == 0
    assert breaker.snapshot().calls == 4
    half_open(breaker, clock)
    with pytest.raises(CircuitOpenError):
        countdown(1)
    assert (breaker.state, breaker.snapshot().probes_in_flight) == (State.HALF_OPEN, 0)


def test_the_thread_of_a_call_is_the_callers(build: Build):
    """A breaker starts no thread."""
    breaker = build()
    before = threading.active_count()
    assert breaker.call(threading.get_ident) == threading.get_ident()
    assert threading.active_count() == before


def test_a_call_that_the_recorder_admitted_may_be_settled_later(build: Build, clock: Clock):
    """As a guard does whose request needed no permit: a quick success is a tick, a slow one is counted as such."""
    breaker = build(slow_call_duration=2, slow_call_rate_threshold=1, minimum_calls=1)
    driver, recorder = breaker._driver, breaker.recorder
    started = clock.now
    for _ in range(2):
        driver.succeeded_while_closed(recorder, started, None)
    clock.advance(2)
    driver.succeeded_while_closed(recorder, started, started + 1)
    driver.succeeded_while_closed(recorder, started, None)

    seen = breaker.snapshot()
    assert (seen.calls, seen.slow) == (4, 1)


def test_a_permit_may_be_given_its_start(build: Build, clock: Clock):
    """What was admitted before its permit was made took as long as it took."""
    breaker = build(slow_call_duration=2, slow_call_rate_threshold=0.5)
    started = clock.now
    clock.advance(2)
    Permit(breaker._driver, breaker.recorder, started).success()

    assert breaker.snapshot().slow == 1
