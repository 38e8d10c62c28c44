"""C13: forks while other threads are in the midst of everything."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from core.acting import fail, refused, succeed
from core.conftest import Build
from core.forking import PATIENCE, in_child
from recloser import CallRejectedError, CircuitBreaker, Rejection, State


@contextmanager
def busy(work: Callable[[], object], threads: int = 3) -> Iterator[None]:
    """Run `work` over and over in other threads."""
    stop = threading.Event()

    def run() -> None:
        while not stop.is_set():
            work()

    workers = [threading.Thread(target=run) for _ in range(threads)]
    for worker in workers:
        worker.start()
    try:
        yield
    finally:
        stop.set()
        for worker in workers:
            worker.join(PATIENCE)
            assert not worker.is_alive()


def test_c13_forks_amid_a_storm_leave_whole_children(build: Build):
    """Whatever the parent's threads were in the midst of, each child's breaker works and locks."""
    breaker = build(failure_threshold=5, max_concurrent_calls=4)

    def storm() -> None:
        with suppress(CallRejectedError):
            fail(breaker, 4)
            succeed(breaker)
        breaker.reset(by="storm", reason="go on")

    def check() -> None:
        breaker.reset(by="child", reason="begin")
        held = [breaker.acquire() for _ in range(4)]
        assert refused(breaker).reason is Rejection.BULKHEAD
        for permit in held:
            permit.success()
        fail(breaker, 5)
        assert breaker.state is State.OPEN

    with busy(storm):
        for _ in range(60):
            in_child(check)


def test_c13_several_threads_may_fork_at_once(build: Build):
    """Forks wait for each other, and for no breaker for ever."""
    breakers: list[CircuitBreaker] = [build(f"shop-{number}") for number in range(10)]

    def work() -> None:
        for breaker in breakers:
            breaker.reset(by="work", reason="go on")

    faults: list[BaseException] = []

    def spawn() -> None:
        try:
            for _ in range(15):
                in_child(lambda: [fail(breaker) for breaker in breakers])
        except BaseException as error:
            faults.append(error)

    with busy(work, threads=2):
        forkers = [threading.Thread(target=spawn) for _ in range(3)]
        for forker in forkers:
            forker.start()
        for forker in forkers:
            forker.join(60)
            assert not forker.is_alive()
    assert not faults
