"""tenacity's retries around a breaker: parts that compose with its own, and one that is ready made."""

from __future__ import annotations

import sys

import pytest
import tenacity
from tenacity import RetryCallState, Retrying, stop_after_attempt, stop_never, wait_fixed

from core.acting import Boom, fail, succeed
from recloser import BulkheadFullError, CircuitBreaker, CircuitOpenError, ConfigurationError, retry
from recloser.retry.tenacity import retry_if, retrying, stop, wait


class Told(Boom):
    """A failure that says when to come back."""

    def __init__(self, retry_after: float) -> None:
        self.retry_after = retry_after


class Response:
    def __init__(self, **headers: str) -> None:
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class Answered(Boom):
    """As an HTTP client raises it."""

    def __init__(self, **headers: str) -> None:
        self.response = Response(**headers)


class Script:
    """Raises or returns one thing after another, and counts how often it was called."""

    def __init__(self, *steps: object) -> None:
        self.steps = list(steps)
        self.calls = 0

    def __call__(self) -> object:
        self.calls += 1
        step = self.steps.pop(0) if self.steps else "done"
        if isinstance(step, BaseException):
            raise step
        return step


class Naps(list[float]):
    """Sleeps by moving the clock."""

    def __init__(self, clock) -> None:
        self.clock = clock

    def __call__(self, seconds: float) -> None:
        self.append(seconds)
        self.clock.advance(seconds)

    async def later(self, seconds: float) -> None:
        self(seconds)


@pytest.fixture
def naps(clock) -> Naps:
    return Naps(clock)


def sync_way(breaker: CircuitBreaker, script: Script, naps: Naps, **options):
    @retrying(breaker, **options)
    @breaker
    def charge() -> object:
        return script()

    return charge.retry_with(sleep=naps)


def async_way(breaker: CircuitBreaker, script: Script, naps: Naps, **options):
    @retrying(breaker, **options)
    @breaker
    async def charge() -> object:
        return script()

    retried = charge.retry_with(sleep=naps.later)

    def run() -> object:
        coroutine = retried()
        try:
            coroutine.send(None)
        except StopIteration as end:
            return end.value
        raise AssertionError("suspended")

    return run


both_ways = pytest.mark.parametrize("way", [sync_way, async_way], ids=["sync", "async"])


@both_ways
def test_a_failure_is_tried_again_and_the_result_returned(way, build, naps):
    """Each attempt is a call of the breaker's own."""
    breaker, script = build(), Script(Boom(), Boom(), "paid")

    assert way(breaker, script, naps)() == "paid"

    assert script.calls == 3
    assert (breaker.snapshot().calls, breaker.snapshot().failures) == (3, 2)
    assert retry.counts(breaker) == (2, 0)


@both_ways
def test_the_last_attempt_s_own_exception_is_raised(way, build, naps):
    """Not a RetryError: whoever handled the failure before still does."""
    script = Script(Boom("first"), Boom("second"), Boom("third"))

    with pytest.raises(Boom, match="third"):
        way(build(), script, naps, attempts=3)()

    assert (script.calls, len(naps)) == (3, 2)


@both_ways
def test_a_call_that_succeeds_is_made_once(way, build, naps):
    """Nothing is waited for, nothing taken from the budget."""
    breaker, script = build(), Script("paid")

    assert way(breaker, script, naps)() == "paid"

    assert (script.calls, naps, retry.counts(breaker)) == (1, [], (0, 0))


@both_ways
@pytest.mark.parametrize("error", [KeyError("sku"), ValueError("no such card")], ids=repr)
def test_only_what_the_breaker_counts_is_tried_again(way, build, naps, error):
    """An ignored exception, or one outside `failure_on`, would be the same at the next attempt."""
    breaker, script = build(failure_on=(Boom, KeyError), ignore=(KeyError,)), Script(error)

    with pytest.raises(type(error)):
        way(breaker, script, naps)()

    assert (script.calls, naps) == (1, [])


@both_ways
def test_a_result_that_failure_if_counts_is_tried_again(way, build, naps):
    """When no attempt is left, the last result is returned as it is."""
    breaker = build(failure_if=lambda result: result == "busy")

    assert way(breaker, Script("busy", "paid"), naps)() == "paid"
    assert way(breaker, Script("busy", "busy", "busy", "paid"), naps, attempts=3)() == "busy"


@both_ways
def test_a_refusal_is_raised_at_once(way, build, naps):
    """An open circuit is never waited for, and its dependency not touched."""
    breaker, script = build(failure_threshold=1), Script()
    fail(breaker)

    with pytest.raises(CircuitOpenError):
        way(breaker, script, naps)()

    assert (script.calls, naps, retry.counts(breaker)) == (0, [], (0, 0))
    assert breaker.snapshot().rejected == {"open": 1}


@both_ways
def test_the_failure_that_opens_the_circuit_is_the_last_attempt(way, build, naps):
    """The failure itself is raised: a refusal would only hide it."""
    breaker, script = build(failure_threshold=2), Script(Boom("first"), Boom("second"))

    with pytest.raises(Boom, match="second"):
        way(breaker, script, naps, attempts=9)()

    assert (script.calls, len(naps)) == (2, 1)
    assert breaker.snapshot().rejected == {}


@both_ways
def test_a_circuit_that_opens_during_the_wait_ends_the_retry(way, build, clock):
    """The next attempt is refused, and that is the end of it."""
    breaker, script = build(failure_threshold=3), Script(Boom())
    naps = Naps(clock)
    naps.clock = type("Outage", (), {"advance": lambda self, seconds: fail(breaker, 3)})()

    with pytest.raises(CircuitOpenError):
        way(breaker, script, naps, attempts=9)()

    assert (script.calls, len(naps)) == (1, 1)


@both_ways
def test_a_failed_probe_is_not_tried_again(way, build, naps, clock):
    """The circuit is open again, so the next attempt would be refused."""
    breaker, script = build(failure_threshold=1), Script(Boom())
    fail(breaker)
    clock.advance(600)

    with pytest.raises(Boom):
        way(breaker, script, naps)()

    assert (script.calls, naps) == (1, [])


@both_ways
def test_a_full_bulkhead_is_no_failure_either(way, build, naps):
    """Another attempt would only press harder on the calls in flight."""
    breaker = build(max_concurrent_calls=1)
    held = breaker.acquire()

    with pytest.raises(BulkheadFullError):
        way(breaker, Script(), naps)()

    assert naps == []
    held.success()


@both_ways
@pytest.mark.parametrize("mode", ["force_closed", "shadow"])
def test_a_circuit_that_never_refuses_ends_no_retry(way, build, naps, mode):
    """While an operator keeps the circuit from refusing, attempts go on; one forced open ends them."""
    breaker = build(failure_threshold=1)
    getattr(breaker, mode)(by="ann", reason="test")

    assert way(breaker, Script(Boom(), "paid"), naps)() == "paid"

    breaker.force_open(by="ann", reason="test")
    script = Script(Boom())
    with pytest.raises(CircuitOpenError):
        way(breaker, script, naps)()


@both_ways
@pytest.mark.parametrize(
    "failure", [Told(7), Answered(Retry_After="7"), Answered(Retry_After="Tue, 14 Nov 2023 22:13:27 GMT")]
)
def test_a_wait_is_as_long_as_the_failure_says(way, build, naps, failure):
    """`retry_after` and `Retry-After` are heard; a tenth at most is added, lest all come back as one."""
    way(build(), Script(failure, "paid"), naps)()

    [nap] = naps
    assert 7 <= nap <= 7.7


@both_ways
def test_what_the_failure_says_is_capped(way, build, naps):
    """Nobody sleeps for an hour in a request."""
    way(build(), Script(Told(3600), Told(3600), "paid"), naps, longest=20)()

    assert all(20 <= nap <= 22 for nap in naps)


@both_ways
def test_a_failed_result_may_say_how_long_to_wait(way, build, naps):
    """A response is asked for its `Retry-After` where `failure_if` counts it as a failure."""
    breaker = build(failure_if=lambda result: isinstance(result, Response))

    assert way(breaker, Script(Response(Retry_After="4"), "paid"), naps)() == "paid"

    [nap] = naps
    assert 4 <= nap <= 4.4


@both_ways
def test_an_exhausted_budget_fails_now(way, build, naps):
    """The failure is raised without another attempt or a wait, and counted."""
    breaker = build(failure_threshold=100)
    retry.budget(breaker).configure(floor=1)
    script = Script(*[Boom()] * 9)

    with pytest.raises(Boom):
        way(breaker, script, naps)()

    assert (script.calls, retry.counts(breaker)) == (2, (1, 1))


@both_ways
def test_the_last_attempt_takes_nothing_from_the_budget(way, build, naps):
    """A retry that will not be made need not be paid for."""
    breaker = build(failure_threshold=100)

    with pytest.raises(Boom):
        way(breaker, Script(*[Boom()] * 3), naps, attempts=3)()

    assert retry.counts(breaker) == (2, 0)


def state_of(error: BaseException | None = None, result: object = None) -> RetryCallState:
    state = RetryCallState(Retrying(), None, (), {})
    if error is None:
        state.set_result(result)
    else:
        state.set_exception((type(error), error, None))
    return state


def test_the_parts_compose_with_tenacity_s_own(build, naps):
    """`|`, `&` and `+` take them as they take each other."""
    breaker, script = build(failure_threshold=100), Script(Told(1), ValueError(), Told(2), Told(3))
    composed = Retrying(
        retry=retry_if(breaker) & tenacity.retry_if_not_exception_type(KeyError),
        wait=wait(breaker) + wait_fixed(100),
        stop=stop_after_attempt(4) | stop(breaker),
        sleep=naps,
        reraise=True,
    )

    with pytest.raises(Told):
        composed(breaker(script))

    assert script.calls == 4
    assert [round(nap) // 100 for nap in naps] == [1, 1, 1]


def test_the_wait_asks_the_other_one_when_nothing_was_said(build, naps):
    """`otherwise` is any wait of tenacity's."""
    breaker = build()
    part = wait(breaker, wait_fixed(3))

    assert part(state_of(Boom())) == 3
    assert part(state_of(result="busy")) == 3
    assert part(RetryCallState(Retrying(), None, (), {})) == 3


def test_the_stop_alone_ends_a_retry_that_would_repeat_refusals(build, naps):
    """Under tenacity's own `retry_if_exception_type` a refusal looks like a failure; waiting for it is in vain."""
    breaker = build(failure_threshold=1)
    fail(breaker)
    patient = Retrying(stop=stop_never | stop(breaker), wait=wait(breaker), sleep=naps, reraise=True)

    with pytest.raises(CircuitOpenError):
        patient(breaker(Script()))

    assert naps == []


def test_a_part_asked_before_any_attempt_retries_nothing(build):
    """Tenacity never does; the types allow it."""
    assert not retry_if(build())(RetryCallState(Retrying(), None, (), {}))


def test_a_block_is_retried_too(build, naps):
    """The parts serve tenacity's `for attempt in Retrying(...)` as well."""
    breaker, script = build(), Script(Boom(), "paid")
    seen = []
    for attempt in Retrying(
        retry=retry_if(breaker), stop=stop(breaker), wait=wait(breaker), sleep=naps, reraise=True
    ):
        with attempt, breaker.calling():
            seen.append(script())

    assert seen == ["paid"]


def test_without_tenacity_the_error_names_the_extra(monkeypatch):
    """The import says what to install."""
    monkeypatch.setitem(sys.modules, "tenacity", None)
    monkeypatch.delitem(sys.modules, "recloser.retry.tenacity")

    with pytest.raises(ImportError, match=r'pip install "recloser\[tenacity\]"'):
        import recloser.retry.tenacity  # noqa: F401


def test_calls_of_all_kinds_fill_the_budget(build, naps):
    """Calls that nobody retries count as recent calls too."""
    breaker = build(failure_threshold=100)
    retried = sync_way(breaker, Script(*[Boom()] * 60), naps, attempts=2)
    naps.clock = type("Still", (), {"advance": lambda self, seconds: None})()
    succeed(breaker, 100)

    for _ in range(30):
        with pytest.raises(Boom):
            retried()

    granted = retry.counts(breaker).granted
    assert 25 <= granted <= 30


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("payments",), "breaker must be a breaker, such as registry['payments'], got 'payments'"),
        (("own", 0), "attempts must be a number of calls, at least 1, got 0"),
        (("own", "3"), "attempts must be a number of calls, at least 1, got '3'"),
    ],
)
def test_wrong_arguments_are_told_where_they_are_written(build, arguments, complaint):
    """Not when the first attempt has failed."""
    first, *rest = arguments
    with pytest.raises(ConfigurationError) as caught:
        retrying(build("stock") if first == "own" else first, *rest)

    assert str(caught.value) == complaint
    with pytest.raises(ConfigurationError, match="longest must be a positive number of seconds, got -1"):
        wait(build("stock"), longest=-1)
