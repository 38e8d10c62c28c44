"""Policy: every knob of a breaker, with its default, its unit and its check."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Any, Final, TypeAlias, TypedDict, Unpack, cast

from recloser.core.errors import ConfigurationError, Problem

ErrorTest: TypeAlias = type[BaseException] | Callable[[BaseException], object]
ErrorMatch: TypeAlias = ErrorTest | tuple[ErrorTest, ...]
ResultTest: TypeAlias = Callable[[Any], object]
Seconds: TypeAlias = float | timedelta

DEFAULT_FAILURE_THRESHOLD: Final = 5
DEFAULT_WINDOW_SECONDS: Final = 60.0
SHOWN_LENGTH: Final = 120


class Knobs(TypedDict, total=False):
    """The knobs of a `Policy` as they may be given: durations also as `timedelta`."""

    failure_threshold: int | None
    failure_rate_threshold: float | None
    slow_call_duration: Seconds | None
    slow_call_rate_threshold: float | None
    window_seconds: Seconds | None
    window_calls: int | None
    minimum_calls: int
    recovery_timeout: Seconds
    recovery_backoff: float
    recovery_timeout_max: Seconds
    recovery_jitter: float
    honor_retry_after: bool
    half_open_max_calls: int
    success_threshold: int
    probe_timeout: Seconds
    recovery_ramp: Seconds
    max_concurrent_calls: int | None
    failure_on: ErrorMatch
    ignore: ErrorMatch
    failure_if: ResultTest | None
    startup_time: Seconds | None
    trip_quorum: int
    duration_buckets: Sequence[Seconds]


@dataclass(frozen=True, slots=True, init=False)
class Policy:
    """How one breaker decides. Durations are seconds, rates are ratios 0..1.

    Args:
        **knobs: The attributes below, all optional; durations also as `timedelta`.

    Attributes:
        failure_threshold: Consecutive failures that trip (calls); `None` switches the rule off. Unset, it is
            5, or off when a rate threshold is given.
        failure_rate_threshold: Share of failures in the window that trips (0 < ratio <= 1).
        slow_call_duration: A call that takes at least this long is slow (seconds).
        slow_call_rate_threshold: Share of slow calls in the window that trips (0 < ratio <= 1).
        window_seconds: The window is the last so many seconds. Unset, it is 60, or off with `window_calls`.
        window_calls: The window is the last so many calls.
        minimum_calls: No rate is judged on fewer calls in the window.
        recovery_timeout: Time open before the first probe (seconds).
        recovery_backoff: Each re-open waits this many times longer (factor, at least 1).
        recovery_timeout_max: The longest open period, before jitter (seconds).
        recovery_jitter: Open periods vary by plus or minus this share (0 <= ratio < 1).
        honor_retry_after: A `Retry-After` on the tripping failure lengthens that open period, up to
            `recovery_timeout_max`.
        half_open_max_calls: Concurrent probes.
        success_threshold: Successful probes that close the circuit.
        probe_timeout: A probe's lease: a place whose lease expired is given to another call (seconds).
        recovery_ramp: After closing, a growing share of calls is admitted for this long (seconds).
        max_concurrent_calls: Calls in flight per process; more raise `BulkheadFullError`.
        failure_on: Exception types, or predicates of an exception, that count as failures.
        ignore: Exception types, or predicates of an exception, that never count.
        failure_if: Predicate of a result: true counts the call as a failure.
        startup_time: The dependency's own restart time, used for advice only (seconds).
        trip_quorum: Workers that must have tripped locally before a fleet opens.
        duration_buckets: Upper bounds of a histogram of call durations, for metrics (seconds, rising). Empty: calls
            are not measured.

    Raises:
        ConfigurationError: Lists every knob that is wrong.
    """

    failure_threshold: int | None = DEFAULT_FAILURE_THRESHOLD
    failure_rate_threshold: float | None = None
    slow_call_duration: float | None = None
    slow_call_rate_threshold: float | None = None
    window_seconds: float | None = DEFAULT_WINDOW_SECONDS
    window_calls: int | None = None
    minimum_calls: int = 10
    recovery_timeout: float = 30.0
    recovery_backoff: float = 2.0
    recovery_timeout_max: float = 600.0
    recovery_jitter: float = 0.1
    honor_retry_after: bool = True
    half_open_max_calls: int = 1
    success_threshold: int = 1
    probe_timeout: float = 30.0
    recovery_ramp: float = 0.0
    max_concurrent_calls: int | None = None
    failure_on: tuple[ErrorTest, ...] = (Exception,)
    ignore: tuple[ErrorTest, ...] = ()
    failure_if: ResultTest | None = None
    startup_time: float | None = None
    trip_quorum: int = 1
    duration_buckets: tuple[float, ...] = ()

    def __init__(self, **knobs: Unpack[Knobs]) -> None:
        values, problems = check(knobs)
        if problems:
            raise ConfigurationError(problems)
        for knob, value in values.items():
            object.__setattr__(self, knob, value)

    @property
    def judges_rates(self) -> bool:
        """Whether any rule looks at the window."""
        return self.failure_rate_threshold is not None or self.slow_call_rate_threshold is not None

    @property
    def times_calls(self) -> bool:
        """Whether calls are timed: to find slow ones, or for metrics."""
        return self.slow_call_duration is not None or bool(self.duration_buckets)


def check(knobs: Mapping[str, object]) -> tuple[dict[str, Any], list[Problem]]:
    """Complete and check the knobs of a policy without building it.

    Args:
        knobs: Knob names to values; unknown names are problems.

    Returns:
        Every knob with its effective value, and the problems found (the values mean nothing if there are any).
        A problem's path is the bare name of the knob.
    """
    problems: list[Problem] = []
    values: dict[str, Any] = dict(_DEFAULTS)
    for knob, value in knobs.items():
        if knob not in _CHECKS:
            problems.append(Problem(knob, shown(value), f"is no policy setting{nearest(knob, _CHECKS)}"))
            continue
        good, fix = _CHECKS[knob](value)
        if fix:
            problems.append(Problem(knob, shown(value), fix))
        else:
            values[knob] = good
    if not problems:
        _settle_alternatives(knobs, values)
        problems.extend(_impossible_pairs(values))
    return values, problems


def nearest(name: str, known: Mapping[str, object]) -> str:
    """Suggest the known name most like `name`: `" (did you mean 'x'?)"`, or `""` if none is alike."""
    import difflib  # noqa: PLC0415 - only a mistake pays for it

    match = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {match[0]!r}?)" if match else ""


def shown(value: object) -> str:
    """Show a value in an error: bounded, whatever its `repr` does."""
    try:
        text = repr(value)
    except Exception:
        return f"<{type(value).__name__}>"
    return text if len(text) <= SHOWN_LENGTH else text[: SHOWN_LENGTH - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _settle_alternatives(given: Mapping[str, object], values: dict[str, Any]) -> None:
    rates = values["failure_rate_threshold"], values["slow_call_rate_threshold"]
    if "failure_threshold" not in given and rates != (None, None):
        values["failure_threshold"] = None
    if "window_seconds" not in given and values["window_calls"] is not None:
        values["window_seconds"] = None


def _impossible_pairs(values: Mapping[str, Any]) -> list[Problem]:
    problems: list[Problem] = []

    def wrong(knob: str, fix: str) -> None:
        problems.append(Problem(knob, shown(values[knob]), fix))

    calls, judged = values["window_calls"], values["minimum_calls"]
    rates = values["failure_rate_threshold"], values["slow_call_rate_threshold"]
    if (values["window_seconds"] is None) == (calls is None):
        wrong("window_calls", "and window_seconds: exactly one must be set")
    elif calls is not None and rates != (None, None) and judged > calls:
        wrong("minimum_calls", f"must be at most window_calls ({calls}), or no rate is ever judged")
    if (values["slow_call_duration"] is None) != (rates[1] is None):
        wrong("slow_call_duration", "and slow_call_rate_threshold must be set together")
    if values["recovery_timeout"] > values["recovery_timeout_max"]:
        wrong(
            "recovery_timeout", f"must be at most recovery_timeout_max ({values['recovery_timeout_max']:g} s)"
        )
    return problems


# A check returns the value to keep, and the fix ("" if there is nothing to mend).
_Check: TypeAlias = Callable[[object], tuple[object, str]]


def _number(value: object) -> float | None:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _seconds(*, least: str) -> _Check:
    def run(value: object) -> tuple[object, str]:
        number = _number(value)
        if number is None or number < 0 or (number == 0 and least == "positive"):
            return None, f"must be a {least} number of seconds (or a timedelta)"
        return number, ""

    return run


def _calls(value: object) -> tuple[object, str]:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        return None, "must be a whole number, at least 1"
    return value, ""


def _ratio(value: object) -> tuple[object, str]:
    number = None if isinstance(value, timedelta) else _number(value)
    if number is None or not 0 < number <= 1:
        return None, "must be a ratio above 0 and at most 1"
    return number, ""


def _jitter(value: object) -> tuple[object, str]:
    number = None if isinstance(value, timedelta) else _number(value)
    if number is None or not 0 <= number < 1:
        return None, "must be a ratio from 0 to below 1"
    return number, ""


def _factor(value: object) -> tuple[object, str]:
    number = None if isinstance(value, timedelta) else _number(value)
    if number is None or number < 1:
        return None, "must be a number, at least 1"
    return number, ""


def _flag(value: object) -> tuple[object, str]:
    return value, "" if isinstance(value, bool) else "must be true or false"


def _buckets(value: object) -> tuple[object, str]:
    given = cast("Sequence[object]", value) if isinstance(value, tuple | list) else (None,)
    bounds = [_number(bound) or 0.0 for bound in given]
    if not all(low < high for low, high in zip([0.0, *bounds], bounds, strict=False)):
        return None, "must be a list of rising, positive numbers of seconds (or timedeltas)"
    return tuple(bounds), ""


def _error_match(value: object) -> tuple[object, str]:
    tests = cast("Sequence[object]", value) if isinstance(value, tuple | list) else (value,)
    for test in tests:
        if isinstance(test, type):
            if not issubclass(test, BaseException):
                return None, f"must name exception types or predicates; {test.__name__} is not an exception"
        elif not callable(test):
            return None, "must be an exception type, a predicate of an exception, or a tuple of these"
    return tuple(tests), ""


def _result_test(value: object) -> tuple[object, str]:
    return value, "" if callable(value) else "must be a function of the result"


def _optional(required: _Check) -> _Check:
    def run(value: object) -> tuple[object, str]:
        return (None, "") if value is None else required(value)

    return run


_SOME_TIME = _seconds(least="positive")
_CHECKS: Final[Mapping[str, _Check]] = {
    "failure_threshold": _optional(_calls),
    "failure_rate_threshold": _optional(_ratio),
    "slow_call_duration": _optional(_SOME_TIME),
    "slow_call_rate_threshold": _optional(_ratio),
    "window_seconds": _optional(_SOME_TIME),
    "window_calls": _optional(_calls),
    "minimum_calls": _calls,
    "recovery_timeout": _SOME_TIME,
    "recovery_backoff": _factor,
    "recovery_timeout_max": _SOME_TIME,
    "recovery_jitter": _jitter,
    "honor_retry_after": _flag,
    "half_open_max_calls": _calls,
    "success_threshold": _calls,
    "probe_timeout": _SOME_TIME,
    "recovery_ramp": _seconds(least="non-negative"),
    "max_concurrent_calls": _optional(_calls),
    "failure_on": _error_match,
    "ignore": _error_match,
    "failure_if": _optional(_result_test),
    "startup_time": _optional(_seconds(least="non-negative")),
    "trip_quorum": _calls,
    "duration_buckets": _buckets,
}
_DEFAULTS: Final[Mapping[str, object]] = {field.name: field.default for field in fields(Policy)}
