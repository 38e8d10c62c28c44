"""What a breaker costs in memory, and what calls leave behind: nothing."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
import tracemalloc
import weakref
from collections.abc import Callable, Iterator

import pytest

from core.acting import Boom, Clock, fail
from core.conftest import Build
from recloser import CircuitBreaker, CircuitOpenError

ROUNDS = 100_000


def grown(work: Callable[[], object], rounds: int = ROUNDS) -> int:
    """Return how many memory blocks many rounds of `work` leave behind, after a few that may fill caches."""
    for _ in range(200):
        work()
    gc.collect()
    before = sys.getallocatedblocks()
    for _ in range(rounds):
        work()
    gc.collect()
    return sys.getallocatedblocks() - before


def refuse(breaker: CircuitBreaker) -> None:
    with contextlib.suppress(CircuitOpenError):
        breaker.call(len, "")


def break_off(breaker: CircuitBreaker) -> None:
    with contextlib.suppress(Boom), breaker.calling():
        raise Boom("a text", ROUNDS)


def cancel(breaker: CircuitBreaker) -> None:
    with contextlib.suppress(asyncio.CancelledError), breaker.calling():
        raise asyncio.CancelledError


@pytest.mark.parametrize("call", [refuse, break_off, cancel])
def test_promise_6_calls_leave_nothing_behind(build: Build, call: Callable[[CircuitBreaker], None]):
    """A hundred thousand refused, failed or cancelled calls retain no memory."""
    breaker = build(failure_threshold=1 if call is refuse else 10**9)
    if call is refuse:
        fail(breaker)
    assert grown(lambda: call(breaker)) < 100


def test_promise_6_cancelled_coroutines_leave_nothing_behind(build: Build):
    """Coroutines that are thrown out while they wait, or that nobody finishes, retain no memory."""

    class Forever:
        def __await__(self) -> Iterator[None]:
            yield

    @build(max_concurrent_calls=3)
    async def fetch() -> None:
        await Forever()

    def work() -> None:
        cancelled = fetch()
        cancelled.send(None)
        with contextlib.suppress(asyncio.CancelledError):
            cancelled.throw(asyncio.CancelledError())
        fetch().send(None)

    assert grown(work, ROUNDS // 10) < 100


class Local:
    """Something in the frame of a failing call."""


@pytest.mark.parametrize("way", ["decorator", "call", "calling", "finish", "refused"])
def test_promise_6_no_exception_traceback_or_frame_is_kept(build: Build, way: str):
    """A breaker keeps the text of a failure; the failure and its frames die with its handler, without a collector."""
    breaker = build()
    dead: list[weakref.ref[object]] = []

    def fetch() -> None:
        local = Local()
        dead.append(weakref.ref(local))
        raise Boom("why")

    def block() -> None:
        with breaker.calling():
            fetch()

    def by_hand() -> None:
        permit = breaker.acquire()
        try:
            fetch()
        except Boom as error:
            permit.finish(error)
            raise

    ways = {
        "decorator": breaker(fetch),
        "call": lambda: breaker.call(fetch),
        "calling": block,
        "finish": by_hand,
    }

    def caller() -> None:
        local = Local()
        dead.append(weakref.ref(local))
        try:
            ways.get(way, breaker.acquire)()
        except (Boom, CircuitOpenError) as error:
            dead.append(weakref.ref(error))

    if way == "refused":
        fail(breaker, error=Boom("why"))
    gc.disable()
    try:
        caller()
        assert [one() for one in dead] == [None] * (2 if way == "refused" else 3)
    finally:
        gc.enable()
    assert breaker.snapshot().last_failure == "Boom: why"


def test_a_breaker_is_small():
    """A thousand breakers with the default policy take less than three megabytes."""
    CircuitBreaker("warm")
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        breakers = [CircuitBreaker(f"shop-{number}") for number in range(200)]
        each = (tracemalloc.get_traced_memory()[0] - before) / len(breakers)
    finally:
        tracemalloc.stop()
    assert each < 3_000


def test_b3_a_large_call_window_takes_a_bit_per_call(build: Build, clock: Clock):
    """Ten thousand failures in a window take less than 20 kB."""
    breaker = build(failure_rate_threshold=1.0, window_calls=10_000, minimum_calls=10_000)
    error = Boom()
    fail(breaker, 5, error)
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        fail(breaker, 9_994, error)
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert taken < 20_000
    assert breaker.snapshot().window == (9_999, 9_999, 0)
