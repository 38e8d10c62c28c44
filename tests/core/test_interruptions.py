"""Signals and finalisers in the midst of our own locked section: SEMANTICS C11, promise 1."""

from __future__ import annotations

import gc
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from core.acting import Boom, Clock, Heard, elsewhere, fail, half_open, raiser, succeed
from core.conftest import Build
from core.injection import Scene, at_every_moment
from recloser import CallRejected, CallRejectedError, CircuitBreaker, Mode, Permit, State

WHO: dict[str, Any] = {"by": "ann", "reason": "drill"}


def interrupt() -> None:
    raise KeyboardInterrupt


def quietly(function: Callable[[], object]) -> Callable[[], None]:
    def run() -> None:
        with suppress(Boom, CallRejectedError):
            function()

    return run


def whole(breaker: CircuitBreaker, heard: Heard) -> None:
    """Nothing is left undone, and the story that was told hangs together."""
    driver = breaker._driver
    assert not driver._inbox
    assert not driver.machine.events
    assert elsewhere(lambda: breaker.snapshot().state) is breaker.state
    states = [State.CLOSED]
    for change in heard.changes:
        assert change.old is states[-1]
        states.append(change.new)
    assert states[-1] is breaker.state
    numbers = [event.epoch.number for event in heard.changes]
    assert numbers == sorted(set(numbers))


# What happens when the signal comes: each makes a breaker ready, and returns the operation.
Ready = Callable[[CircuitBreaker, Clock], Callable[[], object]]


def tripping(breaker: CircuitBreaker, clock: Clock) -> Callable[[], object]:
    permit = breaker.acquire()
    return lambda: permit.failure(Boom("down"))


def failing_call(breaker: CircuitBreaker, clock: Clock) -> Callable[[], object]:
    return quietly(breaker(raiser(Boom("down"))))


def admission(breaker: CircuitBreaker, clock: Clock) -> Callable[[], object]:
    return lambda: breaker.acquire().success()


def block(breaker: CircuitBreaker, clock: Clock) -> Callable[[], object]:
    def run() -> None:
        with breaker.calling():
            pass

    return run


def stream(breaker: CircuitBreaker, clock: Clock) -> Callable[[], object]:
    @breaker
    def lines() -> Iterator[int]:
        yield 1

    return lambda: list(lines())


def good_probe(breaker: CircuitBreaker, clock: Clock) -> Callable[[], object]:
    half_open(breaker, clock)
    return lambda: breaker.acquire().success()


def bad_probe(breaker: CircuitBreaker, clock: Clock) -> Callable[[], object]:
    half_open(breaker, clock)
    return lambda: breaker.acquire().failure(Boom("down"))


def forgotten_probe(breaker: CircuitBreaker, clock: Clock) -> Callable[[], object]:
    half_open(breaker, clock)
    return breaker.acquire


def refusal(breaker: CircuitBreaker, clock: Clock) -> Callable[[], object]:
    fail(breaker)
    return quietly(breaker.acquire)


def ramp(breaker: CircuitBreaker, clock: Clock) -> Callable[[], object]:
    half_open(breaker, clock)
    succeed(breaker)
    clock.advance(3)
    return quietly(breaker.acquire)


def operator(breaker: CircuitBreaker, clock: Clock) -> Callable[[], object]:
    fail(breaker)

    def act() -> None:
        breaker.force_open(**WHO)
        breaker.reset(**WHO)
        breaker.auto(**WHO)

    return act


def end_of_a_mode(breaker: CircuitBreaker, clock: Clock) -> Callable[[], object]:
    breaker.force_open(**WHO, until=clock.wall + 1)
    clock.advance(1)
    return lambda: (breaker.state, breaker.acquire().success())


def reading(breaker: CircuitBreaker, clock: Clock) -> Callable[[], object]:
    fail(breaker)
    return lambda: (breaker.snapshot(), repr(breaker))


OPERATIONS: list[Ready] = [
    tripping,
    failing_call,
    admission,
    block,
    stream,
    good_probe,
    bad_probe,
    forgotten_probe,
]
OPERATIONS += [refusal, ramp, operator, end_of_a_mode, reading]
POLICIES: dict[str, dict[str, Any]] = {
    "plain": {},
    "bulkhead": {"max_concurrent_calls": 1, "recovery_ramp": 5},
    "rates": {
        "failure_rate_threshold": 0.5,
        "minimum_calls": 1,
        "slow_call_duration": 9,
        "slow_call_rate_threshold": 1,
    },
}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("ready", OPERATIONS)
def test_c11_promise_1_an_exception_out_of_a_signal_handler_never_wedges(
    build: Build, ready: Ready, policy: str, clock: Clock
):
    """Ctrl-C, or a time-out's exception, at any moment leaves a breaker that recovers, counts and tells."""

    def scene() -> Scene:
        breaker, heard = build(**{"failure_threshold": 1, **POLICIES[policy]}), Heard()
        operation = ready(breaker, clock)

        def check() -> None:
            nonlocal operation
            operation = interrupt  # let go of its permits
            gc.collect(0)
            assert breaker.recorder is None or breaker._driver.machine.condition.state is State.CLOSED
            breaker.auto(**WHO)
            elsewhere(recover)

        def recover() -> None:
            assert breaker.snapshot().in_flight == 0
            for _ in range(
                3
            ):  # a verdict or a probe's end may be lost: its lease ends, its failure is not heard
                clock.advance(50)
                with suppress(CallRejectedError):
                    succeed(breaker)
            assert breaker.state is State.CLOSED
            breaker.add_listener(heard)
            clock.advance(50)
            fail(breaker)
            assert heard.states == ["open"]

        return Scene(lambda: operation(), interrupt, check)

    assert at_every_moment(scene) > 1


@pytest.mark.parametrize("ready", OPERATIONS)
@pytest.mark.parametrize(
    "act",
    [
        lambda breaker, spare: spare.failure(Boom("from the handler")),
        lambda breaker, spare: spare.success(),
        lambda breaker, spare: quietly(lambda: breaker.acquire().failure())(),
        lambda breaker, spare: (breaker.force_open(**WHO), breaker.auto(**WHO)),
        lambda breaker, spare: (breaker.reset(**WHO), breaker.snapshot(), breaker.state, repr(breaker)),
    ],
    ids=["failure", "success", "whole call", "force", "reset and read"],
)
def test_c11_a_handler_may_use_the_breaker_at_any_moment(
    build: Build, clock: Clock, ready: Ready, act: Callable[[CircuitBreaker, Permit], object]
):
    """It never waits and never sees or makes half a transition; all it asked for is done when the call is over."""

    def scene() -> Scene:
        breaker, heard = build(max_concurrent_calls=2, half_open_max_calls=2), Heard()
        breaker.add_listener(heard)
        breaker.add_listener(lambda event: told_inside.append(event) if breaker._driver.inside() else None)
        told_inside: list[object] = []
        permits = [breaker.acquire()]
        operation = quietly(ready(breaker, clock))

        def check() -> None:
            permits.clear()
            gc.collect(0)
            whole(breaker, heard)
            assert not [event for event in told_inside if not isinstance(event, CallRejected)]
            assert breaker.snapshot().in_flight == 0
            assert breaker.snapshot().probes_in_flight == 0

        return Scene(operation, lambda: act(breaker, permits[0]), check)

    assert at_every_moment(scene) > 1


def test_c11_no_verdict_of_a_handler_is_lost_or_counted_twice(build: Build):
    """Two failures, one in the midst of the other, are two failures in a row."""

    def scene() -> Scene:
        breaker = build(failure_threshold=3, failure_rate_threshold=1, window_calls=50)
        outer, inner, third = (breaker.acquire() for _ in range(3))

        def check() -> None:
            seen = breaker.snapshot()
            assert (seen.failures, seen.consecutive_failures, tuple(seen.window)) == (2, 2, (2, 2, 0))
            third.failure()
            assert breaker.state is State.OPEN

        return Scene(outer.failure, inner.failure, check)

    assert at_every_moment(scene) > 20


@pytest.mark.parametrize("operation", ["failure", "snapshot", "state", "acquire", "auto"])
def test_c11_who_holds_the_lock_looks_again_after_release(build: Build, clock: Clock, operation: str):
    """A verdict given in the midst of any other operation decides as soon as that is over, without another call."""

    def scene() -> Scene:
        breaker, heard = build(failure_threshold=2, max_concurrent_calls=9), Heard()
        breaker.shadow(**WHO, until=clock.wall + 60)
        verdict, other = breaker.acquire(), breaker.acquire()
        breaker.add_listener(heard)
        if operation != "failure":
            fail(breaker)
        elif operation == "state":
            clock.advance(100)
        operations = {
            "failure": other.failure,
            "snapshot": breaker.snapshot,
            "state": lambda: breaker.state,
            "acquire": lambda: breaker.acquire().ignore(),
            "auto": lambda: breaker.auto(**WHO),
        }

        def check() -> None:
            if operation == "auto" and breaker.state is State.CLOSED:
                return  # the verdict came after the change of mode, which began a new epoch
            assert breaker._driver.machine.condition.state is State.OPEN
            assert heard.states == ["open"]

        return Scene(operations[operation], verdict.failure, check)

    assert at_every_moment(scene) > 1


def test_c8_c11_a_handler_never_gets_past_the_bulkhead(build: Build):
    """What the section decides is not known in its midst: a place is not given on suspicion."""
    most = []

    def scene() -> Scene:
        breaker = build(max_concurrent_calls=1)
        held: list[Permit] = []

        def enter() -> None:
            with suppress(CallRejectedError):
                held.append(breaker.acquire())

        def check() -> None:
            most.append(len(held))
            assert len(held) <= 1
            held.clear()
            assert breaker.snapshot().in_flight == 0

        return Scene(enter, enter, check)

    assert at_every_moment(scene) > 10
    assert set(most) == {1}


@pytest.mark.parametrize(
    ("mode", "admitted"),
    [(Mode.SHADOW, True), (Mode.FORCED_CLOSED, True), (Mode.FORCED_OPEN, False), (Mode.AUTO, False)],
)
def test_c9_c11_a_handler_in_the_section_is_told_what_the_mode_says(
    build: Build, clock: Clock, mode: Mode, admitted: bool
):
    """Shadow and forced closed never refuse, forced open and an open circuit always do, at any moment."""
    answers: set[bool] = set()

    def scene() -> Scene:
        breaker = build()
        fail(breaker)
        if mode is not Mode.AUTO:
            {
                "shadow": breaker.shadow,
                "forced_closed": breaker.force_closed,
                "forced_open": breaker.force_open,
            }[mode](**WHO)

        def ask() -> None:
            try:
                breaker.acquire().ignore()
                answers.add(True)
            except CallRejectedError as error:
                assert error.retry_after >= 0
                answers.add(False)

        return Scene(breaker.snapshot, ask, lambda: None)

    assert at_every_moment(scene) > 1
    assert answers == {admitted}


@contextmanager
def signals(every: float, handler: Callable[[], object]) -> Iterator[None]:
    """Take a signal after each so many seconds of the process's own time."""
    before = signal.signal(signal.SIGVTALRM, lambda number, frame: handler())
    signal.setitimer(signal.ITIMER_VIRTUAL, every, every)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def test_c11_a_timer_may_settle_and_steer_during_a_storm_of_failures(build: Build, clock: Clock):
    """Signals from outside, at no chosen moment, lose no verdict and never wedge."""
    breaker, heard, fired = build(failure_threshold=None, max_concurrent_calls=4), Heard(), [0, 0]
    breaker.add_listener(heard)
    waiting: list[Permit] = []

    def act() -> None:
        fired[0] += 1
        if waiting:
            fired[1] += 1
            waiting.pop().failure()
        with suppress(CallRejectedError):
            breaker.acquire().ignore()

    done = 0
    with signals(0.0005, act):
        while fired[1] < 100 and done < 200_000:
            if not waiting:
                waiting.append(breaker.acquire())
            fail(breaker)
            done += 1
    waiting.clear()
    assert fired[1] >= 100
    seen = breaker.snapshot()
    assert (seen.failures, seen.in_flight, heard.changes) == (done + fired[1], 0, [])


@pytest.mark.parametrize("settle", [Permit.failure, Permit.success, Permit.ignore, lambda permit: None])
def test_c11_a_finaliser_inside_the_section_never_deadlocks(
    build: Build, clock: Clock, settle: Callable[[Permit], object]
):
    """Garbage that holds a permit is collected while we choose the jitter: verdict and place arrive all the same."""

    class Job:
        def __init__(self, permit: Permit) -> None:
            self.permit = permit
            self.myself = self

        def __del__(self) -> None:
            inside.append(breaker._driver.inside())
            settle(self.permit)

    inside: list[bool] = []

    def collect() -> float:
        gc.collect()
        return 0.5

    breaker = build(max_concurrent_calls=2, random=collect)
    gc.disable()
    try:
        Job(breaker.acquire())
        fail(breaker)
    finally:
        gc.enable()
    assert inside == [True]
    seen = breaker.snapshot()
    assert (seen.state, seen.in_flight, breaker._driver._inbox) == (State.OPEN, 0, [])
    half = elsewhere(lambda: (clock.advance(10), succeed(breaker), breaker.state)[-1])
    assert half is State.CLOSED


def test_c11_a_finaliser_may_admit_and_force(build: Build, clock: Clock):
    """An admission in there needs no lock, and an operator's action is done right after."""
    asked: list[object] = []

    class Job:
        def __init__(self) -> None:
            self.myself = self

        def __del__(self) -> None:
            breaker.force_open(**WHO)
            try:
                asked.append(breaker.acquire())
            except CallRejectedError as error:
                asked.append(error)
            asked.append(breaker.snapshot().state)

    def collect() -> float:
        gc.collect()
        return 0.5

    breaker = build(random=collect)
    gc.disable()
    try:
        Job()
        fail(breaker)
    finally:
        gc.enable()
    assert len(asked) == 2
    assert (breaker.mode.mode, breaker.state) == (Mode.FORCED_OPEN, State.OPEN)


def test_c11_settling_never_waits_for_another_thread(build: Build):
    """While one thread is in the section, another's verdict is queued, and heard when the first leaves."""
    told: list[str] = []

    def other() -> None:
        permit.failure()
        told.append("returned")

    def choose() -> float:
        elsewhere(other)
        return 0.5

    breaker = build(random=choose, max_concurrent_calls=2)
    permit = breaker.acquire()
    fail(breaker)
    assert told == ["returned"]
    assert breaker.snapshot().in_flight == 0


def test_the_moments_are_those_of_the_real_interpreter(build: Build):
    """The injector reaches the places where an exception would do most harm: right after the lock is taken."""
    places: set[str] = set()

    def scene() -> Scene:
        breaker = build()
        permit = breaker.acquire()
        return Scene(
            lambda: permit.failure(Boom()),
            lambda: places.add(sys._getframe(3).f_code.co_name),
            lambda: None,
        )

    at_every_moment(scene)
    assert {"failure", "_drain", "settle", "record", "_enter"} <= places
