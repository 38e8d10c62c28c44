"""What one request has seen of breakers, and calls that ride on a permit it holds."""

from __future__ import annotations

import contextvars

import pytest

from core.acting import Boom, Clock, elsewhere, fail, half_open, raiser, refused, request_scope, succeed
from core.conftest import Build
from recloser import Outcome, State


def test_a_request_notes_what_troubled_it(build: Build):
    """Rejections, counted failures and fallbacks are noted by breaker; successes are not."""
    with request_scope() as scope:
        succeed(build("fine"))
        assert not scope.troubled
        fail(build("bad"))
        assert (scope.failed, scope.troubled) == ({"bad"}, True)
    with request_scope() as scope:
        closed = build("open")
        elsewhere(lambda: fail(closed))
        refused(closed)
        assert (scope.rejected, scope.failed, scope.troubled) == ({"open"}, set(), True)
        assert closed.protect(fallback="static")(lambda: None)() == "static"
        assert scope.degraded == {"open"}


def test_a_shadowed_refusal_troubles_no_request(build: Build):
    """The call ran: what the request makes is no degraded page."""
    breaker = build()
    fail(breaker)
    breaker.shadow(by="ann", reason="trial")
    with request_scope() as scope:
        breaker.acquire()
        assert not scope.troubled


def test_a_request_is_found_from_copies_of_its_context(build: Build):
    """Thread pools and child tasks note in the same object."""
    breaker = build()
    with request_scope() as scope:
        context = contextvars.copy_context()
    elsewhere(lambda: context.run(fail, breaker))
    assert scope.failed == {"shop"}


def test_an_inner_call_rides_on_a_held_permit(build: Build, clock: Clock):
    """A guard never starves its own probe: the inner call takes no second place, and its outcome is the permit's."""
    breaker = build(max_concurrent_calls=1)
    half_open(breaker, clock)
    with request_scope() as scope:
        permit = breaker.acquire()
        scope.hold(permit)
        assert breaker.call(lambda: "inner") == "inner"
    assert permit.settled
    assert scope.inner_outcome(permit) is Outcome.SUCCESS
    seen = breaker.snapshot()
    assert (seen.state, seen.in_flight, seen.probes) == (State.CLOSED, 0, 1)


@pytest.mark.parametrize("way", ["call", "finish", "failure", "returned"])
def test_the_first_inner_outcome_settles_the_held_permit(build: Build, clock: Clock, way: str):
    """A failure inside is the request's failure, however the inner call says so."""
    breaker = build(failure_if=lambda result: result == "bad")
    half_open(breaker, clock)
    with request_scope() as scope:
        permit = breaker.acquire()
        scope.hold(permit)
        if way == "call":
            with pytest.raises(Boom):
                breaker.call(raiser(Boom()))
        else:
            inner = breaker.acquire()
            argument = {"finish": Boom(), "failure": Boom(), "returned": "bad"}[way]
            for _ in range(2):
                getattr(inner, way)(argument)
        permit.success()
    assert scope.inner_outcome(permit) is Outcome.FAILURE
    assert (breaker.state, scope.failed) == (State.OPEN, {"shop"})


def test_an_ignored_inner_call_leaves_the_permit_to_its_holder(build: Build, clock: Clock):
    """It said nothing about the dependency."""
    breaker = build(ignore=(KeyError,), slow_call_duration=5, slow_call_rate_threshold=1, failure_threshold=1)
    half_open(breaker, clock)
    with request_scope() as scope:
        permit = breaker.acquire()
        scope.hold(permit)
        with pytest.raises(KeyError):
            breaker.call(raiser(KeyError()))
        inner = breaker.acquire()
        inner.ignore()
        inner.answered()
        assert inner.finish(None) is Outcome.IGNORED
        assert inner.returned(1) is Outcome.IGNORED
        inner.failure()
        breaker.acquire()
        assert not permit.settled
        assert scope.inner_outcome(permit) is None
        permit.success()
    assert breaker.state is State.CLOSED


def test_calls_after_the_permit_is_settled_are_calls_of_their_own(build: Build, clock: Clock):
    """There is nothing left to ride on."""
    breaker = build(success_threshold=2)
    half_open(breaker, clock)
    with request_scope() as scope:
        permit = breaker.acquire()
        scope.hold(permit)
        permit.success()
        succeed(breaker)
    assert (breaker.state, breaker.snapshot().probes) == (State.CLOSED, 2)


def test_another_breakers_calls_do_not_ride(build: Build, clock: Clock):
    """A permit is for its own dependency."""
    held, other = build("held", max_concurrent_calls=1), build("other", max_concurrent_calls=1)
    with request_scope() as scope:
        scope.hold(held.acquire())
        inner = other.acquire()
        assert refused(other).breaker == "other"
        inner.failure()
        assert scope.inner_outcome(inner) is None
    assert (held.snapshot().in_flight, other.state) == (1, State.OPEN)
