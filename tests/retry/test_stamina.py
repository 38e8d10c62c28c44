"""stamina's retries around a breaker, by its `on` hook."""

from __future__ import annotations

import pytest
import stamina

from core.acting import Boom, fail
from recloser import CircuitOpenError, retry
from recloser.retry.stamina import on


class Told(Boom):
    retry_after = 7


@pytest.fixture
def waits(monkeypatch):
    """Let stamina sleep in no time, and remember how long it would have."""
    slept = []
    hooks = stamina.instrumentation.get_on_retry_hooks()
    stamina.instrumentation.set_on_retry_hooks([lambda details: slept.append(details.wait_for)])
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda seconds: None)
    yield slept
    stamina.instrumentation.set_on_retry_hooks(hooks)


def scripted(*steps):
    left = list(steps)

    def step():
        error = left.pop(0) if left else None
        if error is not None:
            raise error
        return "paid"

    return step, left


def test_a_failure_is_tried_again_after_the_wait_that_it_asks_for(build, waits):
    """Otherwise stamina's own backoff applies."""
    breaker = build()
    step, _ = scripted(Told(), Boom())

    @stamina.retry(on=on(breaker), attempts=3, wait_initial=0.5, wait_jitter=0)
    @breaker
    def charge():
        return step()

    assert charge() == "paid"
    assert 7 <= waits[0] <= 7.7
    assert waits[1] == pytest.approx(1.0)
    assert retry.counts(breaker) == (2, 0)


@pytest.mark.anyio
async def test_coroutine_functions_are_retried_alike(build, waits):
    """Under asyncio and trio."""
    breaker = build()
    step, _ = scripted(Boom())

    @stamina.retry(on=on(breaker), attempts=3, wait_initial=0, wait_jitter=0)
    @breaker
    async def charge():
        return step()

    assert await charge() == "paid"
    assert breaker.snapshot().calls == 2


def test_what_the_failure_says_is_capped(build):
    """Nobody sleeps for an hour in a request."""
    assert 2 <= on(build(), longest=2)(Told()) <= 2.2


def test_only_what_the_breaker_counts_is_tried_again(build, waits):
    """An exception outside `failure_on` is raised at once."""
    breaker = build(failure_on=(Boom,))
    step, left = scripted(ValueError("no such card"), Boom())

    with pytest.raises(ValueError, match="no such card"):
        stamina.retry(on=on(breaker))(breaker(step))()

    assert len(left) == 1


def test_an_open_circuit_ends_the_retry(build, waits):
    """A refusal, and the failure that opens the circuit, are raised at once."""
    breaker = build(failure_threshold=2)
    step, left = scripted(Boom("first"), Boom("second"), Boom("third"))
    charge = stamina.retry(on=on(breaker), attempts=None, timeout=None)(breaker(step))

    with pytest.raises(Boom, match="second"):
        charge()
    with pytest.raises(CircuitOpenError):
        charge()

    assert (len(left), len(waits)) == (1, 1)


def test_an_exhausted_budget_fails_now(build, waits):
    """The sixth retry of a quiet breaker within ten seconds is not made."""
    breaker = build(failure_threshold=100)
    step, left = scripted(*[Boom()] * 20)

    with pytest.raises(Boom):
        stamina.retry(on=on(breaker), attempts=None, timeout=None)(breaker(step))()

    assert (len(left), retry.counts(breaker)) == (14, (5, 1))


def test_the_last_attempt_asks_as_well(build, waits):
    """Stamina does not tell its hook which attempt is the last: a failed call counts one retry too many."""
    breaker = build(failure_threshold=100)
    step, _ = scripted(*[Boom()] * 9)

    with pytest.raises(Boom):
        stamina.retry(on=on(breaker), attempts=3)(breaker(step))()

    assert retry.counts(breaker) == (3, 0)


def test_stamina_s_test_mode_still_works(build):
    """Its deactivated and testing modes are not ours to change."""
    breaker = build()
    fail(breaker)
    step, left = scripted(Told(), Told(), Told())
    with stamina.set_testing(True, attempts=2), pytest.raises(Told):
        stamina.retry(on=on(breaker), attempts=9)(breaker(step))()

    assert len(left) == 1
