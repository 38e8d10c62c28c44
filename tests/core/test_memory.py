"""What a breaker costs in memory, and what calls leave behind: nothing."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
import tracemalloc
import weakref
from collections.abc import Callable

import pytest

from core.acting import Boom, Clock, fail
from core.conftest import Build
from recloser import CircuitBreaker, CircuitOpenError

ROUNDS = 20_000


def grown(work: Callable[[], object]) -> int:
    """Return how many memory blocks many rounds of `work` leave behind, after a few that may fill caches."""
    for _ in range(200):
        work()
    gc.collect()
    before = sys.getallocatedblocks()
    for _ in range(ROUNDS):
        work()
    gc.collect()
    return sys.getallocatedblocks() - before


def refuse(breaker: CircuitBreaker) -> None:
    with contextlib.suppress(CircuitOpenError):
        breaker.call(len, "")


def break_off(breaker: CircuitBreaker) -> None:
    try:
        with breaker.calling():
            raise Boom("a text", ROUNDS)
    except Boom:
        pass


def cancel(breaker: CircuitBreaker) -> None:
    try:
        with breaker.calling():
            raise asyncio.CancelledError
    except asyncio.CancelledError:
        pass


@pytest.mark.parametrize("call", [refuse, break_off, cancel])
def test_promise_6_calls_leave_nothing_behind(build: Build, call: Callable[[CircuitBreaker], None]):
    """Refused, failed and cancelled calls retain no memory."""
    breaker = build(failure_threshold=1 if call is refuse else 10**9)
    if call is refuse:
        fail(breaker)
    assert grown(lambda: call(breaker)) < 100


def test_promise_6_no_exception_is_kept(build: Build):
    """A breaker keeps the text of a failure, not the failure with its frames."""
    breaker = build()
    kept: list[weakref.ref[BaseException]] = []
    try:
        with breaker.calling():
            raise Boom("why")
    except Boom as error:
        kept.append(weakref.ref(error))
    gc.collect()
    assert kept[0]() is None
    assert breaker.snapshot().last_failure == "Boom: why"


def test_promise_6_each_refusal_is_a_fresh_exception(build: Build):
    """Two callers never share an exception, nor its traceback."""
    breaker = build()
    fail(breaker)
    errors = []
    for _ in range(2):
        with pytest.raises(CircuitOpenError) as caught:
            breaker.acquire()
        errors.append(caught.value)
    assert errors[0] is not errors[1]


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
