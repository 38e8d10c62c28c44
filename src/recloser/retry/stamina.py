"""The `on` hook for stamina's retries, sync and async: retry outside, the breaker inside every attempt."""

from __future__ import annotations

from collections.abc import Callable

from recloser.core.breaker import CircuitBreaker
from recloser.retry.rules import LONGEST_WAIT, Rules


def on(breaker: CircuitBreaker, *, longest: float = LONGEST_WAIT) -> Callable[[Exception], bool | float]:
    """Make the hook: `@stamina.retry(on=on(breaker), attempts=3)` above `@breaker`.

    It retries what the breaker counts as a failure, while its circuit lets every call through and its retry budget
    lasts, and waits as long as `Retry-After` or `retry_after` says. stamina asks after its last attempt as well, so
    that a call that fails for good takes one retry more from the budget than it made.

    Args:
        breaker: Guards every attempt.
        longest: The cap on what the failure says (seconds).

    Raises:
        ConfigurationError: Lists what is wrong with the arguments.
    """
    rules = Rules(breaker, longest)

    def decide(error: Exception) -> bool | float:
        if not rules.retries_error(error) or not rules.pays():
            return False
        told = rules.told(error)
        return True if told is None else told

    return decide
