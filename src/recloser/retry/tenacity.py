"""Parts for tenacity's retries, sync and async: retry outside, the breaker inside every attempt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, Protocol, TypeVar, cast

from recloser.core.breaker import CircuitBreaker
from recloser.core.errors import ConfigurationError, Problem
from recloser.retry.rules import LONGEST_WAIT, Rules

try:
    from tenacity import (
        RetryCallState,
        retry,
        retry_base,
        stop_after_attempt,
        wait_random_exponential,
    )
    from tenacity.stop import stop_base
    from tenacity.wait import wait_base
except ModuleNotFoundError as missing:
    raise ImportError(
        'recloser.retry.tenacity needs tenacity: pip install "recloser[tenacity]"', name="tenacity"
    ) from missing

P = ParamSpec("P")
R = TypeVar("R")


class retry_if(retry_base):  # noqa: N801 - named as tenacity names its own
    """Retries what the breaker counts as a failure, while its circuit lets every call through.

    A refused call is no failure: it is raised at once.

    Args:
        breaker: Guards every attempt.
    """

    def __init__(self, breaker: CircuitBreaker) -> None:
        self._rules = Rules(breaker)

    def __call__(self, retry_state: RetryCallState) -> bool:
        """Judge the attempt that has just ended."""
        outcome = retry_state.outcome
        if outcome is None:
            return False
        error = outcome.exception()
        if error is not None:
            return self._rules.retries_error(error)
        return self._rules.judges_results and self._rules.retries_result(outcome.result())


class stop(stop_base):  # noqa: N801
    """Stops when the call was refused, when the next one would be, and when the retry budget is exhausted.

    It takes a retry from the budget each time that it does not stop, so name it last:
    `stop_after_attempt(3) | stop(breaker)`.

    Args:
        breaker: Guards every attempt.
    """

    def __init__(self, breaker: CircuitBreaker) -> None:
        self._rules = Rules(breaker)

    def __call__(self, retry_state: RetryCallState) -> bool:
        """Decide after an attempt that is to be repeated."""
        outcome = retry_state.outcome
        return self._rules.ends(None if outcome is None else outcome.exception()) or not self._rules.pays()


class wait(wait_base):  # noqa: N801
    """Waits as long as the failure says by `Retry-After` or `retry_after`, else as `otherwise` says.

    Args:
        breaker: Guards every attempt.
        otherwise: How long to wait when nothing was said; by default exponentially from 0.2 s to 5 s at most, with
            full jitter.
        longest: The cap on what was said (seconds).
    """

    def __init__(
        self,
        breaker: CircuitBreaker,
        otherwise: Callable[[RetryCallState], float] | None = None,
        *,
        longest: float = LONGEST_WAIT,
    ) -> None:
        self._rules = Rules(breaker, longest)
        self._otherwise = otherwise or wait_random_exponential(multiplier=0.2, max=5)

    def __call__(self, retry_state: RetryCallState) -> float:
        """Return seconds to wait before the next attempt."""
        outcome = retry_state.outcome
        if outcome is not None:
            error = outcome.exception()
            told = self._rules.told(outcome.result() if error is None else error)
            if told is not None:
                return told
        return self._otherwise(retry_state)


class Retry(Protocol):
    """Decorates a function or coroutine function, which keeps its signature."""

    def __call__(self, function: Callable[P, R], /) -> Callable[P, R]:
        """Retry `function`."""
        ...


def retrying(breaker: CircuitBreaker, attempts: int = 3, *, longest: float = LONGEST_WAIT) -> Retry:
    """Retry a function or coroutine function whose every attempt the breaker guards.

    When no attempt is left, the last one's own exception is raised, or its result returned.

    Args:
        breaker: Guards every attempt: decorate the function with it first, `@retrying(breaker)` above `@breaker`.
        attempts: Calls at most, the first included.
        longest: The cap on a `Retry-After` that is waited for (seconds).

    Raises:
        ConfigurationError: Lists what is wrong with the arguments.
    """
    if not isinstance(cast("object", attempts), int) or attempts < 1:
        raise ConfigurationError(
            [Problem("attempts", repr(attempts), "must be a number of calls, at least 1")]
        )
    decorate: Any = retry(
        retry=retry_if(breaker),
        wait=wait(breaker, longest=longest),
        stop=stop_after_attempt(attempts) | stop(breaker),
        retry_error_callback=_as_it_ended,
    )

    def decorator(function: Callable[P, R], /) -> Callable[P, R]:
        wrapped: Callable[P, R] = decorate(function)
        return wrapped

    return decorator


def _as_it_ended(retry_state: RetryCallState) -> object:
    assert retry_state.outcome is not None  # noqa: S101 - an attempt has ended
    result: object = retry_state.outcome.result()
    return result
