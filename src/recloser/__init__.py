"""recloser keeps a web application answering while the services behind it fail."""

from typing import TYPE_CHECKING

from recloser.core.breaker import CircuitBreaker
from recloser.core.errors import (
    BulkheadFullError,
    CallRejectedError,
    CircuitOpenError,
    ConfigurationError,
    FailedResultError,
    Problem,
    RecloserError,
)
from recloser.core.events import (
    CallRejected,
    Cause,
    Event,
    Listener,
    ModeChanged,
    Rejection,
    Rule,
    StateChanged,
)
from recloser.core.fallback import last_good
from recloser.core.outcome import Outcome
from recloser.core.permit import Permit
from recloser.core.policy import Policy
from recloser.core.snapshot import Snapshot
from recloser.core.state import Mode, State

if TYPE_CHECKING:
    from recloser.registry import Registry, UnknownBreakerError

__all__ = [
    "BulkheadFullError",
    "CallRejected",
    "CallRejectedError",
    "Cause",
    "CircuitBreaker",
    "CircuitOpenError",
    "ConfigurationError",
    "Event",
    "FailedResultError",
    "Listener",
    "Mode",
    "ModeChanged",
    "Outcome",
    "Permit",
    "Policy",
    "Problem",
    "RecloserError",
    "Registry",
    "Rejection",
    "Rule",
    "Snapshot",
    "State",
    "StateChanged",
    "UnknownBreakerError",
    "last_good",
]


def __getattr__(name: str) -> object:
    """Import the registry when it is asked for: who only wants a breaker does not pay for it."""
    if name not in ("Registry", "UnknownBreakerError"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from recloser import registry  # noqa: PLC0415

    found: object = getattr(registry, name)
    return found
