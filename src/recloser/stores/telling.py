"""What a breaker's machine has to tell, put into operations."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Final, NamedTuple

from recloser.core.led import Judged, LedMachine, Report, Steered, Tripped
from recloser.core.machine import Verdict
from recloser.core.state import Epoch, State
from recloser.core.window import Counts
from recloser.stores.operations import (
    Chance,
    Flush,
    Force,
    Lease,
    Operation,
    Settle,
    Sync,
    Terms,
    Trip,
    new_tag,
)
from recloser.stores.record import Record

VOTE_TTL: Final = 6.0  # seconds for which a vote counts that is not repeated


class Drawn(NamedTuple):
    """What a machine had to tell, taken in one go under its lock."""

    reports: list[Report]
    counts: Counts
    wait: float
    failure: str
    wants: bool
    kept: tuple[str, ...]
    used: tuple[str, ...]
    back: tuple[str, ...]
    state: State


class Teller:
    """Puts what one breaker's machine has to tell into operations.

    Args:
        name: The breaker's.
        terms: Of its policy.
        random: Gives 0 <= x < 1.
    """

    __slots__ = ("_name", "_random", "terms")

    def __init__(self, name: str, terms: Terms, random: Callable[[], float]) -> None:
        self._name = name
        self.terms = terms
        self._random = random

    def report(self, report: Judged | Steered, worker: str) -> Operation:
        """Tell a probe's verdict, or what an operator did."""
        if isinstance(report, Steered):
            chance = Chance(report.epoch.tag, self._random())
            return Force(self._name, worker, chance, report.override, report.resets, report.expected)
        verdict = report.verdict
        settle = Settle(self._name, worker, self.terms, self._chance(), report.epoch, report.lease)
        if verdict is None:
            return settle._replace(counts=False)
        wait = verdict.retry_after or 0.0
        return settle._replace(
            failed=verdict.failed, slow=verdict.slow, retry_after=wait, last_failure=verdict.text
        )

    def trip(self, tripped: Tripped, expected: Epoch, worker: str, now: float) -> Flush:
        """Tell, or vote, that the circuit has opened here.

        Args:
            tripped: How.
            expected: The epoch of the record that this is about.
            worker: Who tells.
            now: The present (monotonic seconds).
        """
        remaining = max(0.0, tripped.until - now)
        trip = Trip(tripped.cause, remaining, tripped.reopenings, tripped.last_failure, VOTE_TTL)
        chance = Chance(tripped.epoch.tag, self._random())
        return Flush(self._name, worker, self.terms, chance, expected, trip=trip)

    def counts(self, drawn: Drawn, epoch: Epoch, worker: str) -> Flush:
        """Tell what was counted."""
        flush = Flush(self._name, worker, self.terms, self._chance(), epoch, *drawn.counts)
        return flush._replace(retry_after=drawn.wait, last_failure=drawn.failure)

    def lease(self, epoch: Epoch, worker: str, wanted: int) -> Lease:
        """Ask for probes."""
        return Lease(self._name, worker, self.terms, self._chance(), epoch, wanted)

    def read(self, worker: str) -> Sync:
        """Ask for the record."""
        return Sync(self._name, worker, self._chance())

    def restore(self, machine: LedMachine, known: Epoch | None, worker: str, now: float) -> Sync:
        """Ask whether the store has lost data, and bring along what it would have to be told then."""
        condition = machine.condition
        is_open = condition.state is State.OPEN and condition.until < inf
        remaining = max(0.0, condition.until - now) if is_open else 0.0
        mine = Record(
            state=condition.state,
            reopenings=condition.reopenings,
            cause=condition.cause,
            override=condition.override,
            last_failure=machine.last_failure,
        )
        return self.read(worker)._replace(epoch=known, remaining=remaining, record=mine)

    def _chance(self) -> Chance:
        return Chance(new_tag(), self._random())


def draw(machine: LedMachine, known: Epoch | None, *, counts: bool, surrenders: bool) -> Drawn:
    """Take from a machine what it has to tell, by one who is in its section.

    Args:
        machine: Whose outbox is emptied.
        known: The epoch of the record that the fleet follows.
        counts: Also what was counted since the last time.
        surrenders: Unused grants are given up.
    """
    is_led = machine.led and machine.condition.epoch == known
    reports, machine.outbox = machine.outbox, []
    used, machine.used = tuple(machine.used), []
    wait, held = 0.0, Counts()
    if counts and is_led:
        held = machine.counted()
        wait, machine.longest_wait = machine.longest_wait, 0.0
    back = machine.surrender() if surrenders else ()
    return Drawn(
        reports,
        held,
        wait,
        machine.last_failure,
        machine.wants and is_led,
        tuple(lease.id for lease in machine.grants),
        used,
        back,
        machine.condition.state,
    )


def untold(operation: Operation) -> Judged | Steered | None:
    """Return what must be told again after the store did not answer; other operations lose their meaning."""
    if isinstance(operation, Force):
        return Steered(
            Epoch(0, operation.chance.tag), operation.override, operation.resets, operation.expected
        )
    if not isinstance(operation, Settle):
        return None
    wait = operation.retry_after or None
    verdict = Verdict(operation.failed, operation.slow, text=operation.last_failure, retry_after=wait)
    return Judged(operation.lease, operation.epoch, verdict if operation.counts else None)
