"""One breaker for asyncio and trio, for several loops, and for tasks that are cancelled."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import ContextVar
from math import inf

import anyio
import anyio.lowlevel
import pytest

from core.acting import Boom, Clock, fail, refused
from core.conftest import Build
from recloser import CircuitOpenError, State, last_good

pytestmark = pytest.mark.anyio


async def test_decorated_coroutine_functions_count(build: Build):
    """Success and failure of a coroutine are those of its result, not of its making."""
    breaker = build(failure_threshold=2)

    @breaker
    async def fetch(error: BaseException | None = None) -> str:
        await anyio.lowlevel.checkpoint()
        if error is not None:
            raise error
        return "answer"

    assert await fetch() == "answer"
    for _ in range(2):
        with pytest.raises(Boom):
            await fetch(Boom())
    with pytest.raises(CircuitOpenError):
        await fetch()
    assert breaker.snapshot().calls == 3


async def test_promise_3_a_cancelled_call_is_ignored(build: Build):
    """Cancellation, asyncio's or trio's, says nothing of the dependency."""
    breaker = build()

    @breaker
    async def hang() -> None:
        await anyio.sleep_forever()

    with anyio.move_on_after(0):
        await hang()
    with anyio.move_on_after(0):
        async with breaker.calling():
            await anyio.sleep_forever()
    with anyio.move_on_after(0):
        await breaker.call_async(anyio.sleep_forever)
    seen = breaker.snapshot()
    assert (seen.calls, seen.ignored, seen.state) == (0, 3, State.CLOSED)


async def test_promise_3_a_cancelled_probe_gives_its_place_back_at_once(build: Build, clock: Clock):
    """The next call may probe in the same moment."""
    breaker = build()
    fail(breaker)
    clock.advance(10)

    async def probe() -> None:
        async with breaker.calling():
            await anyio.sleep_forever()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(probe)
        await anyio.wait_all_tasks_blocked()
        assert refused(breaker).reason == "half_open"
        tasks.cancel_scope.cancel()
    assert breaker.state is State.HALF_OPEN
    breaker.acquire().success()
    assert breaker.state is State.CLOSED


async def test_a_timeout_outside_the_breaker_is_seen_as_slow(build: Build, clock: Clock):
    """A call that is cancelled after `slow_call_duration` is a slow one."""
    breaker = build(slow_call_duration=2, slow_call_rate_threshold=1.0, minimum_calls=1)
    with anyio.move_on_after(0):
        async with breaker.calling():
            clock.advance(2)
            await anyio.sleep_forever()
    assert breaker.state is State.OPEN


async def test_half_open_bounds_tasks(build: Build, clock: Clock):
    """Of many tasks at once only so many probe."""
    breaker = build(half_open_max_calls=2, success_threshold=9)
    fail(breaker)
    clock.advance(10)
    inside = most = turned_away = 0

    async def work() -> None:
        nonlocal inside, most, turned_away
        try:
            async with breaker.calling():
                inside += 1
                most = max(most, inside)
                await anyio.lowlevel.checkpoint()
                inside -= 1
        except CircuitOpenError:
            turned_away += 1

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(work)
    assert most == 2
    assert turned_away > 0


async def test_an_abandoned_stream_gives_its_place_back(build: Build, clock: Clock):
    """An async generator that nobody finishes is ignored when it is collected or closed."""
    breaker = build()
    fail(breaker)
    clock.advance(10)

    @breaker
    async def pages():
        yield 1
        yield 2

    stream = pages()
    assert await anext(stream) == 1
    assert refused(breaker).reason == "half_open"
    await stream.aclose()
    del stream
    gc.collect()
    breaker.acquire().success()
    assert breaker.state is State.CLOSED


async def test_async_fallbacks_answer(build: Build):
    """An async function's fallback may be async, and may have nothing to say."""
    breaker = build(failure_if=lambda result: result == "bad")

    async def instead(error: BaseException) -> str:
        await anyio.lowlevel.checkpoint()
        return f"instead of {type(error).__name__}"

    @breaker.protect(fallback=instead, on="failure")
    async def fetch(result: object) -> object:
        if isinstance(result, Exception):
            raise result
        return result

    @breaker.protect(fallback=last_good(60), on="failure")
    async def remembered(key: str, result: object) -> object:
        if isinstance(result, Exception):
            raise result
        return result

    assert await remembered("a", "good") == "good"
    assert await fetch("good") == "good"
    assert await fetch("bad") == "instead of FailedResultError"
    breaker.reset(by="test", reason="again")
    assert await fetch(Boom()) == "instead of Boom"
    breaker.reset(by="test", reason="again")
    assert await remembered("b", "bad") == "bad"
    breaker.reset(by="test", reason="again")
    with pytest.raises(Boom):
        await remembered("c", Boom())
    assert await fetch("good") == "instead of CircuitOpenError"
    with pytest.raises(CircuitOpenError):
        await remembered("d", "good")


async def test_a_task_groups_failure_is_judged_by_its_leaves(build: Build):
    """One failing child among cancelled ones is a failure; a group of refusals is none."""
    breaker, other = build(), build("other")
    fail(other)

    async def break_off() -> None:
        raise Boom

    async def ask_other() -> None:
        async with other.calling():
            pass

    @breaker
    async def together(*children: Callable[[], Awaitable[None]]) -> None:
        async with anyio.create_task_group() as tasks:
            for child in children:
                tasks.start_soon(child)

    with pytest.raises(ExceptionGroup):
        await together(ask_other, anyio.sleep_forever)
    assert (breaker.state, breaker.snapshot().ignored) == (State.CLOSED, 1)
    with pytest.raises(ExceptionGroup):
        await together(break_off, anyio.sleep_forever)
    assert breaker.state is State.OPEN


async def test_a_call_runs_in_its_callers_context(build: Build):
    """Context variables that a guarded function sets are set for its caller, as without a breaker."""
    variable: ContextVar[str] = ContextVar("variable", default="unset")
    breaker = build()

    async def put(value: str) -> None:
        variable.set(value)

    await breaker(put)("decorated")
    assert variable.get() == "decorated"
    await breaker.call_async(put, "called")
    assert variable.get() == "called"
    breaker(variable.set)("sync")
    assert variable.get() == "sync"


async def test_a_storm_of_tasks_is_counted_exactly(build: Build):
    """Tasks that succeed, fail and are cancelled in turn: each is counted as what it was."""
    breaker = build(failure_threshold=None, max_concurrent_calls=200)

    @breaker
    async def work(number: int) -> None:
        await anyio.lowlevel.checkpoint()
        if number % 3 == 0:
            raise Boom
        if number % 3 == 1:
            await anyio.sleep_forever()

    async def run(number: int) -> None:
        with suppress(Boom), anyio.move_on_after(0.01 if number % 3 == 1 else inf):
            await work(number)

    async with anyio.create_task_group() as tasks:
        for number in range(150):
            tasks.start_soon(run, number)
    seen = breaker.snapshot()
    assert (seen.calls, seen.failures, seen.ignored, seen.in_flight) == (100, 50, 50, 0)


def test_several_loops_share_a_breaker(build: Build):
    """What fails in one event loop opens the circuit in another."""
    breaker = build(failure_threshold=4)

    @breaker
    async def fetch() -> None:
        raise Boom

    async def fail_twice() -> None:
        for _ in range(2):
            with pytest.raises(Boom):
                await fetch()

    loops = [threading.Thread(target=lambda: asyncio.run(fail_twice())) for _ in range(2)]
    for loop in loops:
        loop.start()
    for loop in loops:
        loop.join(30)
    with pytest.raises(CircuitOpenError):
        asyncio.run(fetch())
