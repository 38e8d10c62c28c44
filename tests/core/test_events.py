"""What a breaker tells its listeners, and when: SEMANTICS C12, promise 4."""

from __future__ import annotations

import dataclasses
import logging
import threading

import pytest

from core.acting import PATIENCE, Boom, Clock, Heard, elsewhere, fail, half_open, raiser, refused, succeed
from core.conftest import Build
from recloser import CallRejected, Cause, Event, ModeChanged, Rejection, Rule, State, StateChanged


def test_c12_an_event_is_a_frozen_record(build: Build, clock: Clock, heard: Heard):
    """It names breaker, moment and epoch, and nobody can change it."""
    breaker = build()
    breaker.add_listener(heard)
    clock.advance(5)
    fail(breaker, error=Boom("down"))
    assert heard == [
        StateChanged(
            breaker="shop",
            at=clock.now,
            epoch=breaker.snapshot().epoch,
            old=State.CLOSED,
            new=State.OPEN,
            cause=Cause(Rule.CONSECUTIVE_FAILURES, 1, 0, 1),
            last_failure="Boom: down",
            retry_after=10.0,
        )
    ]
    with pytest.raises(dataclasses.FrozenInstanceError):
        heard[0].at = 0  # type: ignore[misc]


def test_c12_a_refusal_is_told_with_its_reason(build: Build, clock: Clock, heard: Heard):
    """Each refused call, on its own thread."""
    breaker = build()
    fail(breaker)
    breaker.add_listener(heard)
    clock.advance(4)
    refused(breaker)
    epoch = breaker.snapshot().epoch
    assert heard == [
        CallRejected(breaker="shop", at=clock.now, epoch=epoch, reason=Rejection.OPEN, retry_after=6.0)
    ]
    threads: list[int] = []
    breaker.add_listener(lambda event: threads.append(threading.get_ident()))
    other = elsewhere(lambda: (refused(breaker), threading.get_ident())[1])
    assert threads == [other]


def test_c12_a_transition_is_told_before_the_call_that_made_it_goes_on(
    build: Build, clock: Clock, heard: Heard
):
    """The half-open transition is delivered as its probe is admitted, not when the probe ends."""
    breaker = build()
    half_open(breaker, clock)
    breaker.add_listener(heard)
    probe = breaker.acquire()
    assert heard.states == ["half_open"]
    probe.success()
    assert heard.states == ["half_open", "closed"]


def test_c12_an_unsubscribed_listener_hears_nothing_more(build: Build, heard: Heard):
    """The function that `add_listener` returns ends that subscription alone, once."""
    breaker, others = build(), Heard()
    end = breaker.add_listener(heard)
    breaker.add_listener(others)
    end()
    end()
    fail(breaker)
    assert (heard, others.states) == ([], ["open"])


def test_c12_a_listener_added_twice_is_two_subscriptions(build: Build, heard: Heard):
    """Ending one leaves the other."""
    breaker = build()
    end = breaker.add_listener(heard)
    breaker.add_listener(heard)
    end()
    fail(breaker)
    assert heard.states == ["open"]


def test_c12_a_raising_listener_harms_nobody(build: Build, heard: Heard, caplog: pytest.LogCaptureFixture):
    """The call, the other listeners and later events go on; the log says who raised on what."""
    breaker = build()
    breaker.add_listener(raiser(ValueError("my mistake")))
    breaker.add_listener(heard)
    error = Boom()
    with caplog.at_level(logging.ERROR, "recloser"), pytest.raises(Boom) as caught:
        breaker.call(raiser(error))
    assert caught.value is error
    with caplog.at_level(logging.ERROR, "recloser"):
        refused(breaker)
    assert [type(event) for event in heard] == [StateChanged, CallRejected]
    assert [record.name for record in caplog.records] == ["recloser", "recloser"]
    assert "breaker 'shop': the listener" in caplog.text
    assert "my mistake" in caplog.text


def test_c12_ctrl_c_in_a_listener_gives_a_probes_place_back(build: Build, clock: Clock, heard: Heard):
    """What ends the process passes through, the call that never ran holds nothing, and later events arrive."""
    breaker = build(max_concurrent_calls=1)
    half_open(breaker, clock)
    end = breaker.add_listener(raiser(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        breaker.acquire()
    end()
    breaker.add_listener(heard)
    seen = breaker.snapshot()
    assert (seen.state, seen.probes_in_flight, seen.in_flight) == (State.HALF_OPEN, 0, 0)
    succeed(breaker)
    assert heard.states == ["closed"]


def test_c12_a_listener_that_acts_on_the_breaker_sees_events_in_order(build: Build, heard: Heard):
    """What it causes is told after what it is being told, to every listener in the same order."""
    breaker, late = build(), Heard()

    def overrule(event: Event) -> None:
        if isinstance(event, StateChanged) and event.new is State.OPEN and event.cause.rule is not Rule.MODE:
            breaker.force_closed(by="robot", reason="never open")
            heard.append(event)

    breaker.add_listener(heard)
    breaker.add_listener(overrule)
    breaker.add_listener(late)
    fail(breaker)
    assert [type(event) for event in late] == [StateChanged, ModeChanged, StateChanged]
    assert late.states == ["open", "closed"]
    assert [type(event) for event in heard] == [StateChanged, StateChanged, ModeChanged, StateChanged]
    assert breaker.state is State.CLOSED


def test_c12_promise_4_a_slow_listener_holds_up_nobody_else(build: Build):
    """While one thread is in a listener, others call, trip, reset and read; events wait for it, in order."""
    breaker, heard = build(), Heard()
    inside, leave = threading.Event(), threading.Event()

    def wait(event: Event) -> None:
        if not inside.is_set():
            inside.set()
            assert leave.wait(PATIENCE)

    breaker.add_listener(wait)
    breaker.add_listener(heard)
    stuck = threading.Thread(target=fail, args=(breaker,))
    stuck.start()
    assert inside.wait(PATIENCE)
    try:

        def live() -> None:
            refused(breaker)
            breaker.reset(by="ann", reason="drill")
            succeed(breaker)
            fail(breaker)
            breaker.snapshot()

        elsewhere(live)
        assert breaker.state is State.OPEN
        assert heard.states == []
    finally:
        leave.set()
        stuck.join(PATIENCE)
    assert heard.states == ["open", "closed", "open"]


@pytest.mark.parametrize("place", ["call", "listener", "failure_on", "ignore", "failure_if", "fallback"])
def test_promise_4_the_lock_is_never_held_while_user_code_runs(build: Build, clock: Clock, place: str):
    """From within each of them another thread can make the breaker decide."""
    decided: list[bool] = []

    def elsewhere_decide(*args: object) -> bool:
        def decide() -> bool:
            breaker.snapshot()
            breaker.force_closed(by="ann", reason="drill")
            breaker.auto(by="ann", reason="drill")
            return True

        if not decided:
            decided.append(elsewhere(decide))
        return False

    knobs = {place: elsewhere_decide} if place in ("failure_on", "ignore", "failure_if") else {}
    breaker = build(max_concurrent_calls=9, **knobs)
    half_open(breaker, clock)
    if place == "listener":
        breaker.add_listener(elsewhere_decide)
        breaker.acquire()
    elif place == "call":
        breaker.call(elsewhere_decide)
    elif place == "failure_if":
        breaker.call(lambda: None)
    elif place == "fallback":
        breaker.protect(fallback=elsewhere_decide, on="failure")(raiser(Boom()))()
    else:
        with pytest.raises(Boom):
            breaker.call(raiser(Boom()))
    assert decided == [True]


@pytest.mark.parametrize(
    ("cause", "text"),
    [
        (Cause(Rule.FAILURE_RATE, 12, 20, 0.5), "failures 12/20 = 60% >= 50%"),
        (Cause(Rule.SLOW_CALL_RATE, 1, 2, 0.5), "slow calls 1/2 = 50% >= 50%"),
        (Cause(Rule.CONSECUTIVE_FAILURES, 5, 0, 5), "5 consecutive failures >= 5"),
        (Cause(Rule.PROBE_FAILED, 1), "probe failed"),
        (Cause(Rule.PROBE_SLOW, 1), "probe slow"),
        (Cause(Rule.RECOVERY_DUE), "recovery due"),
        (Cause(Rule.RESET, by="ann", why="fixed"), "reset by ann: fixed"),
        (Cause(Rule.MODE, why="its end"), "mode: its end"),
        (Cause(Rule.MODE), "mode ended"),
        (Cause(Rule.CONSECUTIVE_FAILURES, number=1, threshold=1), "1 consecutive failure >= 1"),
    ],
)
def test_a_cause_reads_with_its_numbers(cause: Cause, text: str):
    """Logs and pages show what decided."""
    assert str(cause) == text
