"""What a breaker tells its listeners: frozen records, and the protocol that receives them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol

from recloser.core.state import Epoch, Override, State


class Rule(StrEnum):
    """Which rule caused a transition."""

    CONSECUTIVE_FAILURES = "consecutive_failures"
    FAILURE_RATE = "failure_rate"
    SLOW_CALL_RATE = "slow_call_rate"
    PROBE_FAILED = "probe_failed"
    PROBE_SLOW = "probe_slow"
    PROBE_TIMEOUT = "probe_timeout"
    PROBES_SUCCEEDED = "probes_succeeded"
    RECOVERY_DUE = "recovery_due"
    RESET = "reset"
    MODE = "mode"
    RESTORED = "restored"


class Rejection(StrEnum):
    """Why a call was refused."""

    OPEN = "open"
    HALF_OPEN = "half_open"
    FORCED_OPEN = "forced_open"
    RAMP = "ramp"
    BULKHEAD = "bulkhead"


class Cause(NamedTuple):
    """Why a transition happened, with the numbers and the threshold that decided.

    Attributes:
        rule: The rule that applied.
        number: Calls (failures, slow calls, probes, expired probes) that met the rule.
        total: Calls that it was judged on; 0 where the rule is not a rate.
        threshold: The policy's value: calls, or a ratio 0..1 where `total` is given.
        by: The operator, where one acted.
        why: The operator's reason.
    """

    rule: Rule
    number: int = 0
    total: int = 0
    threshold: float = 0.0
    by: str = ""
    why: str = ""

    def __str__(self) -> str:
        match self.rule:
            case Rule.FAILURE_RATE | Rule.SLOW_CALL_RATE:
                what = "failures" if self.rule is Rule.FAILURE_RATE else "slow calls"
                share = self.number / self.total
                return f"{what} {self.number}/{self.total} = {share:.0%} >= {self.threshold:.0%}"
            case Rule.CONSECUTIVE_FAILURES:
                return f"{_counted(self.number, 'consecutive failure')} >= {self.threshold:g}"
            case Rule.PROBES_SUCCEEDED:
                return f"{_counted(self.number, 'successful probe')} >= {self.threshold:g}"
            case Rule.PROBE_TIMEOUT:
                return f"{_counted(self.number, 'probe')} without a verdict at the deadline"
            case Rule.RESET | Rule.MODE:
                actor = f" by {self.by}" if self.by else ""
                # Whoever acts says who he is and why: without that, the mode has come to its end.
                what = "mode ended" if self.rule is Rule.MODE and not (actor or self.why) else self.rule
                return f"{what}{actor}: {self.why}" if self.why else f"{what}{actor}"
            case _:
                return self.rule.replace("_", " ")


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something happened to a breaker.

    Attributes:
        breaker: The breaker's name.
        at: When, in seconds of the breaker's monotonic clock.
        epoch: The epoch that the event began, or happened in.
    """

    breaker: str
    at: float
    epoch: Epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChanged(Event):
    """A transition of this process's breaker.

    Attributes:
        old: The state before.
        new: The state after.
        cause: Why.
        last_failure: Type and bounded text of the last counted failure.
        retry_after: Seconds until the first probe when `new` is open, else 0.
        adopted: The fleet had decided so, and this process follows.
    """

    old: State
    new: State
    cause: Cause
    last_failure: str = ""
    retry_after: float = 0.0
    adopted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeChanged(Event):
    """An operator's override was set, lifted, or expired.

    Attributes:
        old: The override before.
        new: The override after.
        adopted: Another process of the fleet had it first, and this one follows.
    """

    old: Override
    new: Override
    adopted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetChanged(Event):
    """The fleet's record of a breaker has changed: told in the one process through which it did, and in no other.

    Attributes:
        state: Of the fleet now.
        override: The operator's mode now.
        cause: Why.
    """

    state: State
    override: Override
    cause: Cause


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRejected(Event):
    """A call was refused or, in shadow mode, would have been.

    Delivered at once on the refused caller's own thread and context.
    """

    reason: Rejection
    retry_after: float
    shadow: bool = False


class Listener(Protocol):
    """Receives a breaker's events.

    Transitions and changes of mode arrive in order, one at a time, outside every lock, on the thread of a
    call. A listener that raises is logged and ignored; long work belongs on a thread of the listener's own.
    """

    def __call__(self, event: Event, /) -> object:
        """Take note of `event`."""
        ...
