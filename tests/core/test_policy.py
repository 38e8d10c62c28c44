"""Policy: every knob's default, unit and check."""

from __future__ import annotations

import dataclasses
import math
from datetime import timedelta
from typing import Any

import pytest

from recloser import CircuitBreaker, ConfigurationError, Policy
from recloser.core.policy import check

DEFAULTS: dict[str, Any] = {
    "failure_threshold": 5,
    "failure_rate_threshold": None,
    "slow_call_duration": None,
    "slow_call_rate_threshold": None,
    "window_seconds": 60.0,
    "window_calls": None,
    "minimum_calls": 10,
    "recovery_timeout": 30.0,
    "recovery_backoff": 2.0,
    "recovery_timeout_max": 600.0,
    "recovery_jitter": 0.1,
    "honor_retry_after": True,
    "half_open_max_calls": 1,
    "success_threshold": 1,
    "probe_timeout": 30.0,
    "recovery_ramp": 0.0,
    "max_concurrent_calls": None,
    "failure_on": (Exception,),
    "ignore": (),
    "failure_if": None,
    "startup_time": None,
    "trip_quorum": 1,
    "duration_buckets": (),
}
SECONDS = [
    "recovery_timeout",
    "recovery_timeout_max",
    "probe_timeout",
    "slow_call_duration",
    "window_seconds",
]
CALLS = ["failure_threshold", "window_calls", "minimum_calls", "half_open_max_calls", "success_threshold"]
CALLS += ["max_concurrent_calls", "trip_quorum"]
RATIOS = ["failure_rate_threshold", "slow_call_rate_threshold"]


def problems(**knobs: Any) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        Policy(**knobs)
    return [str(problem) for problem in caught.value.problems]


def test_the_defaults_are_those_of_the_table():
    """A policy without knobs is the documented one, and no knob is undocumented."""
    assert dataclasses.asdict(Policy()) == DEFAULTS


@pytest.mark.parametrize(
    "rate", [{"failure_rate_threshold": 0.5}, {"slow_call_rate_threshold": 0.5, "slow_call_duration": 1}]
)
def test_b4_failure_threshold_is_off_by_default_where_a_rate_is_set(rate: dict[str, float]):
    """Five failures in a row happen by chance under load: a rate alone decides unless both are asked for."""
    assert Policy(**rate).failure_threshold is None
    assert Policy(**rate, failure_threshold=5).failure_threshold == 5
    assert Policy(failure_threshold=None).failure_threshold is None


def test_a_call_window_replaces_the_time_window():
    """Exactly one window is set: naming one clears the default of the other."""
    assert Policy(window_calls=100).window_seconds is None
    assert problems(window_calls=100, window_seconds=60) == [
        "window_calls and window_seconds: exactly one must be set, got 100"
    ]
    assert problems(window_seconds=None) == [
        "window_calls and window_seconds: exactly one must be set, got None"
    ]


def test_durations_may_be_timedeltas():
    """Seconds are floats, however they were given."""
    policy = Policy(recovery_timeout=timedelta(minutes=2), probe_timeout=5)
    assert (policy.recovery_timeout, policy.probe_timeout) == (120.0, 5.0)
    assert type(policy.probe_timeout) is float


@pytest.mark.parametrize("knob", SECONDS)
@pytest.mark.parametrize("value", [0, -1, "30s", True, math.nan, math.inf, 10**400, timedelta(0)])
def test_seconds_are_positive_finite_numbers(knob: str, value: object):
    """Zero, negative, endless, boolean and textual durations are refused with the fix."""
    (problem,) = problems(**{knob: value})
    told = f"{knob} must be a positive number of seconds (or a timedelta), got {value!r}"
    assert problem == (told if len(repr(value)) <= 120 else f"{told[: len(told) - len(repr(value)) + 119]}…")


@pytest.mark.parametrize("knob", ["recovery_ramp", "startup_time"])
def test_some_seconds_may_be_zero(knob: str):
    """No ramp and no start-up time are values; less than none is not."""
    assert getattr(Policy(**{knob: 0}), knob) == 0.0
    assert problems(**{knob: -0.1}) == [
        f"{knob} must be a non-negative number of seconds (or a timedelta), got -0.1"
    ]


@pytest.mark.parametrize("knob", CALLS)
@pytest.mark.parametrize("value", [0, -1, 1.5, True, "3", timedelta(1)])
def test_calls_are_whole_numbers(knob: str, value: object):
    """A number of calls is an `int` of at least 1."""
    assert f"{knob} must be a whole number, at least 1, got {value!r}" in problems(**{knob: value})


@pytest.mark.parametrize("knob", RATIOS)
@pytest.mark.parametrize("value", [0, 1.01, 50, "0.5", True, timedelta(seconds=0.5)])
def test_rates_are_ratios(knob: str, value: object):
    """A rate is above 0 and at most 1: fifty per cent is 0.5."""
    assert f"{knob} must be a ratio above 0 and at most 1, got {value!r}" in problems(**{knob: value})


def test_a_rate_of_one_is_a_ratio():
    """All calls must fail: that is a rule, too."""
    assert Policy(failure_rate_threshold=1).failure_rate_threshold == 1.0


@pytest.mark.parametrize(
    ("knob", "value", "fix"),
    [
        ("recovery_jitter", 1, "must be a ratio from 0 to below 1"),
        ("recovery_jitter", -0.1, "must be a ratio from 0 to below 1"),
        ("recovery_jitter", timedelta(0), "must be a ratio from 0 to below 1"),
        ("recovery_backoff", 0.9, "must be a number, at least 1"),
        ("recovery_backoff", timedelta(2), "must be a number, at least 1"),
        ("recovery_backoff", "2", "must be a number, at least 1"),
        ("honor_retry_after", 1, "must be true or false"),
        ("failure_on", int, "must name exception types or predicates; int is not an exception"),
        (
            "ignore",
            (OSError, "x"),
            "must be an exception type, a predicate of an exception, or a tuple of these",
        ),
        ("failure_if", 500, "must be a function of the result"),
        *(
            (
                "duration_buckets",
                wrong,
                "must be a list of rising, positive numbers of seconds (or timedeltas)",
            )
            for wrong in (True, 0.5, [0, 1], [1, 1], [2, 1], [0.1, "1"], [0.1, math.inf])
        ),
    ],
)
def test_other_knobs_are_checked(knob: str, value: object, fix: str):
    """Each wrong value is answered with what the knob takes."""
    assert problems(**{knob: value}) == [f"{knob} {fix}, got {value!r}"]


def test_an_unknown_knob_suggests_the_nearest():
    """A typing mistake is named with the knob that was meant, or alone if none is alike."""
    assert problems(recovery_timout=3) == [
        "recovery_timout is no policy setting (did you mean 'recovery_timeout'?), got 3"
    ]
    assert problems(zzz=3) == ["zzz is no policy setting, got 3"]


def test_impossible_pairs_are_refused():
    """Knobs that contradict each other would never act as their author meant."""
    assert problems(failure_rate_threshold=0.5, window_calls=5) == [
        "minimum_calls must be at most window_calls (5), or no rate is ever judged, got 10"
    ]
    assert problems(slow_call_duration=1) == [
        "slow_call_duration and slow_call_rate_threshold must be set together, got 1.0"
    ]
    assert problems(slow_call_rate_threshold=0.5) == [
        "slow_call_duration and slow_call_rate_threshold must be set together, got None"
    ]
    assert problems(recovery_timeout=700) == [
        "recovery_timeout must be at most recovery_timeout_max (600 s), got 700.0"
    ]
    assert Policy(window_calls=5).minimum_calls == 10  # no rate, no contradiction


def test_every_problem_is_listed_at_once():
    """One start shows all that is wrong, and nothing is created."""
    assert len(problems(recovery_timeout="x", minimum_calls=0, colour="red")) == 3
    assert len(problems(recovery_timeout=700, slow_call_duration=1)) == 2
    with pytest.raises(ConfigurationError):
        CircuitBreaker("shop", recovery_timeout=-1)


def test_a_policy_is_an_immutable_value():
    """Policies compare by value and can be shared by breakers."""
    policy = Policy(recovery_timeout=7)
    assert policy == Policy(recovery_timeout=7.0)
    assert hash(policy) == hash(Policy(recovery_timeout=7.0))
    assert policy != Policy()
    with pytest.raises(dataclasses.FrozenInstanceError):
        policy.recovery_timeout = 8  # type: ignore[misc]
    with pytest.raises(TypeError):
        Policy(3)  # type: ignore[call-arg, misc]


def test_checking_builds_nothing():
    """Settings can be checked knob by knob before anything is made of them."""
    values, found = check({"recovery_timeout": 7, "failure_on": [OSError]})
    assert not found
    assert values == DEFAULTS | {"recovery_timeout": 7.0, "failure_on": (OSError,)}


def test_a_breaker_takes_a_policy_or_its_knobs():
    """Both at once would leave open which one wins."""
    policy = Policy(recovery_timeout=7)
    assert CircuitBreaker("shop", policy).policy is policy
    assert CircuitBreaker("shop", recovery_timeout=7).policy == policy
    assert CircuitBreaker("shop").policy == Policy()
    with pytest.raises(
        TypeError, match=r"breaker 'shop': give a policy or its knobs \(minimum_calls\), not both"
    ):
        CircuitBreaker("shop", policy, minimum_calls=3)


def test_a_wrong_knob_is_told_with_its_breaker():
    """A module may make many."""
    with pytest.raises(ConfigurationError) as raised:
        CircuitBreaker("shop", failure_threshold=-1, recovery_timeout="3")
    assert str(raised.value) == (
        "2 problems:\n"
        "- breaker 'shop': failure_threshold must be a whole number, at least 1, got -1\n"
        "- breaker 'shop': recovery_timeout must be a positive number of seconds (or a timedelta), got '3'"
    )


def test_a_breaker_needs_a_name():
    """Errors, events and metrics have to name it."""
    for name in ("", 3, None):
        with pytest.raises(ConfigurationError, match=f"name must be a non-empty string, got {name!r}"):
            CircuitBreaker(name)
