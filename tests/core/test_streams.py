"""Generators: promise 7, streams count when they end."""

from __future__ import annotations

import gc
import inspect
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from core.acting import Boom, Clock, fail, half_open
from core.conftest import Build
from recloser import CircuitOpenError, State

TIMED = {"slow_call_duration": 2, "slow_call_rate_threshold": 1, "minimum_calls": 2, "failure_threshold": 1}
both = pytest.mark.parametrize("knobs", [{}, TIMED], ids=["plain", "timed"])


def lines(*, breaks: bool = False) -> Iterator[str]:
    yield "first"
    if breaks:
        raise Boom
    yield "second"


@both
def test_promise_7_a_stream_counts_when_it_ends(build: Build, knobs: dict[str, Any]):
    """Nothing is counted while items come, one success at the end."""
    breaker = build(**knobs)
    stream = breaker(lines)()
    assert [next(stream), next(stream)] == ["first", "second"]
    assert breaker.snapshot().calls == 0
    assert list(stream) == []
    assert (breaker.snapshot().calls, breaker.snapshot().failures) == (1, 0)


@both
def test_promise_7_a_stream_that_breaks_half_way_is_a_failure(build: Build, knobs: dict[str, Any]):
    """Whatever items came before."""
    breaker = build(**knobs)
    stream = breaker(lines)(breaks=True)
    assert next(stream) == "first"
    with pytest.raises(Boom):
        next(stream)
    assert breaker.state is State.OPEN


@both
@pytest.mark.parametrize("how", ["close", "forget"])
def test_promise_7_a_stream_that_its_consumer_closes_is_ignored(
    build: Build, knobs: dict[str, Any], how: str
):
    """Closed or dropped early, it says nothing; the function's own clean-up runs."""
    cleaned = []

    def stream() -> Iterator[int]:
        try:
            yield 1
            yield 2
        finally:
            cleaned.append(True)

    breaker = build(max_concurrent_calls=1, **knobs)
    guarded = breaker(stream)()
    next(guarded)
    assert breaker.snapshot().in_flight == 1
    if how == "close":
        guarded.close()
    del guarded
    gc.collect(0)
    seen = breaker.snapshot()
    assert (seen.calls, seen.ignored, seen.in_flight, cleaned) == (0, 1, 0, [True])


def test_a_stream_that_is_never_started_asks_for_nothing(build: Build):
    """The breaker is asked when the first item is."""
    breaker = build(max_concurrent_calls=1)
    guarded = breaker(lines)
    stream = guarded()
    assert breaker.snapshot().in_flight == 0
    fail(breaker)
    with pytest.raises(CircuitOpenError):
        next(stream)
    guarded().close()
    assert breaker.snapshot().ignored == 0


@both
def test_a_stream_keeps_its_conversation(build: Build, knobs: dict[str, Any]):
    """Values sent in, exceptions thrown in and the returned value pass through."""

    def talk() -> Generator[str, str, str]:
        heard = yield "hello"
        try:
            yield f"you said {heard}"
        except KeyError:
            yield "caught"
        return "bye"

    breaker = build(**knobs)
    results = []

    def consume() -> Iterator[str]:
        results.append((yield from breaker(talk)()))

    stream = consume()
    assert next(stream) == "hello"
    assert stream.send("hi") == "you said hi"
    assert stream.throw(KeyError()) == "caught"
    assert list(stream) == []
    assert results == ["bye"]
    assert (breaker.snapshot().calls, breaker.snapshot().failures) == (1, 0)


@both
def test_an_exception_thrown_in_and_not_caught_ends_the_stream(build: Build, knobs: dict[str, Any]):
    """It is judged like one that the stream raised itself: nobody can tell them apart."""
    breaker = build(**knobs)
    stream = breaker(lines)()
    next(stream)
    with pytest.raises(Boom):
        stream.throw(Boom("from the consumer"))
    assert breaker.state is State.OPEN


def test_only_the_first_item_can_be_slow(build: Build, clock: Clock):
    """After it the time is the consumer's as much as the dependency's."""

    def ticking(first: float, then: float) -> Iterator[int]:
        clock.advance(first)
        yield 1
        clock.advance(then)
        yield 2

    breaker = build(slow_call_duration=2, slow_call_rate_threshold=1, minimum_calls=99)
    guarded = breaker(ticking)
    assert list(guarded(1, 50)) == [1, 2]
    assert breaker.snapshot().slow == 0
    assert list(guarded(2, 0)) == [1, 2]
    assert breaker.snapshot().slow == 1


def test_a_stream_without_items_is_timed_to_its_end(build: Build, clock: Clock):
    """There was no first item to answer with."""

    def nothing(seconds: float) -> Iterator[int]:
        clock.advance(seconds)
        yield from ()

    breaker = build(slow_call_duration=2, slow_call_rate_threshold=1, minimum_calls=99)
    for seconds in (1.9, 2):
        assert list(breaker(nothing)(seconds)) == []
    assert tuple(breaker.snapshot().window) == (2, 0, 1)


def test_promise_7_a_probing_stream_holds_its_place_to_its_end(build: Build, clock: Clock):
    """Half-open, the stream is the probe for as long as it runs."""
    breaker = build()
    half_open(breaker, clock)
    stream = breaker(lines)()
    next(stream)
    with pytest.raises(CircuitOpenError):
        list(breaker(lines)())
    assert list(stream) == ["second"]
    assert breaker.state is State.CLOSED


def test_every_kind_of_generator_function_is_a_stream(build: Build):
    """Methods, partials and objects whose `__call__` is a generator function count when they end."""

    class Reader:
        def read(self) -> Iterator[str]:
            return (yield from lines(breaks=True))

        def __call__(self) -> Iterator[str]:
            return (yield from lines(breaks=True))

    for target in (Reader().read, partial(lines, breaks=True), Reader()):
        breaker = build()
        stream = breaker(target)()
        assert inspect.isgenerator(stream)
        assert next(stream) == "first"
        assert breaker.snapshot().calls == 0
        with pytest.raises(Boom):
            next(stream)
        assert breaker.state is State.OPEN


def test_a_guarded_generator_can_be_a_context_manager(build: Build):
    """`@contextmanager` above the breaker: the body's failure is the stream's."""
    breaker = build(failure_threshold=2)

    @contextmanager
    @breaker
    def connection() -> Iterator[str]:
        yield "connection"

    with connection() as name:
        assert name == "connection"
    with pytest.raises(Boom), connection():
        raise Boom
    assert (breaker.snapshot().calls, breaker.snapshot().failures) == (2, 1)


def test_a_generator_keeps_its_signature(build: Build):
    """It is still a generator function, with its own name and parameters."""
    guarded = build()(lines)
    assert inspect.isgeneratorfunction(guarded)
    assert inspect.signature(guarded) == inspect.signature(lines)
    assert guarded.__name__ == "lines"
