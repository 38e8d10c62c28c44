"""How near a breaker's window is to tripping."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from recloser.core.policy import Policy
from recloser.stores.view import Belief, Shared


class Window(NamedTuple):
    """Counts that rules are judged on.

    Attributes:
        whose: `"fleet"` where the store judges; `"worker"`: those of the worker that is nearest to tripping.
        calls, failures, slow: In the window (calls).
        consecutive: The longest present run of failures of any worker (calls).
    """

    whose: str
    calls: int = 0
    failures: int = 0
    slow: int = 0
    consecutive: int = 0


def window_of(policy: Policy | None, shared: Shared | None, beliefs: Sequence[Belief]) -> Window:
    """Choose the counts that decide."""
    run = max((belief.consecutive for belief in beliefs), default=0)
    if (
        shared is not None
        and policy is not None
        and policy.judges_rates
        and policy.window_seconds is not None
    ):
        return Window("fleet", shared.calls, shared.failures, shared.slow, run)
    own = [
        Window("worker", belief.window_calls, belief.window_failures, belief.window_slow, run)
        for belief in beliefs
    ]
    return max(own, key=lambda window: (pressure(policy, window), window.calls), default=Window("worker"))


def pressure(policy: Policy | None, window: Window) -> float:
    """Return how near the window is to tripping: 0 far, 1 there."""
    if policy is None:
        return 0.0
    near = 0.0
    if policy.failure_threshold is not None:
        near = window.consecutive / policy.failure_threshold
    if window.calls:
        judged = min(1.0, window.calls / policy.minimum_calls)
        if policy.failure_rate_threshold is not None:
            near = max(near, judged * window.failures / window.calls / policy.failure_rate_threshold)
        if policy.slow_call_rate_threshold is not None:
            near = max(near, judged * window.slow / window.calls / policy.slow_call_rate_threshold)
    return min(1.0, near)


def described(policy: Policy | None, window: Window) -> dict[str, Any]:
    """Describe the window beside its thresholds."""
    calls = window.calls
    return {
        "whose": window.whose,
        "seconds": policy.window_seconds if policy is not None and policy.judges_rates else None,
        "length": policy.window_calls if policy is not None else None,
        "calls": calls,
        "failures": window.failures,
        "slow": window.slow,
        "consecutive": window.consecutive,
        "failure_rate": round(window.failures / calls, 4) if calls else None,
        "slow_rate": round(window.slow / calls, 4) if calls else None,
        "minimum_calls": policy.minimum_calls if policy is not None else None,
        "failure_threshold": policy.failure_threshold if policy is not None else None,
        "failure_rate_threshold": policy.failure_rate_threshold if policy is not None else None,
        "slow_rate_threshold": policy.slow_call_rate_threshold if policy is not None else None,
        "pressure": round(pressure(policy, window), 4),
    }
