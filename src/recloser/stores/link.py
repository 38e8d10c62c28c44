"""One breaker's line to the fleet: what its machine has to tell, and what the store's answers mean to it."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from math import inf
from typing import Final, NamedTuple

from recloser.core.events import Rule
from recloser.core.leading import LedDriver
from recloser.core.led import Report, Steered, Told, Tripped
from recloser.core.probes import Lease as Place
from recloser.core.state import Epoch, Mode, State
from recloser.stores.operations import Answer, Flush, Lease, Operation, Terms
from recloser.stores.record import UNKNOWN, Record
from recloser.stores.telling import Drawn, Teller, draw, untold

ASK_AGAIN: Final = 0.5  # seconds after which a refused lease is asked for again, at the latest
RENEWALS: Final = 3  # an unused grant is renewed so many times in its life, and at least once a second
UNSENT_KEPT: Final = 16
VOTE_AGAIN: Final = 2.0  # seconds between the votes of a worker that has tripped alone


class Moment(NamedTuple):
    """A moment in two clocks: this process's monotonic one, and the store's (seconds)."""

    here: float
    there: float


class Link:
    """Joins one breaker to the fleet. For the hub's thread alone.

    Args:
        driver: Of the breaker.
        random: Gives 0 <= x < 1.

    Attributes:
        counts_always: The store judges its rates, so that every count must reach it.
        name: The breaker's.
        known: The epoch of the record that this process follows; `None` before it has seen one.
        record: The record as it was last heard of.
    """

    __slots__ = (
        "_announced",
        "_ask_at",
        "_is_wanted",
        "_plea",
        "_renew_at",
        "_teller",
        "_terms",
        "_unsent",
        "_vote",
        "_vote_at",
        "_weakly",
        "counts_always",
        "known",
        "name",
        "record",
    )

    def __init__(self, driver: LedDriver, random: Callable[[], float]) -> None:
        self._weakly = weakref.ref(driver)
        self.name = driver.name
        self._terms = Terms.of(driver.policy)
        self.counts_always = self._terms.window_seconds > 0
        self._teller = Teller(driver.name, self._terms, random)
        self.known: Epoch | None = None
        self.record = UNKNOWN
        self._plea: Operation | None = None
        self._vote: Tripped | None = None
        self._vote_at = self._ask_at = self._renew_at = 0.0
        self._is_wanted = False
        self._unsent: list[Report] = []
        self._announced: Epoch | None = None

    @property
    def driver(self) -> LedDriver:
        """The breaker's; whoever works on the link keeps it alive meanwhile."""
        driver = self._weakly()
        assert driver is not None  # noqa: S101 - see above
        return driver

    @property
    def is_adrift(self) -> bool:
        """Whether its machine leads itself and ought to join the fleet."""
        return not self.driver.machine.led and self._vote is None and self._plea is None

    def due(self) -> float:
        """When the store must hear from it unasked, as for a lease (monotonic seconds; `inf`: not)."""
        machine = self.driver.machine
        if self._plea is not None or self._unsent or machine.outbox:
            return -inf
        due = inf
        if machine.grants:
            due = self._renew_at
        if machine.wants and machine.led:
            due = min(due, self._ask_at)
        if self._vote is not None:
            due = min(due, self._vote_at)
        return due

    # -- what it has to tell ---------------------------------------------------------------------------------

    def operations(self, worker: str, now: float, *, counts: bool) -> list[Operation]:
        """Say what the store must hear now.

        Args:
            worker: This process.
            now: The present (monotonic seconds).
            counts: Also the counts, not only what cannot wait (SEMANTICS D5).
        """
        if self._plea is not None:
            return [self._plea]
        if self.known is None:
            return []
        machine, known = self.driver.machine, self.known
        counts = counts and self.counts_always
        drawn = self.driver.run_quietly(
            lambda: draw(machine, known, counts=counts, surrenders=self._is_wanted)
        )
        reports, self._unsent = [*self._unsent, *drawn.reports], []
        operations = [self._told(report, worker) for report in reports]
        if any(drawn.counts):
            operations.append(self._teller.counts(drawn, known, worker))
        operations += self._votes(drawn, worker, now)
        operations += self._leases(drawn, worker, now)
        return operations

    def _told(self, report: Report, worker: str) -> Operation:
        if isinstance(report, Tripped):
            return self._trip(report, report.expected, worker)
        return self._teller.report(report, worker)

    def _trip(self, tripped: Tripped, expected: Epoch, worker: str) -> Flush:
        now = self.driver.clock()
        self._vote = tripped if self._terms.trip_quorum > 1 else None
        self._vote_at = now + VOTE_AGAIN
        return self._teller.trip(tripped, expected, worker, now)

    def _votes(self, drawn: Drawn, worker: str, now: float) -> list[Operation]:
        """Repeat the vote of a circuit that is open here alone, until the fleet's opens or this one closes."""
        vote = self._vote
        if vote is None or self.known is None or now < self._vote_at:
            return []
        if drawn.state is State.CLOSED:  # its own probes have closed it
            self._vote = None
            self._plea = self._teller.read(worker)
            return [self._plea]
        return [self._trip(vote, self.known, worker)]

    def _leases(self, drawn: Drawn, worker: str, now: float) -> list[Operation]:
        if self.known is None:
            return []
        wanted = int(drawn.wants and now >= self._ask_at)
        kept = drawn.kept if now >= self._renew_at or wanted else ()
        if not (wanted or kept or drawn.used or drawn.back):
            return []
        self._is_wanted = False
        lease = self._teller.lease(self.known, worker, wanted)
        return [lease._replace(kept=kept, used=drawn.used, back=drawn.back)]

    # -- what it hears -----------------------------------------------------------------------------------------

    def heard(self, record: Record, moment: Moment, worker: str) -> None:
        """Take a record that the store told of itself: it may be older than what is known."""
        if self.known is None or not self.driver.machine.led:
            self._return(record, moment, worker)
        elif record.epoch == self.known:
            self.record = record
            self._ask_at = 0.0  # somebody's place may have become free
        elif record.epoch.number > self.known.number:
            self._adopt(record, moment)
        else:
            self._doubt(worker, moment)

    def answered(
        self, operation: Operation, answer: Answer, sent: Moment, moment: Moment, worker: str
    ) -> None:
        """Take the answer to an operation: the record is what it was at `moment`."""
        record = answer.record
        is_plea, self._plea = operation is self._plea, None if operation is self._plea else self._plea
        stands_alone = (
            isinstance(operation, Flush)
            and operation.trip is not None
            and operation.terms.trip_quorum > 1
            and record.epoch == operation.epoch
            and record.override.mode in (Mode.AUTO, Mode.SHADOW)
        )
        if stands_alone:
            self._stand_alone(record)
        elif self.known is not None and self._is_older(record):
            self._doubt(worker, moment)
        elif is_plea or self._vote is None or record.epoch != self.known:
            self._adopt(record, moment)
        if answer.won and self._announced != record.epoch:
            self._announced = record.epoch
            told = self.told(record, moment)
            self.driver.run_quietly(lambda: self.driver.machine.won(told, moment.here))
        if isinstance(operation, Lease) and (operation.wanted or operation.kept):
            self._take_leases(operation, answer, sent, moment)

    def _is_older(self, record: Record) -> bool:
        known = self.known
        assert known is not None  # noqa: S101 - asked by those who know one
        return record.epoch != known and record.epoch.number <= known.number

    def _take_leases(self, operation: Lease, answer: Answer, sent: Moment, moment: Moment) -> None:
        self._is_wanted = answer.is_wanted
        if self._is_wanted:
            self._renew_at = 0.0
        machine, epoch = self.driver.machine, answer.record.epoch
        if operation.epoch != epoch and not answer.grants:  # it asked about what is past
            self._ask_at = 0.0
            return
        leases = [Place(epoch, sent.here + remaining, key) for key, remaining in answer.grants]
        wait = min(answer.wait, ASK_AGAIN)
        due = moment.here + wait
        if operation.wanted:
            self._ask_at = due
        if not self._is_wanted:
            self._renew_at = sent.here + min(1.0, self._terms.probe_timeout / RENEWALS)

        def grant() -> None:
            if machine.led and machine.condition.epoch == epoch and machine.condition.probes is not None:
                machine.grant(leases, frozenset(operation.kept), due)

        self.driver.run_quietly(grant)

    def _stand_alone(self, record: Record) -> None:
        """Stay open although the fleet's quorum is not reached: with local leases, voting until one of them ends."""
        self.known, self.record = record.epoch, record
        self.driver.run_quietly(self.driver.machine.release)

    def _adopt(self, record: Record, moment: Moment) -> None:
        self.known, self.record = record.epoch, record
        self._vote = None
        told = self.told(record, moment)
        machine = self.driver.machine

        def adopt() -> None:
            # What the machine has decided since is about this very record: the answer to that will tell.
            if not any(_is_about(report, record.epoch) for report in machine.outbox):
                machine.adopt(told, moment.here)
            machine.follow()

        self.driver.run_quietly(adopt)

    def _return(self, record: Record, moment: Moment, worker: str) -> None:
        """Join the fleet, after this machine has led itself: first of all, or through an outage (SEMANTICS E6)."""
        if self.known is not None and self._is_older(record):
            self._doubt(worker, moment)
            return
        if self._vote is not None:
            if record.epoch != self.known:
                self._adopt(record, moment)
            return
        condition = self.driver.machine.condition
        cause = condition.cause
        has_tripped = (
            condition.state is State.OPEN
            and condition.until > moment.here
            and condition.epoch not in (record.epoch, self.known)
            and cause is not None
            and cause.rule not in (Rule.MODE, Rule.RESET, Rule.RESTORED)
        )
        if has_tripped and cause is not None and record.state is State.CLOSED:
            failure = self.driver.machine.last_failure
            tripped = Tripped(
                record.epoch, condition.epoch, cause, condition.until, condition.reopenings, failure
            )
            self.known = record.epoch
            self._plea = self._trip(tripped, record.epoch, worker)
            self._vote = None
            return
        self._adopt(record, moment)

    def _doubt(self, worker: str, moment: Moment) -> None:
        """Ask the store itself whether it has lost data; if so it gets this machine's (SEMANTICS D1)."""
        plea = self._teller.restore(self.driver.machine, self.known, worker, moment.here)
        if self._vote is not None:  # what it has decided alone is not the fleet's
            plea = plea._replace(record=self.record, remaining=0.0)
        self._plea = plea

    def told(self, record: Record, moment: Moment) -> Told:
        """Put a record into this process's time; what remains is cut to the policy's cap (SEMANTICS D2, E5)."""
        longest = self._terms.recovery_timeout_max * (1 + self._terms.recovery_jitter)
        until = inf
        if record.is_timed:
            remaining = 0.0 if record.is_ahead_of(moment.there) else record.open_until - moment.there
            until = moment.here + min(max(0.0, remaining), longest)
        since = moment.here - max(0.0, moment.there - record.since)
        return Told(
            record.epoch,
            record.state,
            since,
            until,
            record.reopenings,
            record.cause,
            record.override,
            record.last_failure,
        )

    # -- outages -------------------------------------------------------------------------------------------------

    def lost(self, unanswered: list[Operation]) -> None:
        """Lead alone; what an operator did, and verdicts of probes, wait for the store's return."""
        self._plea = None
        self._is_wanted = False
        again = (untold(operation) for operation in unanswered)
        self._unsent += [report for report in again if report is not None]
        del self._unsent[:-UNSENT_KEPT]
        self.driver.run_quietly(self.driver.machine.release)

    def forget(self) -> None:
        """Know nothing: in a fork's child."""
        self.known, self.record = None, UNKNOWN
        self._plea = self._vote = self._announced = None
        self._unsent = []
        self._vote_at = self._ask_at = self._renew_at = 0.0
        self._is_wanted = False


def _is_about(report: Report, epoch: Epoch) -> bool:
    return isinstance(report, Steered) or (isinstance(report, Tripped) and report.expected == epoch)
