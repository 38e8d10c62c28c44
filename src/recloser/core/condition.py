"""What one epoch of a breaker consists of, and the few things that outlive an epoch."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from math import inf
from typing import Final, NamedTuple, TypeAlias

from recloser.core.errors import Refusal
from recloser.core.events import Cause
from recloser.core.probes import Lease, Probes
from recloser.core.state import Epoch, Override, State
from recloser.core.tally import Tally

RAMP_START: Final = 0.1

NO_REFUSAL: Final = Refusal("")

# What an admitted call brings back with its outcome: the tick of a closed epoch's counter, or a probe's lease.
Token: TypeAlias = Callable[[], object] | Lease
Slot: TypeAlias = "weakref.ref[Bulkhead]"


class Ramp:
    """The share of calls that a freshly closed breaker admits (SEMANTICS C7).

    Args:
        start: When the circuit closed (monotonic seconds).
        seconds: How long the ramp lasts.
    """

    __slots__ = ("_seconds", "_start", "credit", "end")

    def __init__(self, start: float, seconds: float) -> None:
        self._start = start
        self._seconds = seconds
        self.credit = 1.0
        self.end = start + seconds

    def admits(self, now: float) -> bool:
        """Decide on one call: each earns a growing share of a credit, and an admitted one costs a whole."""
        self.credit += RAMP_START + (1 - RAMP_START) * (now - self._start) / self._seconds
        if self.credit < 1:
            return False
        self.credit -= 1
        return True


class Bulkhead:
    """The calls in flight in this process (SEMANTICS C8).

    Each holds a slot; however a call or its admission ends, the slot dies with it. The interpreter keeps the count,
    so that no exception, wherever a signal handler raises it, can leave one behind.
    """

    __slots__ = ("__weakref__",)

    @property
    def in_flight(self) -> int:
        """How many slots are alive."""
        return weakref.getweakrefcount(self)

    def slot(self) -> Slot:
        """Take one more slot."""
        return weakref.ref(self, _own)


def _own(_slot: Slot) -> None:
    """A callback makes each reference one of its own: others are shared, and would count once."""


class Condition(NamedTuple):
    """All that one epoch is.

    Attributes:
        state: Closed, open or half-open.
        epoch: Its identity.
        since: When the state began (monotonic seconds).
        override: The operator's mode.
        cause: Why the state began; `None` for a new breaker.
        until: When an open period ends (monotonic seconds), else `inf`.
        reopenings: How often the circuit has opened again without a lasting close.
        refuse_until: Before this moment every call is refused with `refusal`, without further questions.
        refusal: What those calls are told; meaningless where there are none.
        tally: The counts, while closed.
        probes: The probes, while half-open.
        ramp: The ramp, while closed after probes and until it ends.
    """

    state: State
    epoch: Epoch
    since: float
    override: Override = Override()
    cause: Cause | None = None
    until: float = inf
    reopenings: int = 0
    refuse_until: float = -inf
    refusal: Refusal = NO_REFUSAL
    tally: Tally | None = None
    probes: Probes | None = None
    ramp: Ramp | None = None


class Totals:
    """What has happened since the breaker was made, in calls and transitions."""

    __slots__ = ("calls", "closed", "failures", "half_opened", "opened", "probes", "slow")

    def __init__(self) -> None:
        self.calls = self.failures = self.slow = 0
        self.probes = self.opened = self.half_opened = self.closed = 0

    def count(self, *, failed: bool, slow: bool) -> None:
        """Count one call that no tally counts."""
        self.calls += 1
        self.failures += failed
        self.slow += slow

    def retire(self, tally: Tally | None) -> None:
        """Take over the counts of an epoch that has ended."""
        if tally is not None:
            self.calls += tally.counter.read()
            self.failures += tally.failures
            self.slow += tally.slow

    def entered(self, state: State) -> None:
        """Count a transition."""
        if state is State.OPEN:
            self.opened += 1
        elif state is State.HALF_OPEN:
            self.half_opened += 1
        else:
            self.closed += 1
