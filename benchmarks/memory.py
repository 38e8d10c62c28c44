"""What breakers and their calls keep in memory, as `tracemalloc` sees it."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import repeat

from benchmarks import targets
from benchmarks.effort import Effort
from benchmarks.failures import LARGE
from benchmarks.rows import Budget, Row
from recloser import CircuitBreaker, CircuitOpenError, Policy

# Bytes: a counter's integer may grow, and a free list take an object; nothing in proportion to the calls.
NOTHING = Budget("<=", 512)
WARM_UP = 2_000


@dataclass
class RetainedCase:
    """Bytes that remain after many calls of a kind."""

    name: str = "memory retained"
    kept: dict[str, int] = field(default_factory=dict)

    def measure(self, effort: Effort) -> None:
        for kind, call in (("refused", _refused()), ("failing", _failing()), ("cancelled", _cancelled())):
            self.kept[f"{effort.calls:,} {kind} calls"] = _retained(call, effort.calls)

    def rows(self) -> list[Row]:
        return [Row(self.name, kind, kept, "B", budget=NOTHING) for kind, kept in self.kept.items()]


@dataclass
class FootprintCase:
    """Bytes that a breaker takes."""

    name: str = "memory per breaker"
    default: float = 0.0
    window: float = 0.0

    def measure(self, effort: Effort) -> None:
        policy = Policy()
        names = [f"breaker-{number}" for number in range(effort.breakers)]
        kept: list[CircuitBreaker] = []
        grown = _taken(lambda: kept.extend(CircuitBreaker(name, policy) for name in names))
        self.default = grown / effort.breakers
        policy = Policy(failure_rate_threshold=1.0, window_calls=LARGE)
        self.window = _taken(lambda: kept.append(_full_of_failures(policy))) - self.default

    def rows(self) -> list[Row]:
        window = f"{LARGE:,}-call window of failures, more"
        return [
            Row(self.name, "default policy", self.default, "B", budget=Budget("<", 3_000)),
            Row(self.name, window, self.window, "B", budget=Budget("<", 20_000)),
        ]


def _full_of_failures(policy: Policy) -> CircuitBreaker:
    breaker = CircuitBreaker("bench", policy)
    breaker.force_closed(by="bench", reason="count failures without tripping")
    call = breaker(targets.broken)
    for _ in repeat(None, LARGE):
        with suppress(ConnectionError):
            call(1)
    return breaker


def _refused() -> Callable[[], None]:
    breaker = CircuitBreaker("bench", recovery_timeout=targets.OPEN, recovery_timeout_max=targets.OPEN)
    call = breaker(targets.broken)
    for _ in range(targets.FAILURES):
        with suppress(ConnectionError):
            call(1)

    def refused() -> None:
        try:
            call(1)
        except CircuitOpenError:
            return
        raise RuntimeError("a call was not refused")

    return refused


def _failing() -> Callable[[], None]:
    call = CircuitBreaker("bench", failure_threshold=None)(targets.broken)

    def failing() -> None:
        with suppress(ConnectionError):
            call(1)

    return failing


def _cancelled() -> Callable[[], None]:
    call = CircuitBreaker("bench")(_suspended)

    def cancelled() -> None:
        coroutine = call()
        coroutine.send(None)
        with suppress(asyncio.CancelledError):
            coroutine.throw(asyncio.CancelledError())

    return cancelled


async def _suspended() -> None:
    await _Pause()


class _Pause:
    def __await__(self):
        yield


def _repeat(call: Callable[[], None], times: int) -> None:
    for _ in repeat(None, times):
        call()


def _retained(call: Callable[[], None], calls: int) -> int:
    """Bytes left by `calls` calls, with the garbage collector off: what only it could free counts too."""
    with _tracing(collecting=False):
        _repeat(call, WARM_UP)
        before = tracemalloc.get_traced_memory()[0]
        _repeat(call, calls)
        return tracemalloc.get_traced_memory()[0] - before


def _taken(make: Callable[[], object]) -> int:
    """Bytes that what is made takes, once the garbage of making it is gone."""
    with _tracing(collecting=True):
        before = tracemalloc.get_traced_memory()[0]
        make()
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - before


@contextmanager
def _tracing(*, collecting: bool) -> Iterator[None]:
    gc.collect()
    if not collecting:
        gc.disable()
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()
        gc.enable()
