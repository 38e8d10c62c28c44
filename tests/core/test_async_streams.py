"""Async generators: promise 7, streams count when they end, whatever loop runs them."""

from __future__ import annotations

import gc
import inspect
import warnings
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from core.acting import Boom, Clock, admits, fail, half_open
from core.conftest import Build
from recloser import CircuitOpenError, State

pytestmark = pytest.mark.anyio

TIMED = {"slow_call_duration": 2, "slow_call_rate_threshold": 1, "minimum_calls": 2, "failure_threshold": 1}
both = pytest.mark.parametrize("knobs", [{}, TIMED], ids=["plain", "timed"])


async def lines(*, breaks: bool = False) -> AsyncIterator[str]:
    await anyio.lowlevel.checkpoint()
    yield "first"
    if breaks:
        raise Boom
    await anyio.lowlevel.checkpoint()
    yield "second"


@both
async def test_promise_7_an_async_stream_counts_when_it_ends(build: Build, knobs: dict[str, Any]):
    """Nothing is counted while items come, one success at the end."""
    breaker = build(**knobs)
    stream = breaker(lines)()
    assert [await anext(stream), await anext(stream)] == ["first", "second"]
    assert breaker.snapshot().calls == 0
    with pytest.raises(StopAsyncIteration):
        await anext(stream)
    assert (breaker.snapshot().calls, breaker.snapshot().failures) == (1, 0)


@both
async def test_promise_7_an_async_stream_that_breaks_half_way_is_a_failure(
    build: Build, knobs: dict[str, Any]
):
    """Whatever items came before."""
    breaker = build(**knobs)
    seen = []
    with pytest.raises(Boom):
        async for line in breaker(lines)(breaks=True):
            seen.append(line)  # noqa: PERF401 - the items before the break are what is looked at
    assert seen == ["first"]
    assert breaker.state is State.OPEN


async def test_promise_7_an_async_stream_that_its_consumer_closes_is_ignored(build: Build):
    """Closed early, it says nothing; the function's own clean-up has run before the close returns."""
    cleaned = []

    async def pages() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            await anyio.lowlevel.checkpoint()
            cleaned.append(True)

    breaker = build(max_concurrent_calls=1)
    async with aclosing(breaker(pages)()) as stream:
        assert await anext(stream) == 1
        assert breaker.snapshot().in_flight == 1
    seen = breaker.snapshot()
    assert (seen.calls, seen.ignored, seen.in_flight, cleaned) == (0, 1, 0, [True])


async def test_promise_1_an_async_stream_that_is_abandoned_gives_its_place_back(build: Build, clock: Clock):
    """Collected as garbage, it is closed by its loop, and another call may probe."""
    breaker = build()
    half_open(breaker, clock)
    stream = breaker(lines)()
    assert await anext(stream) == "first"
    assert not admits(breaker)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # by which trio says what this is about
        del stream
        gc.collect()
        for _ in range(20):
            await anyio.lowlevel.checkpoint()
    assert (breaker.state, admits(breaker)) == (State.HALF_OPEN, True)


async def test_promise_1_an_async_stream_never_finished_loses_its_place_at_its_deadline(
    build: Build, clock: Clock
):
    """While it is still held, its lease runs out like any other."""
    breaker = build(probe_timeout=5)
    half_open(breaker, clock)
    stream = breaker(lines)()
    await anext(stream)
    clock.advance(4.9)
    assert not admits(breaker)
    clock.advance(0.1)
    assert admits(breaker)
    await stream.aclose()


async def test_an_async_stream_that_is_cancelled_is_ignored(build: Build):
    """Whoever waits for the next item may give up."""

    async def stuck() -> AsyncIterator[int]:
        yield 1
        await anyio.sleep_forever()

    breaker = build(max_concurrent_calls=1)
    with anyio.move_on_after(0.01):
        async for _ in breaker(stuck)():
            pass
    seen = breaker.snapshot()
    assert (seen.calls, seen.ignored, seen.in_flight) == (0, 1, 0)


async def test_an_async_stream_keeps_its_conversation(build: Build):
    """Values sent in and exceptions thrown in reach the function, which may go on."""

    async def talk() -> AsyncGenerator[str, str]:
        heard = yield "hello"
        try:
            yield f"you said {heard}"
        except KeyError:
            yield "caught"

    breaker = build()
    stream = breaker(talk)()
    assert await anext(stream) == "hello"
    assert await stream.asend("hi") == "you said hi"
    assert await stream.athrow(KeyError()) == "caught"
    with pytest.raises(StopAsyncIteration):
        await anext(stream)
    assert (breaker.snapshot().calls, breaker.snapshot().failures) == (1, 0)


async def test_an_exception_thrown_into_an_async_stream_may_end_it(build: Build):
    """Not caught there, it is judged like one of the function's own; caught for good, it is a success."""

    async def patient() -> AsyncIterator[int]:
        try:
            yield 1
        except Boom:
            return

    breaker = build()
    stream = breaker(patient)()
    await anext(stream)
    with pytest.raises(StopAsyncIteration):
        await stream.athrow(Boom())
    assert (breaker.state, breaker.snapshot().calls) == (State.CLOSED, 1)
    broken = breaker(lines)()
    await anext(broken)
    with pytest.raises(Boom):
        await broken.athrow(Boom("from the consumer"))
    assert breaker.state is State.OPEN


async def test_an_async_stream_that_is_never_started_asks_for_nothing(build: Build):
    """The breaker is asked when the first item is."""
    breaker = build()
    guarded = breaker(lines)
    stream = guarded()
    fail(breaker)
    with pytest.raises(CircuitOpenError):
        await anext(stream)
    await guarded().aclose()
    assert breaker.snapshot().ignored == 0


async def test_only_the_first_item_of_an_async_stream_can_be_slow(build: Build, clock: Clock):
    """After it the time is the consumer's as much as the dependency's; without one the whole is timed."""

    async def ticking(first: float, then: float, items: int) -> AsyncIterator[int]:
        clock.advance(first)
        for number in range(items):
            yield number
            clock.advance(then)

    breaker = build(slow_call_duration=2, slow_call_rate_threshold=1, minimum_calls=99)
    for arguments, slow in (((1, 20, 2), 0), ((2, 0, 2), 1), ((1.9, 0, 0), 1), ((2, 0, 0), 2)):
        async for _ in breaker(ticking)(*arguments):
            pass
        assert breaker.snapshot().slow == slow


async def test_every_kind_of_async_generator_function_is_a_stream(build: Build):
    """Methods, partials and objects whose `__call__` is an async generator function count when they end."""

    class Reader:
        async def read(self) -> AsyncIterator[str]:
            async for line in lines(breaks=True):
                yield line

        __call__ = read

    for target in (Reader().read, partial(lines, breaks=True), Reader()):
        breaker = build()
        stream = breaker(target)()
        assert inspect.isasyncgen(stream)
        assert await anext(stream) == "first"
        assert breaker.snapshot().calls == 0
        with pytest.raises(Boom):
            await anext(stream)
        assert breaker.state is State.OPEN


async def test_a_guarded_async_generator_can_be_a_context_manager(build: Build):
    """`@asynccontextmanager` above the breaker: the body's failure is the stream's."""
    breaker = build(failure_threshold=2)

    @asynccontextmanager
    @breaker
    async def connection() -> AsyncIterator[str]:
        yield "connection"

    async with connection() as name:
        assert name == "connection"
    with pytest.raises(Boom):
        async with connection():
            raise Boom
    assert (breaker.snapshot().calls, breaker.snapshot().failures) == (2, 1)


async def test_a_wrong_call_of_an_async_stream_gives_its_place_back(build: Build):
    """What raises before there is a stream is judged like what it raises later."""
    breaker = build(max_concurrent_calls=1)
    with pytest.raises(TypeError):
        await anext(breaker(lines)(colour="red"))
    assert breaker.snapshot().in_flight == 0


def test_an_async_generator_keeps_its_signature(build: Build):
    """It is still an async generator function, with its own name and parameters."""
    guarded = build()(lines)
    assert inspect.isasyncgenfunction(guarded)
    assert inspect.signature(guarded) == inspect.signature(lines)
    assert guarded.__name__ == "lines"
