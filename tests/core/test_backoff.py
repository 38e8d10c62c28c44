"""How long an open circuit stays open: SEMANTICS C6."""

from __future__ import annotations

import random
from email.utils import formatdate
from types import SimpleNamespace
from typing import Any

import pytest

from core.acting import Boom, Clock, fail, half_open, raiser, refused, succeed
from core.conftest import Build
from recloser import CircuitBreaker, State


def period(breaker: CircuitBreaker) -> float:
    assert breaker.state is State.OPEN
    return breaker.snapshot().retry_after


def fail_a_probe(breaker: CircuitBreaker, clock: Clock) -> None:
    clock.advance(period(breaker))
    fail(breaker)


def test_c6_each_reopening_waits_longer_up_to_the_cap(build: Build, clock: Clock):
    """The open period grows by `recovery_backoff` and stays at `recovery_timeout_max`."""
    breaker = build(recovery_backoff=3, recovery_timeout_max=100)
    fail(breaker)
    periods = []
    for _ in range(5):
        periods.append(period(breaker))
        fail_a_probe(breaker, clock)
    assert periods == [10, 30, 90, 100, 100]


def test_c6_a_lasting_close_resets_the_backoff(build: Build, clock: Clock):
    """A close that outlived ramp and recovery time-out is a recovery; the next trip starts at the beginning."""
    breaker = build(recovery_ramp=5)
    fail(breaker)
    fail_a_probe(breaker, clock)
    clock.advance(20)
    succeed(breaker)
    clock.advance(15)
    fail(breaker)
    assert (period(breaker), breaker.snapshot().reopenings) == (10, 0)


def test_c6_a_flapping_dependency_backs_off(build: Build, clock: Clock):
    """A close alone resets nothing: tripping again soon after goes on where the backoff was."""
    breaker = build(recovery_ramp=5)
    half_open(breaker, clock)
    periods = []
    for _ in range(4):
        succeed(breaker)
        clock.advance(14.9)
        fail(breaker)
        periods.append(period(breaker))
        clock.advance(periods[-1])
    assert periods == [20, 40, 80, 160]


@pytest.mark.parametrize("way", ["reset", "mode"])
def test_c6_only_a_close_by_probes_can_flap(build: Build, clock: Clock, way: str):
    """Tripping right after an operator's reset, or after a mode has been lifted, starts at the beginning."""
    breaker = build()
    fail(breaker)
    fail_a_probe(breaker, clock)
    assert period(breaker) == 20
    if way == "reset":
        breaker.reset(by="ann", reason="fixed")
    else:
        breaker.force_closed(by="ann", reason="drill")
        breaker.auto(by="ann", reason="done")
    fail(breaker)
    assert period(breaker) == 10


@pytest.mark.parametrize(("dice", "expected"), [(0.0, 8), (0.5, 10), (0.75, 11)])
def test_c6_open_periods_are_jittered_by_injected_randomness(
    build: Build, clock: Clock, dice: float, expected: float
):
    """The period varies by plus or minus `recovery_jitter`, one number per period."""
    asked = []
    breaker = build(recovery_jitter=0.2, random=lambda: asked.append(dice) or dice)
    fail(breaker)
    assert period(breaker) == pytest.approx(expected)
    assert asked == [dice]
    clock.advance(5)
    refused(breaker)
    clock.advance(period(breaker))
    succeed(breaker)
    assert asked == [dice]


def test_c6_jitter_draws_from_the_library_by_default(clock: Clock):
    """Without an injected source, breakers that open together do not probe together."""
    random.seed(7)
    expected = 10 * (1 + 0.5 * (2 * random.random() - 1))
    random.seed(7)
    breaker = CircuitBreaker(
        "shop", clock=clock, failure_threshold=1, recovery_timeout=10, recovery_jitter=0.5
    )
    fail(breaker)
    assert period(breaker) == pytest.approx(expected)


def test_c6_endless_reopening_never_overflows(build: Build, clock: Clock):
    """After two thousand reopenings the period is the cap, not an error."""
    breaker = build(recovery_backoff=1e10, recovery_timeout_max=50)
    fail(breaker)
    for _ in range(2000):
        fail_a_probe(breaker, clock)
    assert (period(breaker), breaker.snapshot().reopenings) == (50, 2000)


class Asking(Exception):
    """A failure that says when to come back."""

    def __init__(self, **facts: Any) -> None:
        self.__dict__.update(facts)


def headers(value: object) -> SimpleNamespace:
    return SimpleNamespace(headers={"Retry-After": value})


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (Asking(retry_after=40), 40),
        (Asking(retry_after="40"), 40),
        (Asking(retry_after=40.5), 40.5),
        (Asking(response=headers("40")), 40),
        (Asking(response=headers(" 40 ")), 40),
        (Asking(headers={"Retry-After": "40"}), 40),
        (Asking(retry_after=3), 10),
        (Asking(retry_after=-3), 10),
        (Asking(retry_after=1e9), 600),
        (Asking(retry_after="9" * 5000), 600),
        (Asking(retry_after=10**400), 10),
        (Asking(retry_after=float("nan")), 10),
        (Asking(retry_after=float("inf")), 10),
        (Asking(retry_after="soon"), 10),
        (Asking(retry_after="-4"), 10),
        (Asking(retry_after="４０"), 10),
        (Asking(retry_after=None, response=headers(None)), 10),
        (Asking(response=SimpleNamespace(headers=None)), 10),
        (Asking(response=SimpleNamespace(headers=3)), 10),
        (Asking(response=headers("Mon, 99 Foo 2026 99:99:99 GMT")), 10),
        (Boom(), 10),
    ],
)
def test_c6_retry_after_of_the_tripping_failure_lengthens_its_period(
    build: Build, error: Exception, expected: float
):
    """RFC 9110 §10.2.3: seconds, from the exception or its response, up to the cap; nonsense changes nothing."""
    breaker = build()
    with pytest.raises(type(error)):
        breaker.call(raiser(error))
    assert period(breaker) == expected


@pytest.mark.parametrize(("ahead", "expected"), [(45, 45), (-45, 10)])
def test_c6_c14_retry_after_may_be_an_http_date(build: Build, clock: Clock, ahead: float, expected: float):
    """A date is measured against the wall clock."""
    breaker = build()
    fail(breaker, error=Asking(response=headers(formatdate(clock.wall + ahead, usegmt=True))))
    assert period(breaker) == expected


@pytest.mark.parametrize("value", [0, 0.25, "0", -1], ids=["number", "fraction", "text", "negative"])
def test_c6_a_retry_after_below_a_second_is_what_it_says(build: Build, value: object):
    """Where the policy recovers faster still, the number is kept exactly."""
    breaker = build(recovery_timeout=0.125)
    fail(breaker, error=Asking(retry_after=value))
    assert period(breaker) == (0.25 if value == 0.25 else 0.125)


def test_c6_a_failed_result_may_ask_too(build: Build):
    """A response that `failure_if` counts as a failure is asked for its header like an exception's response."""
    breaker = build(failure_if=lambda response: response is answer)
    answer = headers("40")
    assert breaker.call(lambda: answer) is answer
    assert period(breaker) == 40


@pytest.mark.parametrize(("seconds", "expected"), [(40, 40), (1e9, 600), (-3, 10)])
def test_c6_a_verdict_may_carry_its_retry_after(build: Build, seconds: float, expected: float):
    """Who settles by hand says it himself, and that is what counts."""
    breaker = build()
    breaker.acquire().failure(Asking(retry_after=77), retry_after=seconds)
    assert period(breaker) == expected


@pytest.mark.parametrize("nonsense", [float("nan"), float("inf"), 10**400, "soon", [], b"5"])
def test_c6_a_verdict_with_a_nonsensical_retry_after_counts_all_the_same(build: Build, nonsense: Any):
    """The failure trips, and the period is the policy's or the cap's."""
    breaker = build()
    breaker.acquire().failure(retry_after=nonsense)
    assert period(breaker) in (10, 600)


def test_c6_a_probe_may_ask_too(build: Build, clock: Clock):
    """The failure that re-opens a circuit is a tripping failure; its wait is not jittered."""
    breaker = build(recovery_jitter=0.5, random=lambda: 0.0)
    half_open(breaker, clock)
    fail(breaker, error=Asking(retry_after=90))
    assert period(breaker) == 90


def test_c6_only_the_tripping_failure_is_asked(build: Build):
    """What earlier failures of the run asked for is over."""
    breaker = build(failure_threshold=2)
    fail(breaker, error=Asking(retry_after=90))
    fail(breaker)
    assert period(breaker) == 10


def test_c6_retry_after_can_be_left_unheard(build: Build):
    """`honor_retry_after=False` leaves the period to the policy."""
    for error, wait in ((Asking(retry_after=90), None), (None, 90)):
        breaker = build(honor_retry_after=False)
        breaker.acquire().failure(error, retry_after=wait)
        assert period(breaker) == 10


class Hostile(Exception):
    @property
    def retry_after(self) -> float:
        raise Boom


class HostileNumber(float):
    def __lt__(self, other: object) -> bool:
        raise Boom

    __gt__ = __le__ = __ge__ = __mul__ = __lt__


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (Hostile(), 10),
        (Asking(retry_after=HostileNumber(40)), 40),
        (Asking(headers=SimpleNamespace(get=raiser(Boom()))), 10),
    ],
)
def test_c6_a_hostile_retry_after_harms_nobody(build: Build, error: Exception, expected: float):
    """An attribute that raises is an attribute that says nothing; the caller gets his own exception."""
    breaker = build()

    @breaker
    def fetch() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        fetch()
    assert caught.value is error
    assert period(breaker) == expected
