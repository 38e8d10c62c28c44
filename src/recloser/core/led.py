"""The state machine of a breaker whose fleet decides with it (SEMANTICS D, E).

It is told by its hub what the fleet has decided, and leaves in its outbox what the fleet must hear. While the hub
is silent or has lost the store it leads itself, by the same rules as a breaker alone.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Final, NamedTuple, TypeAlias

from recloser.core.condition import Condition, Ramp
from recloser.core.errors import Refusal
from recloser.core.events import Cause, FleetChanged, ModeChanged, Rejection, Rule, StateChanged
from recloser.core.machine import AUTOMATIC, Admission, Machine, Verdict
from recloser.core.policy import Policy
from recloser.core.probes import Lease, Probes
from recloser.core.state import Epoch, Override, State
from recloser.core.tally import Tally
from recloser.core.window import Counts

PATIENCE: Final = 1.0  # seconds until a call that asked for a probe in vain leads the way
REPORTS_KEPT: Final = 64  # a hub that hears nothing for so long will ask for the record anyway
STEERED_KEPT: Final = 16


class Told(NamedTuple):
    """What the fleet has decided, in this process's time (monotonic seconds).

    Attributes:
        epoch: The state's identity.
        state: Closed, open or half-open.
        since: When it began.
        until: When an open period ends, else `inf`.
        reopenings: How often the circuit has opened again without a lasting close.
        cause: Why.
        override: The operator's mode.
        last_failure: What decided.
    """

    epoch: Epoch
    state: State
    since: float
    until: float
    reopenings: int
    cause: Cause | None
    override: Override
    last_failure: str


class Tripped(NamedTuple):
    """This machine has tripped by what it saw alone, in the epoch `expected`."""

    expected: Epoch
    epoch: Epoch
    cause: Cause
    until: float
    reopenings: int
    last_failure: str


class Judged(NamedTuple):
    """A probe on one of the fleet's leases has ended; without a verdict it gives its place back."""

    lease: str
    epoch: Epoch
    verdict: Verdict | None


class Steered(NamedTuple):
    """An operator has acted here, or a mode has ended; `expected` is the epoch that this must be about."""

    epoch: Epoch
    override: Override
    resets: bool
    expected: Epoch | None


Report: TypeAlias = Tripped | Judged | Steered


class LedMachine(Machine):
    """One breaker's rules as a member of a fleet; arguments as of `Machine`.

    Attributes:
        led: The fleet decides; else this machine does, alone.
        outbox: What the fleet must hear, in order.
        grants: Leases that no call runs on yet.
        used: Ids of leases that calls run on, since the hub last asked.
        wants: A call asked for a probe and there was none.
        urgent: The hub must look now.
        place_due: When a place among the fleet's probes may be free, as the hub was told (monotonic seconds).
        longest_wait: The longest `Retry-After` of a failure since the hub last asked (seconds).
    """

    __slots__ = (
        "_asked",
        "_flushed",
        "grants",
        "led",
        "longest_wait",
        "outbox",
        "place_due",
        "urgent",
        "used",
        "wants",
    )

    def __init__(
        self,
        name: str,
        policy: Policy,
        *,
        clock: Callable[[], float],
        random: Callable[[], float],
        now: float,
    ) -> None:
        super().__init__(name, policy, clock=clock, random=random, now=now)
        self.outbox: list[Report] = []
        self.grants: list[Lease] = []
        self.used: list[str] = []
        self.led = self.wants = self.urgent = False
        self.place_due = inf
        self.longest_wait = 0.0
        self._asked = inf
        self._flushed: tuple[Tally | None, Counts] = (None, Counts())

    # -- calls ---------------------------------------------------------------------------------------------

    def _due(self, now: float) -> Refusal | None:
        if self._leads_itself(now):
            return super()._due(now)
        return self._ask(Rejection.OPEN, now + PATIENCE, now)

    def _admit_probe(self, now: float) -> Admission | Refusal:
        if self.led and self._full():
            return self.refusal(Rejection.BULKHEAD, now + 1)
        probes = self.condition.probes
        while self.grants and probes is not None:
            lease = self.grants.pop(0)
            if lease.deadline > now:
                probes.active.add(lease)
                self.used.append(lease.id)
                self.urgent = True
                self.totals.probes += 1
                return Admission(lease, self._slot())
        if self._leads_itself(now):
            return super()._admit_probe(now)
        return self._ask(Rejection.HALF_OPEN, min(max(now, self.place_due), now + PATIENCE), now)

    def _leads_itself(self, now: float) -> bool:
        if self.led and now - self._asked > PATIENCE:
            self.release()
        return not self.led

    def _ask(self, reason: Rejection, due: float, now: float) -> Refusal:
        if not self.wants:
            self.wants = self.urgent = True
        if self._asked == inf:
            self._asked = now
        return self.refusal(reason, due)

    def _heed(self, wait: float) -> None:
        self.longest_wait = max(self.longest_wait, wait)

    def _settle_probe(self, lease: Lease, verdict: Verdict | None, now: float) -> None:
        if not self.led:
            super()._settle_probe(lease, verdict, now)
            return
        probes = self.condition.probes
        if probes is None or lease.epoch != self.condition.epoch:
            return
        probes.give_back(lease)
        if not lease.id:  # from a time when this machine led itself
            return
        if verdict is not None:
            self.totals.count(failed=verdict.failed, slow=verdict.slow)
            if verdict.failed:
                self.last_failure = verdict.text
        self._report(Judged(lease.id, lease.epoch, verdict))

    # -- transitions and operators -------------------------------------------------------------------------

    def _open(self, now: float, cause: Cause, reopenings: int, retry_after: float | None = None) -> None:
        expected = self.condition.epoch
        super()._open(now, cause, reopenings, retry_after)
        if self.led:
            made = self.condition
            self._report(Tripped(expected, made.epoch, cause, made.until, reopenings, self.last_failure))

    def _replace(self, condition: Condition) -> None:
        if condition.tally is not None:
            condition.tally.elsewhere = self._judged_elsewhere()
        super()._replace(condition)

    def expire_override(self, now: float, wall: float) -> None:
        """Return to automatic if the operator's mode has ended at `wall` (wall clock seconds)."""
        until = self.condition.override.until
        if until is not None and wall >= until:
            seen = self.condition.epoch
            super().override(AUTOMATIC, now)
            self._report(Steered(self.condition.epoch, AUTOMATIC, False, seen))

    def override(self, override: Override, now: float) -> None:
        """Set an operator's mode, here at once and in the fleet as soon as it hears."""
        super().override(override, now)
        self._report(Steered(self.condition.epoch, override, False, None))

    def reset(self, now: float, by: str, why: str) -> None:
        """Close, forget counts and backoff, keep the mode; in the fleet as soon as it hears."""
        super().reset(now, by, why)
        self._report(Steered(self.condition.epoch, Override(by=by, why=why), True, None))

    def renew(self, now: float) -> None:
        """Begin alone, without anything that the parent's hub knew: a fork's child."""
        super().renew(now)
        # The first refusal, too, must come by where the child's own hub is begun.
        self._replace(self.condition._replace(refuse_until=-inf))
        self.release()
        self.outbox = []
        self.urgent = False
        self.longest_wait = 0.0

    def _report(self, report: Report) -> None:
        self.outbox.append(report)
        del self.outbox[:-REPORTS_KEPT]
        self.urgent = True

    # -- what the hub says ---------------------------------------------------------------------------------

    def follow(self) -> None:
        """Let the fleet decide from now on."""
        self.led = True
        self._asked = inf
        self._apply_leadership()

    def release(self) -> None:
        """Lead alone: the store is lost. Unused grants die; what an operator did is still to be told."""
        self.led = self.wants = False
        self.grants, self.used = [], []
        self._asked = inf
        self._forget_judgements()
        self._apply_leadership()

    def _forget_judgements(self) -> None:
        steered: list[Report] = [report for report in self.outbox if isinstance(report, Steered)]
        self.outbox = steered[-STEERED_KEPT:]

    def _judged_elsewhere(self) -> bool:
        return self.led and self.policy.window_seconds is not None

    def _apply_leadership(self) -> None:
        tally = self.condition.tally
        if tally is not None and tally.elsewhere != self._judged_elsewhere():
            tally.elsewhere = not tally.elsewhere
            tally.ticks_suffice = tally.elsewhere or not self.policy.judges_rates

    def adopt(self, told: Told, now: float) -> None:
        """Take over what the fleet has decided.

        Args:
            told: The fleet's record.
            now: The present (monotonic seconds).
        """
        before = self.condition
        if told.epoch == before.epoch:
            if told.state is State.OPEN and before.state is State.OPEN:
                self._replace(self._with_refusal(before._replace(until=told.until)))
            return
        calm = told.state is before.state is State.CLOSED and told.override == before.override
        if calm and not self.led:  # the name of what goes on: its counts and its calls in flight stay
            self._replace(before._replace(epoch=told.epoch, reopenings=told.reopenings, cause=told.cause))
            return
        self.grants, self.used = [], []
        self.wants, self._asked, self.place_due = False, inf, inf
        self._forget_judgements()
        self.last_failure = told.last_failure or self.last_failure
        self._follow_to(self._condition_of(told, now), now)

    def _condition_of(self, told: Told, now: float) -> Condition:
        is_closed = told.state is State.CLOSED
        ramp: Ramp | None = None
        recovered = told.cause is not None and told.cause.rule is Rule.PROBES_SUCCEEDED
        if is_closed and recovered and now < told.since + self.policy.recovery_ramp:
            ramp = Ramp(told.since, self.policy.recovery_ramp)
        condition = Condition(
            told.state,
            told.epoch,
            told.since,
            told.override,
            told.cause,
            told.until,
            told.reopenings,
            tally=Tally(self.policy, now) if is_closed else None,
            probes=Probes(self.policy, told.epoch) if told.state is State.HALF_OPEN else None,
            ramp=ramp,
        )
        return self._with_refusal(condition) if told.state is State.OPEN else condition

    def _follow_to(self, condition: Condition, now: float) -> None:
        before = self.condition
        self._replace(condition)
        self.totals.retire(before.tally)
        if condition.override != before.override:
            self.events.append(
                ModeChanged(
                    breaker=self._name,
                    at=now,
                    epoch=condition.epoch,
                    old=before.override,
                    new=condition.override,
                    adopted=True,
                )
            )
        if condition.state is before.state:
            return
        self.totals.entered(condition.state)
        self.events.append(
            StateChanged(
                breaker=self._name,
                at=now,
                epoch=condition.epoch,
                old=before.state,
                new=condition.state,
                cause=condition.cause or Cause(Rule.RESTORED),
                last_failure=self.last_failure,
                # An operator's open has no first probe.
                retry_after=max(0.0, condition.until - now) if condition.until < inf else 0.0,
                adopted=True,
            )
        )

    def won(self, told: Told, now: float) -> None:
        """Tell that the fleet's record has changed, and through this process."""
        self.events.append(
            FleetChanged(
                breaker=self._name,
                at=now,
                epoch=told.epoch,
                state=told.state,
                override=told.override,
                cause=told.cause or Cause(Rule.RESTORED),
            )
        )

    def grant(self, leases: list[Lease], kept: frozenset[str], place_due: float) -> None:
        """Take the hub's answer to a request for probes.

        Args:
            leases: Granted or renewed ones, of the present epoch.
            kept: Ids of those that were to be renewed: whichever is not unused any more is not taken again.
            place_due: When a place may be free, if none was granted (monotonic seconds).
        """
        unused = {lease.id for lease in self.grants}
        self.grants = [lease for lease in leases if lease.id in unused or lease.id not in kept]
        self.place_due = place_due
        self._asked = inf
        if self.grants:
            self.wants = False

    def surrender(self) -> tuple[str, ...]:
        """Give up the unused grants; their ids."""
        given = tuple(lease.id for lease in self.grants)
        self.grants = []
        return given

    def has_counted(self) -> bool:
        """Tell whether `counted` would find anything."""
        tally = self.condition.tally
        of, before = self._flushed
        return tally is not None and tally.counter.read() != (before.calls if of is tally else 0)

    def counted(self) -> Counts:
        """Count what has come to this closed epoch since the last time."""
        tally = self.condition.tally
        if tally is None:
            return Counts()
        of, before = self._flushed
        if of is not tally:
            before = Counts()
        tally.calls = tally.counter.read()
        held = Counts(tally.calls, tally.failures, tally.slow)
        self._flushed = (tally, held)
        return Counts(*(more - less for more, less in zip(held, before, strict=True)))
