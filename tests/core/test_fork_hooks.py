"""C13: forks from where nobody expects them."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable

import pytest

from core.acting import Clock, admits, fail, succeed
from core.conftest import Build
from recloser import CircuitBreaker, State
from recloser.core import fork

DEADLINE = 20  # for a child to end (seconds)


def both_sides(build: Build, clock: Clock, prepare: Callable[[Callable[[], None]], CircuitBreaker]) -> None:
    """Trip a breaker while it forks in the midst; parent and child must both go on with a working one."""
    parent, children = os.getpid(), []

    def fork() -> None:
        if not children:
            with warnings.catch_warnings():
                warnings.simplefilter(
                    "ignore", DeprecationWarning
                )  # pytest's own threads, from Python 3.12 on
                children.append(os.fork())

    try:
        breaker = prepare(fork)
        fail(breaker)
        breaker.reset(by="ann", reason="go on")
        clock.advance(100)
        succeed(breaker)
        fail(breaker)
        ready = breaker.state is State.OPEN and not admits(breaker) and not breaker._driver.machine.events
    except BaseException:
        if os.getpid() == parent:
            raise
        sys.excepthook(*sys.exc_info())
        ready = False
    if os.getpid() != parent:
        os._exit(0 if ready else 1)
    assert ready
    assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 0


@pytest.mark.timeout(DEADLINE)
def test_c13_a_listener_may_fork_and_its_child_go_on(build: Build, clock: Clock):
    """In the child the delivery that it is part of ends as if it had been the child's own."""

    def prepare(fork: Callable[[], None]) -> CircuitBreaker:
        breaker = build()
        breaker.add_listener(lambda event: fork())
        return breaker

    both_sides(build, clock, prepare)


@pytest.mark.timeout(DEADLINE)
def test_c13_a_fork_inside_the_section_leaves_two_working_breakers(build: Build, clock: Clock):
    """A signal handler or finaliser in there may fork: who holds the lock is not made to wait for himself."""

    def prepare(fork: Callable[[], None]) -> CircuitBreaker:
        def dice() -> float:
            fork()
            return 0.5

        return build(random=dice)

    both_sides(build, clock, prepare)


@pytest.mark.timeout(DEADLINE)
def test_c13_a_fork_amid_the_queue_leaves_the_rest_of_it_to_the_parent(build: Build, clock: Clock):
    """What is queued belongs to the parent's calls: the child goes on as if that were all."""

    def prepare(fork: Callable[[], None]) -> CircuitBreaker:
        breaker = build()
        driver = breaker._driver
        driver.look(lambda: [driver.queue(each) for each in (fork, lambda: None)])
        return breaker

    both_sides(build, clock, prepare)


def test_c13_a_breaker_made_on_the_eve_of_a_fork_is_renewed_too():
    """Also one that came into being after our own hook had looked: its calls in flight are the parent's."""
    code = """
import logging
import os

def eve():
    made.append(CircuitBreaker("late", failure_threshold=1))
    permits.append(made[-1].acquire())

os.register_at_fork(before=eve)  # the hook that is registered first runs last
from recloser import CircuitBreaker
made, permits = [], []
child = os.fork()
if child == 0:
    permits[0].failure()
    os._exit(made[0].state != "closed")
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=DEADLINE)


@pytest.mark.timeout(DEADLINE)
def test_c13_what_works_with_others_locks_stands_still_before_logging_does():
    """A hub that logs while its process forks is waited for by one who does not hold the lock of `logging` yet."""
    finished: list[bool] = []

    class AtWork:
        def before_fork(self) -> None:
            last = threading.Thread(target=logging.getLogger, args=("recloser.test.fork",), daemon=True)
            last.start()
            last.join(2)
            finished.append(not last.is_alive())

        def after_fork_in_parent(self) -> None:
            finished.append(True)

        def after_fork_in_child(self) -> None:
            pass

    hub = AtWork()
    fork.watch(hub, first=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
    assert finished == [True, True]
