"""C13: a forked child begins with whole breakers, and with nothing of its parent's in flight."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import suppress

import pytest

from core.acting import Boom, Clock, fail, refused, succeed
from core.conftest import Build
from core.forking import in_child
from recloser import CircuitBreaker, Rejection, State
from recloser.core import fork


def test_c13_a_child_inherits_the_state(build: Build):
    """What is open stays open, for as long as it would have been."""
    breaker = build()
    fail(breaker)

    def check() -> None:
        assert breaker.state is State.OPEN
        assert refused(breaker).retry_after == 10

    in_child(check)


def test_c13_a_child_inherits_no_count(build: Build):
    """What the parent has counted is the parent's to tell."""
    breaker = build(failure_threshold=3)
    fail(breaker, 2)
    succeed(breaker)
    fail(breaker, 2)
    breaker.acquire().ignore()

    def check() -> None:
        seen = breaker.snapshot()
        assert (seen.calls, seen.failures, seen.ignored, seen.consecutive_failures) == (0, 0, 0, 0)
        fail(breaker, 2)
        assert breaker.state is State.CLOSED
        fail(breaker)
        assert breaker.state is State.OPEN

    in_child(check)
    assert breaker.snapshot().calls == 5


def test_c13_a_child_begins_an_epoch_of_its_own(build: Build):
    """Its epoch is higher than any of the parent's so far, and totals of earlier epochs are the parent's."""
    breaker = build()
    fail(breaker)
    breaker.reset(by="ann", reason="again")
    epoch = breaker.snapshot().epoch

    def check() -> None:
        seen = breaker.snapshot()
        assert seen.epoch.number > epoch.number
        assert seen.epoch.tag != epoch.tag
        assert (seen.calls, seen.failures, seen.opened, seen.rejected) == (0, 0, 0, {})

    in_child(check)


def test_c13_a_child_inherits_no_lease(build: Build, clock: Clock):
    """The parent's probe takes no place of the child's, and its verdict there is not the child's."""
    breaker = build()
    fail(breaker)
    clock.advance(10)
    permit = breaker.acquire()

    def check() -> None:
        permit.success()
        assert breaker.state is State.HALF_OPEN
        breaker.acquire().success()
        assert breaker.state is State.CLOSED

    in_child(check)
    assert breaker.state is State.HALF_OPEN
    permit.success()
    assert breaker.state is State.CLOSED


def test_c13_a_child_inherits_no_slot(build: Build):
    """A parent's call in flight holds no place of the child's bulkhead."""
    breaker = build(max_concurrent_calls=1)
    permit = breaker.acquire()
    assert refused(breaker).reason is Rejection.BULKHEAD

    def check() -> None:
        inside = breaker.acquire()
        permit.success()
        assert refused(breaker).reason is Rejection.BULKHEAD
        inside.success()
        breaker.acquire().success()

    in_child(check)
    permit.success()
    breaker.acquire().success()


def test_c13_a_fork_within_a_call_counts_in_the_parent_only(build: Build):
    """A protected function that forks returns twice; the child's return is no outcome."""
    breaker = build()

    @breaker
    def spawn() -> int:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return os.fork()

    child = spawn()
    if child == 0:
        os._exit(0 if breaker.snapshot().calls == 0 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert breaker.snapshot().calls == 1


def test_c13_a_child_forgets_what_was_not_told_yet(build: Build):
    """A listener that forks: the events still queued are the parent's to deliver."""
    breaker = build()
    heard: list[str] = []

    def fork_once(event: object) -> None:
        if not heard:
            heard.append("forked")
            in_child(lambda: breaker.reset(by="child", reason="begin"))
        heard.append(type(event).__name__)

    breaker.add_listener(fork_once)
    fail(breaker)
    assert heard == ["forked", "StateChanged"]


def test_c13_a_breaker_made_meanwhile_does_not_disturb_a_fork(monkeypatch: pytest.MonkeyPatch):
    """The set of breakers is looked at again if another thread changed it under the hook's eyes."""

    class Changing(list[object]):
        looks = 0

        def __iter__(self) -> Iterator[object]:
            self.looks += 1
            if self.looks == 1:
                raise RuntimeError("Set changed size during iteration")
            return super().__iter__()

    changing = Changing()
    monkeypatch.setattr(fork, "_alive", changing)
    in_child(lambda: None)
    assert changing.looks == 2


def test_c13_nothing_is_kept_alive_by_the_fork_hooks():
    """A breaker that is dropped is no longer looked after."""
    import gc
    import weakref

    breaker = CircuitBreaker("shop")
    driver = weakref.ref(breaker._driver)
    with suppress(Boom), breaker.calling():
        raise Boom
    del breaker
    gc.collect()
    assert driver() is None
