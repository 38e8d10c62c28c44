"""Which counted failure of a request a plan answers, although no circuit has refused anything."""

from __future__ import annotations

from recloser.core import retry_after
from recloser.core.breaker import CircuitBreaker
from recloser.core.outcome import Outcome
from recloser.core.state import Mode
from recloser.http.failure import CallFailedError
from recloser.http.fault import of_status
from recloser.http.holder import Holder


def failure_raised(holder: Holder, error: BaseException) -> CallFailedError | None:
    """Find a failure in what came out of an endpoint.

    A breaker must have counted a failure during the request, and its policy must count the exception too. A breaker
    in shadow mode changes no answer.

    Args:
        holder: Of the request; what it held is settled.
        error: The exception.

    Returns:
        The failure of the outermost breaker whose plan answers failures.
    """
    for breaker in _answering(holder):
        driver = breaker._driver  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        if holder.responder.faults.of_error(driver.judge, error) is Outcome.FAILURE:
            wait = retry_after.of(error, driver.wall_clock)
            return CallFailedError(breaker.name, _wait(breaker, wait), error=error)
    return None


def failure_answered(
    holder: Holder, status: int, told: str | None, error: BaseException | None = None
) -> CallFailedError | None:
    """Find a failure in what an endpoint answers.

    Args:
        holder: Of the request; what it holds is settled if there is one, since the plan's own calls are none of it.
        status: Of the answer.
        told: Its `Retry-After`, as written.
        error: What a handler of the application's made the answer of, if that is known.

    Returns:
        As for `failure_raised`. Also where `failure_if` counted what the endpoint returned, whatever the status.
    """
    if of_status(status) is not Outcome.FAILURE and (holder.met is None or not holder.disowned):
        return None
    breaker = next(iter(_answering(holder)), None)
    if breaker is None:
        return None
    if holder.met is not None:
        for hold in holder.holds:
            hold.answered()
        holder.ended(status, told)
    driver = breaker._driver  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    wait = retry_after.parse(told, driver.wall_clock)
    return CallFailedError(breaker.name, _wait(breaker, wait), error=error, status=status)


def _answering(holder: Holder) -> list[CircuitBreaker]:
    registry = holder.responder.registry
    found = [registry[name] for name in holder.counting() if name in registry]
    return [
        breaker
        for breaker in found
        if holder.plan_for(CallFailedError(breaker.name)).answers_failures
        and breaker.mode.mode is not Mode.SHADOW
    ]


def _wait(breaker: CircuitBreaker, told: float | None) -> float:
    policy = breaker.policy
    asked = min(told, policy.recovery_timeout_max) if told is not None and policy.honor_retry_after else 0.0
    return max(asked, breaker.snapshot().retry_after)
