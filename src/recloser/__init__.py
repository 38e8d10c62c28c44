"""recloser keeps a web application answering while the services behind it fail."""

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
    "Rejection",
    "Rule",
    "Snapshot",
    "State",
    "StateChanged",
    "last_good",
]
