"""What a call answers instead."""

from __future__ import annotations

import asyncio
import gc
import weakref
from datetime import timedelta
from typing import Any

import pytest

from core.acting import Boom, Clock, crowd, fail, half_open, raiser
from core.conftest import Build
from recloser import (
    CircuitOpenError,
    ConfigurationError,
    FailedResultError,
    State,
    last_good,
)
from recloser.core.fallback import CallFallback


def test_a_value_answers_while_open(build: Build):
    """Closed, the function does; its failures reach the caller until the circuit opens."""
    breaker = build(failure_threshold=2)
    guarded = breaker.protect(fallback="static")(lambda fails: raiser(Boom())() if fails else "live")
    assert guarded(False) == "live"
    for _ in range(2):
        with pytest.raises(Boom):
            guarded(True)
    assert guarded(False) == "static"


def test_a_function_answers_with_the_error(build: Build):
    """It is given why the call was refused."""
    breaker = build()
    fail(breaker)
    answer = breaker.protect(fallback=lambda error: (type(error), error.retry_after))(lambda: None)()
    assert answer == (CircuitOpenError, 10)


def test_a_full_bulkhead_is_answered_too(build: Build):
    """It is a refusal like another."""
    breaker = build(max_concurrent_calls=1)
    held = breaker.acquire()
    assert breaker.protect(fallback="busy")(lambda: "live")() == "busy"
    held.ignore()


def test_a_counted_failure_is_answered_only_on_request(build: Build):
    """`on="failure"` hides failures as well; they count all the same."""
    breaker = build(failure_threshold=3)
    guarded = breaker.protect(fallback=lambda error: f"sorry: {error}", on="failure")(raiser(Boom("down")))
    assert guarded() == "sorry: down"
    assert breaker.snapshot().failures == 1


@pytest.mark.parametrize("error", [KeyError("mine"), KeyboardInterrupt(), LookupError("no such row")])
def test_what_is_no_failure_is_never_hidden(build: Build, error: BaseException):
    """Ignored outcomes and answers of the dependency reach the caller, also with `on="failure"`."""
    breaker = build(failure_on=(Boom,), ignore=(KeyError,))
    guarded = breaker.protect(fallback="never", on="failure")(raiser(error))
    with pytest.raises(type(error)) as caught:
        guarded()
    assert caught.value is error


def test_a_failed_result_is_answered_too(build: Build):
    """A result that `failure_if` counts as a failure is replaced; without an answer it is returned."""
    breaker = build(failure_if=lambda result: result == "bad", failure_threshold=9)
    seen: list[FailedResultError] = []
    answer = breaker.protect(fallback=lambda error: seen.append(error) or "better", on="failure")
    assert answer(lambda: "bad")() == "better"
    assert [error.result for error in seen] == ["bad"]
    assert breaker.protect(fallback="better", on="open")(lambda: "bad")() == "bad"
    assert breaker.protect(fallback=last_good(60), on="failure")(lambda: "bad")() == "bad"


def test_a_fallback_that_fails_fails_the_call(build: Build):
    """Its own exception tells what happened, with the first one as its context; it is no outcome."""
    breaker = build(failure_threshold=9)
    guarded = breaker.protect(fallback=raiser(ValueError("no static page")), on="failure")(raiser(Boom()))
    with pytest.raises(ValueError, match="no static page") as caught:
        guarded()
    assert isinstance(caught.value.__context__, Boom)
    assert breaker.snapshot().failures == 1
    other = FailedResultError("other")
    strange = build(failure_if=lambda result: True).protect(fallback=raiser(other), on="failure")(lambda: 1)
    with pytest.raises(FailedResultError) as raised:
        strange()
    assert raised.value is other


def test_the_last_good_result_answers_for_the_same_arguments(build: Build, clock: Clock):
    """Positional and keyword arguments tell results apart, and so do their types."""
    breaker = build()
    live = True

    @breaker.protect(fallback=last_good(60))
    def fetch(key: Any, *, page: Any = 0) -> Any:
        return key, page, live

    for key, page in ((1, 0), (True, 0), (1, 2), (1, 2.0), ("a", None)):
        fetch(key, page=page)
    live = False
    fail(breaker)
    for key, page in ((1, 0), (True, 0), (1, 2), (1, 2.0), ("a", None)):
        kept = fetch(key, page=page)
        assert kept == (key, page, True)
        assert (type(kept[0]), type(kept[1])) == (type(key), type(page))
    with pytest.raises(CircuitOpenError):
        fetch("never seen")


def test_a_last_good_result_grows_old(build: Build, clock: Clock):
    """`max_age` is the oldest that may answer; each good call makes it fresh."""
    breaker = build(recovery_timeout=500)
    fetch = breaker.protect(fallback=last_good(timedelta(minutes=1)))(lambda: "good")
    fetch()
    clock.advance(30)
    fetch()
    fail(breaker)
    clock.advance(60)
    assert fetch() == "good"
    clock.advance(0.001)
    with pytest.raises(CircuitOpenError):
        fetch()


def test_only_good_results_are_kept(build: Build):
    """A result that `failure_if` counts as a failure does not become the last good one."""
    breaker = build(failure_if=lambda result: result < 0, failure_threshold=2)
    results = iter([7, -1, -1])
    fetch = breaker.protect(fallback=last_good(60))(lambda: next(results))
    assert [fetch(), fetch(), fetch()] == [7, -1, -1]
    assert breaker.state is State.OPEN
    assert fetch() == 7


def test_as_many_results_are_kept_as_asked_for(build: Build):
    """The least recently made goes first."""
    breaker = build()
    fetch = breaker.protect(fallback=last_good(60, max_entries=2))(lambda key: key)
    for key in ("a", "b", "a", "c"):
        fetch(key)
    fail(breaker)
    assert (fetch("a"), fetch("c")) == ("a", "c")
    with pytest.raises(CircuitOpenError):
        fetch("b")


class Unhashable:
    __hash__ = None


class Unwilling:
    def __hash__(self) -> int:
        raise ValueError

    __eq__ = object.__eq__


class Quarrelsome:
    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        raise ValueError


@pytest.mark.parametrize("argument", [Unhashable, Unwilling, Quarrelsome])
def test_arguments_that_cannot_be_told_apart_are_not_remembered(build: Build, argument: type):
    """Their calls work as without a fallback, whatever their hash or comparison does."""
    breaker = build()
    fetch = breaker.protect(fallback=last_good(60))(lambda subject: "good")
    for _ in range(3):
        assert fetch(argument()) == "good"
    fail(breaker)
    with pytest.raises(CircuitOpenError):
        fetch(argument())


def test_a_single_result_may_be_kept(build: Build):
    """The smallest memory holds the latest."""
    breaker = build()
    fetch = breaker.protect(fallback=last_good(60, max_entries=1))(lambda key: key)
    for key in ("a", "b"):
        fetch(key)
    fail(breaker)
    assert fetch("b") == "b"
    with pytest.raises(CircuitOpenError):
        fetch("a")


def test_wrong_limits_are_refused_together():
    """Both problems are named at once."""
    with pytest.raises(ConfigurationError) as caught:
        last_good(0, max_entries=0)
    assert str(caught.value) == (
        "2 problems:\n"
        "- max_age must be a positive number of seconds, got 0\n"
        "- max_entries must be a whole number, at least 1, got 0"
    )


def test_what_cannot_have_a_fallback_is_refused_at_decoration(build: Build):
    """A stream has begun before it fails; a sync function cannot await; `on` has two values."""
    breaker = build()

    def stream():
        yield 1

    async def async_stream():
        yield 1

    async def answer(error: Exception) -> None: ...

    class Reader:
        def __call__(self):
            yield 1

    class Answer:
        async def __call__(self, error: Exception) -> None: ...

    for target in (stream, async_stream, Reader()):
        with pytest.raises(TypeError, match=r"breaker 'shop': a stream such as .* has no fallback"):
            breaker.protect(fallback=1)(target)
    for fallback in (answer, Answer()):
        with pytest.raises(TypeError, match=r"breaker 'shop': .* is not async, so its fallback cannot be"):
            breaker.protect(fallback=fallback)(lambda: 1)
    with pytest.raises(ValueError, match="breaker 'shop': on must be 'open' or 'failure', got 'always'"):
        breaker.protect(fallback=1, on="always")


def test_methods_can_have_fallbacks(build: Build):
    """Static and class methods too; `self` is part of what results are kept for."""
    breaker = build()

    class Repository:
        @breaker.protect(fallback=last_good(60))
        def get(self, key: str) -> str:
            return key

        @breaker.protect(fallback="static")
        @staticmethod
        def static() -> str:
            return "live"

        @breaker.protect(fallback="class")
        @classmethod
        def of_class(cls) -> type:
            return cls

    first, second = Repository(), Repository()
    assert (first.get("a"), Repository.static(), first.of_class()) == ("a", "live", Repository)
    fail(breaker)
    assert (first.get("a"), Repository.static(), first.of_class()) == ("a", "static", "class")
    with pytest.raises(CircuitOpenError):
        second.get("a")


def test_async_functions_have_sync_and_async_fallbacks(build: Build):
    """A value, a function, a coroutine function and the last good result answer for a coroutine function."""
    breaker = build(failure_if=lambda result: result == "bad")

    async def fetch(result: str) -> str:
        return result

    async def fetch_broken() -> str:
        raise Boom

    async def answer(error: Exception) -> str:
        await asyncio.sleep(0)
        return f"awaited {type(error).__name__}"

    def protect(fallback: object, on: Any = "open") -> Any:
        return breaker.protect(fallback=fallback, on=on)

    kept = protect(last_good(60))(fetch)
    assert asyncio.run(kept("good")) == "good"
    assert asyncio.run(protect(answer, "failure")(fetch_broken)()) == "awaited Boom"
    assert breaker.state is State.OPEN
    assert asyncio.run(kept("good")) == "good"
    assert asyncio.run(protect("static")(fetch)("x")) == "static"
    assert asyncio.run(protect(lambda error: error.breaker)(fetch)("x")) == "shop"
    assert asyncio.run(protect(answer)(fetch)("x")) == "awaited CircuitOpenError"
    breaker.reset(by="ann", reason="again")
    assert asyncio.run(protect(answer, "failure")(fetch)("bad")) == "awaited FailedResultError"
    breaker.reset(by="ann", reason="again")
    with pytest.raises(Boom):
        asyncio.run(protect(answer)(fetch_broken)())
    breaker.reset(by="ann", reason="again")
    assert asyncio.run(protect(answer)(fetch)("bad")) == "bad"


def test_promise_9_a_fallback_never_enters_the_window(build: Build, clock: Clock):
    """Answers given instead neither close a circuit nor count as calls."""
    breaker = build()
    guarded = breaker.protect(fallback="static")(lambda: "live")
    half_open(breaker, clock)
    probe = breaker.acquire()
    for _ in range(50):
        assert guarded() == "static"
    assert (breaker.state, breaker.snapshot().calls) == (State.HALF_OPEN, 1)
    probe.success()
    assert guarded() == "live"


@pytest.mark.parametrize("on", ["open", "failure"])
def test_promise_6_an_unanswered_error_is_in_no_cycle(build: Build, on: Any):
    """When nothing answers, the error dies with its handler; no collector is needed."""
    breaker = build(failure_threshold=1 if on == "open" else 9)

    @breaker.protect(fallback=last_good(60), on=on)
    def guarded() -> None:
        raise Boom

    if on == "open":
        fail(breaker)
    dead: list[weakref.ref[BaseException]] = []

    def refuse() -> None:
        try:
            guarded()
        except (CircuitOpenError, Boom) as error:
            dead.append(weakref.ref(error))

    gc.disable()
    try:
        refuse()
        assert [reference() for reference in dead] == [None]
    finally:
        gc.enable()


def test_threads_may_share_a_last_good_result(build: Build):
    """Many keys at once never exceed the bound for long, raise, or answer for each other."""
    breaker = build()
    fetch = breaker.protect(fallback=last_good(60, max_entries=8))(lambda key: key)

    def work() -> None:
        for number in range(400):
            assert fetch(number % 23) == number % 23

    crowd([work] * 4)
    fail(breaker)
    answered = 0
    for key in range(23):
        try:
            assert fetch(key) == key
            answered += 1
        except CircuitOpenError:
            pass
    assert 1 <= answered <= 8


class Deferral(CallFallback[object]):
    """A fallback that is told of the call."""

    def answer(self, error, args, kwargs):
        return "later", type(error).__name__, args, kwargs

    async def answer_async(self, error, args, kwargs):
        return ("awaited", *self.answer(error, args, kwargs)[1:])


def test_a_fallback_may_be_told_of_the_call(build):
    """A `CallFallback` sees the refusal and the arguments."""
    breaker = build()

    @breaker.protect(fallback=Deferral())
    def charge(amount, *, currency):
        return "now"

    assert charge(1, currency="EUR") == "now"
    fail(breaker)
    assert charge(1, currency="EUR") == ("later", "CircuitOpenError", (1,), {"currency": "EUR"})


@pytest.mark.anyio
async def test_a_fallback_that_is_told_of_the_call_is_awaited_for_a_coroutine_function(build):
    """It may have to wait, which must not hold the event loop up."""
    breaker = build()

    @breaker.protect(fallback=Deferral())
    async def charge(amount):
        return "now"

    fail(breaker)
    assert await charge(1) == ("awaited", "CircuitOpenError", (1,), {})
