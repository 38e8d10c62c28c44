"""C11: calls that come from within a breaker's own locked section, as a finaliser's or a signal handler's may."""

from __future__ import annotations

from typing import Any

import pytest

from core.acting import Boom, Clock, fail
from core.conftest import Build
from recloser import BulkheadFullError, CallRejectedError, CircuitBreaker, CircuitOpenError, Policy, State
from recloser.core.errors import ConfigurationError


def ask_inside(breaker: CircuitBreaker) -> object:
    """Make a call while the section is ours; what it settles is settled afterwards."""

    def ask() -> object:
        try:
            breaker.acquire().success()
        except CallRejectedError as error:
            return type(error), str(error.reason)
        return "admitted"

    return breaker._driver.run(ask)


WHO: dict[str, Any] = {"by": "ann", "reason": "drill"}


def test_while_closed_a_call_is_admitted_uncounted(build: Build, clock: Clock):
    """It waits for nothing, and takes no part in the counting that it interrupts."""
    breaker = build(recovery_ramp=50)
    fail(breaker)
    clock.advance(10)
    breaker.acquire().success()
    assert ask_inside(breaker) == "admitted"
    assert breaker.state is State.CLOSED


def test_a_place_is_refused(build: Build):
    """Whether there is one cannot be told from here: refusing keeps the bound."""
    assert ask_inside(build(max_concurrent_calls=2)) == (BulkheadFullError, "bulkhead")


def test_promise_4_a_listener_hears_of_a_refusal_after_the_section(build: Build):
    """Not even a refusal from within lets a listener run under the lock."""
    breaker = build()
    fail(breaker)
    under_the_lock: list[bool] = []
    breaker.add_listener(lambda event: under_the_lock.append(breaker._driver.inside()))
    assert ask_inside(breaker) == (CircuitOpenError, "open")
    assert under_the_lock == [False]


def test_while_open_a_call_is_refused(build: Build, clock: Clock):
    """Also when it would have been the probe."""
    breaker = build()
    fail(breaker)
    clock.advance(10)
    assert ask_inside(breaker) == (CircuitOpenError, "half_open")


def test_the_mode_is_obeyed(build: Build):
    """Forced open refuses, shadow never does."""
    breaker = build()
    fail(breaker)
    breaker.shadow(**WHO)
    assert ask_inside(breaker) == "admitted"
    breaker.force_open(**WHO)
    assert ask_inside(breaker) == (CircuitOpenError, "forced_open")


def test_an_operator_acts_as_soon_as_the_section_is_left(build: Build):
    """Steering from within neither waits nor gets lost."""
    breaker = build()
    seen = breaker._driver.run(lambda: (breaker.force_open(**WHO), breaker.state, breaker.snapshot().window))
    assert seen == (None, State.CLOSED, (0, 0, 0))
    assert breaker.state is State.OPEN


@pytest.mark.parametrize("refusal", [False, True])
def test_an_admission_that_a_listener_interrupts_is_given_back(build: Build, clock: Clock, refusal: bool):
    """What is raised out of the delivery of events reaches the caller, and the probe's place is free again."""
    breaker = build()
    fail(breaker)
    clock.advance(10)
    held = breaker.acquire() if refusal else None
    if refusal:
        breaker._driver.machine.events.append(None)  # type: ignore[arg-type]
    interrupted: list[object] = []

    def interrupt(event: object) -> None:
        interrupted.append(event)
        raise KeyboardInterrupt

    remove = breaker.add_listener(interrupt)
    with pytest.raises(KeyboardInterrupt):
        breaker.acquire()
    assert len(interrupted) == 1
    remove()
    if held is not None:
        held.ignore()
    breaker.acquire().success()
    assert breaker.state is State.CLOSED


def test_a_value_without_a_text_is_refused_all_the_same():
    """An error shows the type of what cannot be shown."""

    class Mute:
        def __repr__(self) -> str:
            raise Boom

    with pytest.raises(ConfigurationError, match="got <Mute>"):
        Policy(failure_threshold=Mute())  # type: ignore[arg-type]
