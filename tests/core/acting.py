"""What tests do to a breaker, in a word each."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import TypeVar

import pytest

from recloser import CallRejectedError, CircuitBreaker, Event, StateChanged
from recloser.core.scope import Scope, current

T = TypeVar("T")
PATIENCE = 10.0  # no wait is longer (seconds)
MIDNIGHT = 1_700_000_000.0


class Boom(Exception):
    """The dependency failed."""


class Clock:
    """Monotonic time and the time of day, which stand still until they are moved."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.wall = MIDNIGHT

    def __call__(self) -> float:
        return self.now

    def of_day(self) -> float:
        return self.wall

    def advance(self, seconds: float) -> None:
        self.now += seconds
        self.wall += seconds


class Heard(list[Event]):
    """A listener that remembers."""

    def __call__(self, event: Event) -> None:
        self.append(event)

    @property
    def changes(self) -> list[StateChanged]:
        return [event for event in self if isinstance(event, StateChanged)]

    @property
    def states(self) -> list[str]:
        """The states that were entered, in order."""
        return [str(change.new) for change in self.changes]


def succeed(breaker: CircuitBreaker, times: int = 1) -> None:
    for _ in range(times):
        breaker.acquire().success()


def fail(breaker: CircuitBreaker, times: int = 1, error: BaseException | None = None) -> None:
    for _ in range(times):
        breaker.acquire().failure(error)


def slow(breaker: CircuitBreaker, clock: Clock, seconds: float, times: int = 1) -> None:
    """Let calls succeed after so many seconds."""
    for _ in range(times):
        permit = breaker.acquire()
        clock.advance(seconds)
        permit.success()


def refused(breaker: CircuitBreaker) -> CallRejectedError:
    """Make a call that must be refused."""
    with pytest.raises(CallRejectedError) as caught:
        breaker.acquire()
    return caught.value


def admits(breaker: CircuitBreaker) -> bool:
    """Tell whether a call is let in; it ends without a verdict."""
    with suppress(CallRejectedError):
        breaker.acquire().ignore()
        return True
    return False


def half_open(breaker: CircuitBreaker, clock: Clock) -> None:
    """Bring a breaker, tripped by one failure, to where probes are due."""
    fail(breaker)
    clock.advance(breaker.snapshot().retry_after)


def raiser(error: BaseException) -> Callable[..., None]:
    def function(*args: object, **kwargs: object) -> None:
        raise error

    return function


def elsewhere(function: Callable[[], T]) -> T:
    """Return what `function` returns on another thread, or raise what it raises; it must end soon."""
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            outcome.set_result(function())
        except BaseException as error:
            outcome.set_exception(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive(), "blocked"
    return outcome.result()


def crowd(workers: Iterable[Callable[[], object]]) -> None:
    """Run all at once, each on its own thread; all must end soon and none may raise."""
    errors: list[BaseException] = []
    work = list(workers)
    start = threading.Barrier(len(work))

    def run(worker: Callable[[], object]) -> None:
        try:
            start.wait(PATIENCE)
            worker()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(worker,), daemon=True) for worker in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE * 2)
    assert not any(thread.is_alive() for thread in threads), "blocked"
    if errors:
        raise errors[0]


@contextmanager
def request_scope() -> Iterator[Scope]:
    """Be inside a request, as an adapter would put it."""
    scope = Scope()
    token = current.set(scope)
    try:
        yield scope
    finally:
        current.reset(token)
