"""The fleet's rules: what each operation does to what is stored of one breaker (SEMANTICS D4, E4).

Pure: time and chance are arguments. `SQLite` runs them as they are; the Lua of Redis says the same, and the tests
compare the two.
"""

from __future__ import annotations

from collections.abc import Callable
from math import floor
from typing import Final

from recloser.core.events import Cause, Rule
from recloser.core.state import Epoch, Mode, Override, State
from recloser.core.window import BUCKETS
from recloser.stores.entry import Entry, Place
from recloser.stores.operations import (
    Answer,
    Flush,
    Force,
    Grant,
    Lease,
    Operation,
    Settle,
    Sync,
    Terms,
    Trip,
    open_period,
)
from recloser.stores.record import SET_BACK, Record, tag_text
from recloser.stores.view import Transition

EXPIRIES_THAT_REOPEN: Final = 3
ASKING: Final = 2.0  # seconds for which a refused request for a lease is remembered
EXPIRED_KEPT: Final = 64
TOKENS_KEPT: Final = 16
# Timers of two processes may disagree about the last moment of an open period.
EARLY: Final = 0.005
_FORCED: Final = frozenset({Mode.FORCED_OPEN, Mode.FORCED_CLOSED})


class Change:
    """One operation at work on one entry.

    Args:
        entry: Is changed in place.
        now: The store's clock (seconds).
        wall: The wall clock (seconds).
        alive: How many workers live, for quorums.

    Attributes:
        is_news: The others must hear of what has happened.
        transitions: What happened, in order; their revision is not known yet.
    """

    __slots__ = ("_alive", "_entry", "_now", "_wall", "is_news", "transitions")

    def __init__(self, entry: Entry, now: float, wall: float, alive: Callable[[], int]) -> None:
        self._entry = entry
        self._now = now
        self._wall = wall
        self._alive = alive
        self.is_news = False
        self.transitions: list[Transition] = []

    def apply(self, operation: Operation) -> Answer:
        """Carry out one operation."""
        match operation:
            case Flush():
                return self._flush(operation)
            case Lease():
                return self._lease(operation)
            case Settle():
                return self._settle(operation)
            case Force():
                return self._force(operation)
            case Sync():
                return self._sync(operation)

    # -- closed ----------------------------------------------------------------------------------------------

    def _flush(self, told: Flush) -> Answer:
        record = self._entry.record
        if told.epoch != record.epoch or record.state is not State.CLOSED:
            return self._answer(told)
        self._count(told)
        if record.override.mode is Mode.FORCED_CLOSED:
            return self._answer(told)
        if told.trip is not None:
            self._trip(told, told.trip)
            return self._answer(told)
        cause = self._judged(told.terms)
        if cause is not None:
            reopenings = self._reopenings(told.terms)
            self._open(told, cause, reopenings, told.last_failure, told.retry_after)
        return self._answer(told)

    def _count(self, told: Flush) -> None:
        width = told.terms.window_seconds / BUCKETS
        if not width or not (told.calls or told.failures or told.slow):
            return
        number = floor(self._now / width)
        counts = self._entry.buckets.setdefault((width, number), [0, 0, 0])
        for index, more in enumerate((told.calls, told.failures, told.slow)):
            counts[index] += more
        for other, old in [key for key in self._entry.buckets if not self._is_recent(*key)]:
            del self._entry.buckets[other, old]

    def _is_recent(self, width: float, number: int) -> bool:
        return self._is_ahead((number + BUCKETS) * width, BUCKETS * width)

    def _is_ahead(self, end: float, longest: float) -> bool:
        """Whether something that lasts no longer than `longest` (seconds) is to end, also by a clock set back."""
        return self._now < end <= self._now + longest + SET_BACK

    def _judged(self, terms: Terms) -> Cause | None:
        width = terms.window_seconds / BUCKETS
        if not width:
            return None
        oldest = floor(self._now / width) - BUCKETS + 1
        held = [counts for key, counts in self._entry.buckets.items() if key[0] == width and key[1] >= oldest]
        calls, failures, slow = (sum(counts[index] for counts in held) for index in range(3))
        if calls < terms.minimum_calls or not calls:
            return None
        if terms.failure_rate and failures / calls >= terms.failure_rate:
            return Cause(Rule.FAILURE_RATE, failures, calls, terms.failure_rate)
        if terms.slow_rate and slow / calls >= terms.slow_rate:
            return Cause(Rule.SLOW_CALL_RATE, slow, calls, terms.slow_rate)
        return None

    def _trip(self, told: Flush, trip: Trip) -> None:
        votes = self._entry.votes
        votes[told.worker] = self._now + trip.vote_ttl
        for worker in [worker for worker, end in votes.items() if not self._is_ahead(end, trip.vote_ttl)]:
            del votes[worker]
        quorum = told.terms.trip_quorum
        if quorum <= 1 or len(votes) >= min(quorum, max(1, self._alive())):
            self._enter(
                told,
                State.OPEN,
                trip.cause,
                open_until=self._now + min(trip.period, _longest(told.terms)),
                reopenings=trip.reopenings,
                last_failure=trip.last_failure,
            )

    def _reopenings(self, terms: Terms) -> int:
        record = self._entry.record
        after_probes = record.cause is not None and record.cause.rule is Rule.PROBES_SUCCEEDED
        return record.reopenings + 1 if after_probes and self._now - record.since < terms.lasting else 0

    # -- open and half-open ----------------------------------------------------------------------------------

    def _lease(self, asked: Lease) -> Answer:
        entry = self._entry
        record = entry.record
        # A repetition of what began this epoch asks for the grants that its lost answer told of (SEMANTICS D6).
        began = record.state is State.HALF_OPEN and record.epoch.tag == asked.chance.tag
        if record.override.mode in _FORCED or (asked.epoch != record.epoch and not began):
            return self._answer(asked)
        is_due = self._now >= record.open_until - EARLY or record.is_ahead_of(self._now)
        if record.state is State.OPEN and asked.wanted and is_due:
            self._enter(asked, State.HALF_OPEN, Cause(Rule.RECOVERY_DUE), reopenings=record.reopenings)
        elif record.state is not State.HALF_OPEN:
            return self._answer(asked, wait=max(0.0, record.open_until - self._now))
        self._give_back(asked)
        renewed = self._renew(asked)
        if self._expire(asked):
            return self._answer(asked)
        granted = self._grant(asked)
        leases = tuple(Grant(key, entry.places[key].deadline - self._now) for key in (*renewed, *granted))
        wait = 0.0
        if len(granted) < asked.wanted:
            ends = [place.deadline for place in entry.places.values()]
            wait = max(0.0, min(ends, default=self._now) - self._now)
            entry.asker = (asked.worker, self._now + ASKING)
        elif asked.wanted and entry.asker[0] == asked.worker:
            entry.asker = ("", 0.0)
        is_wanted = bool(renewed) and self._another_asks(asked.worker)
        return self._answer(asked)._replace(grants=leases, wait=wait, is_wanted=is_wanted)

    def _another_asks(self, worker: str) -> bool:
        asker, end = self._entry.asker
        return asker not in ("", worker) and self._is_ahead(end, ASKING)

    def _give_back(self, asked: Lease) -> None:
        for key in asked.back:
            if self._entry.places.pop(key, None) is not None:
                self._invite(asked.worker)

    def _invite(self, worker: str) -> None:
        """Let the one who was refused know that there is a place."""
        if self._another_asks(worker):
            self.is_news = True

    def _renew(self, asked: Lease) -> list[str]:
        places = self._entry.places
        for key in asked.used:
            if key in places:
                places[key].is_used = True
        renewed = [key for key in asked.kept if key in places and not places[key].is_used]
        for key in renewed:
            places[key].renewed = self._now
            places[key].deadline = self._now + asked.terms.probe_timeout
        return renewed

    def _expire(self, told: Lease | Settle) -> bool:
        """Free the places whose lease has ended; tell whether too many did, and the circuit opened again."""
        entry = self._entry
        ahead = (
            self._now + SET_BACK
        )  # granted later than that: the clock was set back, and nobody knows for how long
        ended = [
            k for k, place in entry.places.items() if place.deadline <= self._now or place.renewed > ahead
        ]
        for key in ended:
            entry.expiries += entry.places.pop(key).is_used
            # Also an unused one: that a call runs on it may not have been told yet, and its verdict still counts.
            entry.expired = [*entry.expired[1 - EXPIRED_KEPT :], key]
        if entry.expiries < EXPIRIES_THAT_REOPEN:
            return False
        cause = Cause(Rule.PROBE_TIMEOUT, entry.expiries)
        self._open(told, cause, entry.record.reopenings + 1, entry.record.last_failure)
        return True

    def _grant(self, asked: Lease) -> list[str]:
        places = self._entry.places
        most = asked.terms.half_open_max_calls
        granted: list[str] = []
        for number in range(min(asked.wanted, most)):
            key = f"{tag_text(asked.chance.tag)}-{number}"
            if key not in places and len(places) < most:
                places[key] = Place(asked.worker, self._now, self._now + asked.terms.probe_timeout)
            if key in places:  # also where it is asked for again, as the answer was lost
                granted.append(key)
        return granted

    def _settle(self, told: Settle) -> Answer:
        entry = self._entry
        record = entry.record
        if told.epoch != record.epoch or record.state is not State.HALF_OPEN:
            return self._answer(told)
        place = entry.places.pop(told.lease, None)
        late = told.lease in entry.expired
        if place is None and not late:
            return self._answer(told)  # settled already: an operation may be repeated
        if not told.counts:
            self._invite(told.worker)
            self._expire(told)
            return self._answer(told)
        if late:
            entry.expired.remove(told.lease)
            entry.expiries = max(0, entry.expiries - 1)
        if told.failed or told.slow:
            cause = Cause(Rule.PROBE_FAILED if told.failed else Rule.PROBE_SLOW, 1)
            self._open(told, cause, record.reopenings + 1, told.last_failure, told.retry_after)
            return self._answer(told)
        entry.successes += 1
        if entry.successes >= told.terms.success_threshold:
            cause = Cause(Rule.PROBES_SUCCEEDED, entry.successes, 0, told.terms.success_threshold)
            self._enter(told, State.CLOSED, cause, reopenings=record.reopenings)
        else:
            self._invite(told.worker)
            self._expire(told)
        return self._answer(told)

    # -- operators and restoration ---------------------------------------------------------------------------

    def _force(self, asked: Force) -> Answer:
        entry = self._entry
        record = entry.record
        if asked.chance.tag in entry.tokens:
            return self._answer(asked)
        if asked.expected is not None and asked.expected != record.epoch:
            return self._answer(asked)._replace(is_conflict=True)
        entry.tokens = [*entry.tokens[1 - TOKENS_KEPT :], asked.chance.tag]
        if asked.resets:
            forced_open = record.override.mode is Mode.FORCED_OPEN
            cause = Cause(Rule.RESET, by=asked.override.by, why=asked.override.why)
            self._enter(asked, State.OPEN if forced_open else State.CLOSED, cause)
            return self._answer(asked)
        override = asked.override
        cause = Cause(Rule.MODE, by=override.by, why=override.why)
        if _FORCED & {override.mode, record.override.mode}:
            state = State.OPEN if override.mode is Mode.FORCED_OPEN else State.CLOSED
            self._enter(asked, state, cause, override=override)
            return self._answer(asked)
        self._enter(
            asked,
            record.state,
            cause,
            override=override,
            open_until=record.open_until,
            reopenings=record.reopenings,
            last_failure=record.last_failure,
        )
        # What goes on keeps its reason and its beginning.
        entry.record = entry.record._replace(cause=record.cause, since=record.since)
        return self._answer(asked)

    def _sync(self, asked: Sync) -> Answer:
        theirs = self._entry.record
        if asked.epoch is None or asked.epoch == theirs.epoch or theirs.epoch.number > asked.epoch.number:
            return self._answer(asked)
        mine = asked.record._replace(epoch=asked.epoch, since=self._now)
        if mine.state is State.HALF_OPEN:  # its leases are gone with the store that knew them
            mine = mine._replace(state=State.OPEN)
        if mine.is_timed:
            mine = mine._replace(open_until=self._now + asked.remaining)
        kept = max(theirs, mine, key=self._restriction)
        highest = max(theirs.epoch.number, asked.epoch.number)
        self._entry.record = theirs._replace(epoch=Epoch(highest, theirs.epoch.tag))
        self._enter(
            asked,
            kept.state,
            Cause(Rule.RESTORED),
            override=kept.override,
            open_until=kept.open_until,
            reopenings=kept.reopenings,
            last_failure=kept.last_failure,
        )
        self._entry.record = self._entry.record._replace(cause=kept.cause, since=kept.since)
        return self._answer(asked)

    def _restriction(self, record: Record) -> tuple[int, int, int]:
        modes = (Mode.AUTO, Mode.SHADOW, Mode.FORCED_CLOSED, Mode.FORCED_OPEN)
        is_open = record.state is not State.CLOSED and record.open_until > self._now
        return (modes.index(record.override.mode), int(is_open), record.epoch.number)

    # -- transitions -----------------------------------------------------------------------------------------

    def _open(
        self,
        told: Flush | Lease | Settle,
        cause: Cause,
        reopenings: int,
        last_failure: str,
        retry_after: float = 0.0,
    ) -> None:
        period = open_period(told.terms, reopenings, told.chance.jitter, retry_after)
        self._enter(
            told,
            State.OPEN,
            cause,
            open_until=self._now + period,
            reopenings=reopenings,
            last_failure=last_failure,
        )

    def _enter(
        self,
        told: Operation,
        state: State,
        cause: Cause,
        *,
        override: Override | None = None,
        open_until: float = 0.0,
        reopenings: int = 0,
        last_failure: str = "",
    ) -> None:
        """Begin an epoch: with an empty window, no leases and no votes."""
        before = self._entry.record
        self._entry.record = Record(
            Epoch(before.epoch.number + 1, told.chance.tag),
            state,
            self._now,
            open_until,
            reopenings,
            cause,
            before.override if override is None else override,
            last_failure or before.last_failure,
        )
        entry = self._entry
        entry.buckets, entry.places, entry.votes, entry.expired = {}, {}, {}, []
        entry.expiries = entry.successes = 0
        entry.asker = ("", 0.0)
        self.is_news = True
        self.transitions.append(
            Transition(
                0,
                self._wall,
                told.breaker,
                told.worker,
                before.state,
                state,
                before.override.mode,
                entry.record.override.mode,
                cause,
            )
        )

    def _answer(self, told: Operation, *, wait: float = 0.0) -> Answer:
        record = self._entry.record
        return Answer(record, won=record.epoch.tag == told.chance.tag and record.epoch.number > 0, wait=wait)


def _longest(terms: Terms) -> float:
    return terms.recovery_timeout_max * (1 + terms.recovery_jitter)
