"""What counts as what: SEMANTICS A, row by row."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging

import pytest
import trio

from core.acting import Boom, Clock, fail, half_open, raiser, refused, succeed
from core.conftest import Build
from recloser import CircuitBreaker, CircuitOpenError, Outcome, State


class Stop(BaseException):
    """A way to end a thread, a greenlet, a process."""


class Broken(Exception):
    """A predicate's own mistake."""


def trio_cancellation() -> BaseException:
    caught: list[BaseException] = []

    async def main() -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            try:
                await trio.lowlevel.checkpoint()
            except BaseException as error:
                caught.append(error)
                raise

    trio.run(main)
    return caught[0]


CANCELLATIONS = {
    "asyncio": asyncio.CancelledError,
    "futures": concurrent.futures.CancelledError,
    "trio": trio_cancellation,
}
ENDINGS = {"generator": GeneratorExit, "keyboard": KeyboardInterrupt, "exit": SystemExit}


def outcome_of(breaker: CircuitBreaker, error: BaseException | None) -> Outcome:
    return breaker.acquire().finish(error)


def test_a_a_call_that_returns_is_a_success(build: Build):
    """A return is a success where there is no `failure_if`."""
    breaker = build()
    assert breaker.call(lambda: "answer") == "answer"
    assert (breaker.snapshot().calls, breaker.snapshot().failures) == (1, 0)


@pytest.mark.parametrize(("result", "outcome"), [(200, Outcome.SUCCESS), (500, Outcome.FAILURE)])
def test_a_failure_if_decides_on_a_result(build: Build, result: int, outcome: Outcome):
    """A result that `failure_if` holds of is a failure, and reaches the caller all the same."""
    breaker = build(failure_if=lambda status: status >= 500, failure_threshold=2)
    assert breaker.acquire().returned(result) is outcome
    assert breaker.call(lambda: result) == result
    assert breaker.snapshot().failures == (2 if outcome is Outcome.FAILURE else 0)


def test_a_a_failed_result_is_named_by_its_type_alone(build: Build):
    """The text kept of a failed result never holds the result, which may be personal."""
    breaker = build(failure_if=lambda result: True)
    breaker.call(lambda: "secret")
    assert (
        breaker.snapshot().last_failure == "FailedResultError: failure_if counted a str result as a failure"
    )


@pytest.mark.parametrize("make", CANCELLATIONS.values(), ids=CANCELLATIONS)
def test_a_a_cancelled_call_is_ignored(build: Build, make: type[BaseException]):
    """A cancellation says nothing of the dependency, even where the policy names it a failure."""
    breaker = build(failure_on=(BaseException,))
    assert outcome_of(breaker, make()) is Outcome.IGNORED
    assert breaker.state is State.CLOSED


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
def test_a_promise_3_a_process_ending_exception_is_ignored(build: Build, ending: type[BaseException]):
    """A closed stream, Ctrl-C and exit are ignored, even where the policy names them failures."""
    assert outcome_of(build(failure_on=(BaseException,)), ending()) is Outcome.IGNORED


def test_a_other_exceptions_outside_exception_are_ignored_unless_named(build: Build):
    """What ends a greenlet or thread is no answer of a dependency, but the policy may say that it is a failure."""
    assert outcome_of(build(), Stop()) is Outcome.IGNORED
    assert outcome_of(build(failure_on=(OSError, Stop)), Stop()) is Outcome.FAILURE


def test_a_ignore_wins_over_failure_on(build: Build):
    """What `ignore` names never counts, also where `failure_on` names its base."""
    breaker = build(failure_on=(OSError,), ignore=(FileNotFoundError,))
    assert outcome_of(breaker, FileNotFoundError()) is Outcome.IGNORED
    assert outcome_of(breaker, ConnectionError()) is Outcome.FAILURE


def test_a_an_exception_that_nobody_names_is_a_success(build: Build):
    """The dependency answered, if not as hoped."""
    breaker = build(failure_on=(OSError,))
    assert outcome_of(breaker, KeyError("no such row")) is Outcome.SUCCESS
    assert (breaker.snapshot().calls, breaker.snapshot().failures) == (1, 0)


def test_a_predicates_stand_beside_types(build: Build):
    """`failure_on` and `ignore` take predicates of the exception, alone or among types."""
    breaker = build(
        failure_on=[OSError, lambda error: "down" in str(error)],
        ignore=lambda error: "mine" in str(error),
        failure_threshold=9,
    )
    assert outcome_of(breaker, Boom("service down")) is Outcome.FAILURE
    assert outcome_of(breaker, OSError("mine")) is Outcome.IGNORED
    assert outcome_of(breaker, Boom("hm")) is Outcome.SUCCESS


@pytest.mark.parametrize(
    ("leaves", "outcome"),
    [
        ([KeyError(), Boom()], Outcome.FAILURE),
        ([asyncio.CancelledError(), Boom()], Outcome.FAILURE),
        ([LookupError(), LookupError()], Outcome.SUCCESS),
        ([LookupError(), FileNotFoundError()], Outcome.SUCCESS),
        ([FileNotFoundError(), asyncio.CancelledError()], Outcome.IGNORED),
        (
            [BaseExceptionGroup("inner", [KeyboardInterrupt(), BaseExceptionGroup("", [Boom()])])],
            Outcome.FAILURE,
        ),
        ([BaseExceptionGroup("inner", [KeyboardInterrupt()]), SystemExit()], Outcome.IGNORED),
    ],
)
def test_a_an_exception_group_is_judged_by_its_leaves(
    build: Build, leaves: list[BaseException], outcome: Outcome
):
    """A group is a failure if any leaf is, ignored if all are, and a success otherwise, at any depth."""
    breaker = build(failure_on=(Boom,), ignore=(FileNotFoundError,))
    assert outcome_of(breaker, BaseExceptionGroup("some", leaves)) is outcome


def test_a_a_group_of_rejections_is_ignored(build: Build):
    """Refusals of other breakers in a task group are nobody's failure."""
    other = build("other")
    fail(other)
    assert outcome_of(build(), ExceptionGroup("tasks", [refused(other), refused(other)])) is Outcome.IGNORED


@pytest.mark.parametrize("make", CANCELLATIONS.values(), ids=CANCELLATIONS)
@pytest.mark.parametrize(("seconds", "outcome"), [(1.9, Outcome.IGNORED), (2.0, Outcome.SLOW)])
def test_a_a_call_cancelled_after_slow_call_duration_is_slow(
    build: Build, clock: Clock, make: type[BaseException], seconds: float, outcome: Outcome
):
    """A time-out outside the breaker is seen as a slow call."""
    breaker = build(slow_call_duration=2, slow_call_rate_threshold=1, minimum_calls=5)
    permit = breaker.acquire()
    clock.advance(seconds)
    assert permit.finish(make()) is outcome
    assert breaker.snapshot().slow == (outcome is Outcome.SLOW)


def test_a_an_excluded_exception_is_not_slow(build: Build, clock: Clock):
    """Only a cancellation can turn into slow, not what the policy ignores or what ends the process."""
    breaker = build(slow_call_duration=2, slow_call_rate_threshold=1, ignore=(Boom,))
    for error in (Boom(), KeyboardInterrupt(), GeneratorExit()):
        permit = breaker.acquire()
        clock.advance(60)
        assert permit.finish(error) is Outcome.IGNORED
    assert breaker.snapshot().slow == 0


@pytest.mark.parametrize(("seconds", "slow"), [(1.9, 0), (2.0, 1)])
def test_a_a_call_of_slow_call_duration_is_also_slow(build: Build, clock: Clock, seconds: float, slow: int):
    """Successes and failures alike are slow from `slow_call_duration` on."""
    breaker = build(slow_call_duration=2, slow_call_rate_threshold=1, minimum_calls=9)
    for error, outcome in ((None, Outcome.SLOW if slow else Outcome.SUCCESS), (Boom(), Outcome.FAILURE)):
        permit = breaker.acquire()
        clock.advance(seconds)
        assert permit.finish(error) is outcome
    held = breaker.snapshot().window
    assert (held.calls, held.failures, held.slow) == (2, 1, 2 * slow)


def test_a1_an_ignored_outcome_never_ticks_a_counter(build: Build):
    """Ignored calls neither enter the window nor end a run; they are only counted as ignored."""
    breaker = build(failure_threshold=3, failure_rate_threshold=1, minimum_calls=9, ignore=(KeyError,))
    fail(breaker, 2)
    before = breaker.snapshot()
    with pytest.raises(KeyError):
        breaker.call(raiser(KeyError()))
    breaker.acquire().ignore()
    after = breaker.snapshot()
    assert (after.window, after.calls, after.consecutive_failures) == (before.window, 2, 2)
    assert after.ignored - before.ignored == 2
    fail(breaker)
    assert breaker.state is State.OPEN


def test_a2_promise_9_rejections_and_fallbacks_are_no_outcome(build: Build, clock: Clock):
    """What never reached the dependency never enters a window, ticks no counter and extends nothing."""
    breaker = build(failure_rate_threshold=0.5, minimum_calls=2, recovery_timeout=10)
    fail(breaker, 2)
    answered = breaker.protect(fallback="stale")(raiser(Boom()))
    clock.advance(9.9)
    for _ in range(100):
        refused(breaker)
        assert answered() == "stale"
    seen = breaker.snapshot()
    assert (seen.calls, seen.failures, seen.ignored) == (2, 2, 0)
    clock.advance(0.1)
    succeed(breaker)
    assert breaker.snapshot().window.calls == 0


def test_a2_a_rejection_by_another_breaker_is_ignored(build: Build, clock: Clock):
    """A call that another breaker refused gives its probe's place back and says nothing."""
    outer, inner = build("outer"), build("inner")
    fail(inner)
    half_open(outer, clock)
    inner.force_open(by="ann", reason="drill")

    @outer
    @inner
    def fetch() -> None: ...

    for _ in range(3):
        with pytest.raises(CircuitOpenError, match="inner"):
            fetch()
    assert (outer.state, outer.snapshot().probes_in_flight) == (State.HALF_OPEN, 0)


@pytest.mark.parametrize("knob", ["failure_on", "ignore", "failure_if"])
def test_a3_a_predicate_that_raises_is_logged_and_harms_nobody(
    build: Build, caplog: pytest.LogCaptureFixture, knob: str
):
    """The caller gets his own result and his own exception, and the log says which breaker's predicate broke."""
    breaker = build(failure_threshold=9, **{knob: raiser(Broken("oops"))})
    error = Boom()
    with caplog.at_level(logging.ERROR, "recloser"):
        assert breaker.call(lambda: "answer") == "answer"
        with pytest.raises(Boom) as caught:
            breaker.call(raiser(error))
    assert caught.value is error
    assert caught.value.__context__ is None
    [record] = caplog.records
    assert "'shop'" in record.getMessage()
    assert "oops" in caplog.text


def test_a3_a_broken_predicate_leaves_the_judgement_to_the_types(build: Build):
    """Types decide alone; where there is none, an exception still counts as a failure, as without predicates."""
    broken = raiser(Broken())
    beside_types = build(failure_on=(OSError, broken), failure_threshold=9)
    assert outcome_of(beside_types, OSError()) is Outcome.FAILURE
    assert outcome_of(beside_types, Boom()) is Outcome.SUCCESS
    alone = build(failure_on=broken, failure_threshold=9)
    assert outcome_of(alone, Boom()) is Outcome.FAILURE
    assert outcome_of(alone, Stop()) is Outcome.IGNORED
    assert outcome_of(build(ignore=broken), Boom()) is Outcome.FAILURE
    assert build(failure_if=broken).acquire().returned("answer") is Outcome.SUCCESS


def test_a3_a_truth_value_that_raises_is_a_broken_predicate(build: Build):
    """What a predicate returns may misbehave as well."""

    class Vague:
        def __bool__(self) -> bool:
            raise Broken

    assert build(failure_if=lambda result: Vague()).acquire().returned(1) is Outcome.SUCCESS


@pytest.mark.parametrize("knob", ["failure_on", "failure_if"])
def test_a3_what_ends_the_process_passes_through_a_predicate(build: Build, clock: Clock, knob: str):
    """Ctrl-C in a predicate reaches the caller, and the probe's place is given back."""
    breaker = build(failure_threshold=1, **{knob: raiser(KeyboardInterrupt())})
    fail(breaker)
    clock.advance(10)
    permit = breaker.acquire()
    with pytest.raises(KeyboardInterrupt):
        permit.finish(Boom()) if knob == "failure_on" else permit.returned(1)
    assert (breaker.state, breaker.snapshot().probes_in_flight) == (State.HALF_OPEN, 0)


def test_a_types_are_judged_alike_the_first_and_the_thousandth_time(build: Build):
    """Remembered judgements change nothing, for more exception types than are remembered."""
    breaker = build(failure_on=(OSError,), ignore=(KeyError,), failure_threshold=None)
    kinds = {base: [type(f"E{n}", (base,), {}) for n in range(150)] for base in (OSError, KeyError, Boom)}
    expected = {OSError: Outcome.FAILURE, KeyError: Outcome.IGNORED, Boom: Outcome.SUCCESS}
    for _ in range(2):
        for base, types in kinds.items():
            assert {outcome_of(breaker, kind()) for kind in types} == {expected[base]}
