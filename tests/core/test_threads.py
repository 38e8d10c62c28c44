"""Promise 5: exact under threads, at a switch interval of a microsecond."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import pairwise

import pytest

from core.acting import Boom, Clock, Heard
from core.conftest import Build
from recloser import BulkheadFullError, CallRejectedError, CircuitBreaker, State, StateChanged

THREADS = 8
PATIENCE = 60.0


@pytest.fixture(autouse=True)
def _frequent_switches() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def storm(work: Callable[[int], object]) -> None:
    """Run `work(number)` in eight threads that begin together; what one raises fails the test."""
    faults: list[BaseException] = []
    gate = threading.Barrier(THREADS)

    def run(number: int) -> None:
        try:
            gate.wait(PATIENCE)
            work(number)
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert not faults


class Crowd:
    """Measures how many are inside at once."""

    def __init__(self) -> None:
        self._inside: set[object] = set()
        self.most = 0

    def __enter__(self) -> None:
        self._inside.add(threading.get_ident())
        self.most = max(self.most, len(self._inside))

    def __exit__(self, *_: object) -> None:
        self._inside.discard(threading.get_ident())


@pytest.mark.parametrize(
    "knobs",
    [
        {},
        {"failure_rate_threshold": 1.0},
        {"failure_rate_threshold": 1.0, "window_calls": 50},
        {"slow_call_duration": 5, "slow_call_rate_threshold": 1.0},
        {"max_concurrent_calls": THREADS},
    ],
    ids=["default", "time window", "call window", "slow calls", "bulkhead"],
)
def test_no_success_is_lost(build: Build, knobs: dict[str, float]):
    """Each call of each thread is counted, however it is made."""
    breaker = build(**knobs)

    @breaker
    def decorated() -> None: ...

    def work(_: int) -> None:
        for _ in range(500):
            decorated()
            breaker.acquire().success()
            with breaker.calling():
                pass

    storm(work)
    assert breaker.snapshot().calls == THREADS * 1500


def test_every_failure_is_counted_once(build: Build):
    """Failures of several threads at once neither vanish nor double, and their run is unbroken."""
    breaker = build(failure_threshold=10**9)

    def work(_: int) -> None:
        for _ in range(500):
            breaker.acquire().failure(Boom())

    storm(work)
    seen = breaker.snapshot()
    assert (seen.failures, seen.consecutive_failures) == (THREADS * 500, THREADS * 500)


def test_transitions_are_exact(build: Build, clock: Clock):
    """Each transition is told once, in order, to states that follow each other, in epochs that grow."""
    breaker = build(failure_threshold=3, recovery_timeout=1, recovery_backoff=1)
    heard = Heard()
    breaker.add_listener(heard)

    def work(number: int) -> None:
        for turn in range(400):
            clock.advance(0.01)
            with suppress(CallRejectedError, Boom), breaker.calling():
                if (turn // 20 + number) % 3:
                    raise Boom

    storm(work)
    changes = heard.changes
    assert len(changes) > 3
    assert [change.epoch.number for change in changes] == list(range(1, len(changes) + 1))
    for before, after in pairwise(changes):
        assert after.old is before.new
    may_follow = {("closed", "open"), ("open", "half_open"), ("half_open", "open"), ("half_open", "closed")}
    assert {(str(change.old), str(change.new)) for change in changes} <= may_follow
    assert breaker.snapshot().opened == sum(change.new is State.OPEN for change in changes)


@pytest.mark.parametrize("places", [1, 3])
def test_probes_never_exceed_their_bound(build: Build, clock: Clock, places: int):
    """However many ask at the same moment, no more probes run than the policy allows."""
    breaker = build(half_open_max_calls=places, success_threshold=10**9)
    breaker.acquire().failure(Boom())
    clock.advance(10)
    crowd = Crowd()
    admitted: list[int] = []

    def work(number: int) -> None:
        for _ in range(300):
            with suppress(CallRejectedError), breaker.calling(), crowd:
                admitted.append(number)

    storm(work)
    assert 1 <= crowd.most <= places
    assert len(admitted) > 0
    seen = breaker.snapshot()
    assert (seen.probes, seen.probes_in_flight, seen.state) == (len(admitted), 0, State.HALF_OPEN)


def test_a_bulkhead_never_exceeds_its_bound_and_gets_all_back(build: Build):
    """Calls in flight stay within the limit, and none is forgotten at the end."""
    breaker = build(failure_threshold=10**9, max_concurrent_calls=3)
    crowd = Crowd()
    full: list[BulkheadFullError] = []

    def work(number: int) -> None:
        for turn in range(300):
            try:
                with breaker.calling(), crowd:
                    if turn % 7 == number:
                        raise Boom
            except Boom:
                pass
            except BulkheadFullError as error:
                full.append(error)

    storm(work)
    assert 1 <= crowd.most <= 3
    assert breaker.snapshot().in_flight == 0
    assert len({id(error) for error in full}) == len(full)


def test_each_trip_is_told_once(build: Build):
    """However many failures meet the threshold at the same moment, one of them opens the circuit."""
    breaker, heard = build(failure_threshold=THREADS), Heard()
    breaker.add_listener(heard)
    rounds, meet = 100, threading.Barrier(THREADS)

    def work(number: int) -> None:
        for _ in range(rounds):
            permit = breaker.acquire()
            meet.wait(PATIENCE)
            permit.failure(Boom())
            meet.wait(PATIENCE)
            if number == 0:
                assert breaker.state is State.OPEN
                breaker.reset(by="ann", reason="next round")
            meet.wait(PATIENCE)

    storm(work)
    assert heard.states == ["open", "closed"] * rounds
    assert breaker.snapshot().failures == THREADS * rounds


def test_no_subscription_is_lost(build: Build):
    """Listeners may come and go from many threads at once."""
    breaker, counts = build(), [0] * THREADS

    def work(number: int) -> None:
        def count(event: object) -> None:
            counts[number] += 1

        for _ in range(50):
            breaker.add_listener(count)
            breaker.add_listener(count)()

    storm(work)
    breaker.reset(by="ann", reason="to be told")
    assert counts == [50] * THREADS


def test_steering_amid_a_storm_leaves_a_working_breaker(build: Build, clock: Clock):
    """Operators, listeners and snapshots may come at any moment; events stay in order."""
    breaker = build(failure_threshold=2, recovery_timeout=1)
    numbers: list[int] = []

    def follow(event: object) -> None:
        if isinstance(event, StateChanged):
            numbers.append(event.epoch.number)

    breaker.add_listener(follow)

    def work(number: int) -> None:
        for turn in range(150):
            clock.advance(0.05)
            with suppress(CallRejectedError, Boom), breaker.calling():
                if turn % 2:
                    raise Boom
            if number == 0:
                breaker.force_open(by="ann", reason="storm", until=clock.of_day() + 1_000)
            elif number == 1:
                breaker.shadow(by="bob", reason="storm")
            elif number == 2:
                breaker.auto(by="eve", reason="storm")
            elif number == 3:
                breaker.add_listener(lambda _: None)()
                breaker.snapshot()

    storm(work)
    assert numbers == sorted(set(numbers))
    works_again(breaker)


def works_again(breaker: CircuitBreaker) -> None:
    breaker.auto(by="test", reason="end")
    breaker.reset(by="test", reason="end")
    assert breaker.call(len, "abc") == 3
    assert breaker.recorder is not None
