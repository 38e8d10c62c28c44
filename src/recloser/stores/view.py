"""The fleet as a store sees it: workers and what they believe, breakers and their leases, recent transitions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from recloser.core.events import Cause
from recloser.core.state import Epoch, Mode, State
from recloser.stores.record import Record, cause_from_wire, cause_to_wire, seconds, tag_text, text
from recloser.stores.unreadable import ERRORS, TRANSITION, WORKER, Unreadable


class Transition(NamedTuple):
    """One entry of the list of recent changes, which is also the operators' audit trail.

    Attributes:
        revision: The store's number of the change.
        at: Seconds of the wall clock.
        breaker: Its name.
        worker: Through whom it came.
        old: The state before.
        new: The state after.
        old_mode: The mode before.
        new_mode: The mode after.
        cause: Why, with the operator and his reason where one acted.
    """

    revision: int
    at: float
    breaker: str
    worker: str
    old: State
    new: State
    old_mode: Mode
    new_mode: Mode
    cause: Cause


class Belief(NamedTuple):
    """What one worker holds of one breaker, and what it has counted since it began.

    Attributes:
        epoch: The state's identity.
        state: Closed, open or half-open.
        mode: The operator's.
        calls, failures, slow, ignored, rejected, probes: Calls since the worker began.
        degraded: Answers given in the breaker's stead.
        window_calls, window_failures, window_slow: What its own window holds (calls).
        consecutive: The present run of failures (calls).
        last_failure: Type and bounded text.
    """

    epoch: Epoch
    state: State
    mode: Mode
    calls: int = 0
    failures: int = 0
    slow: int = 0
    ignored: int = 0
    rejected: int = 0
    probes: int = 0
    degraded: int = 0
    window_calls: int = 0
    window_failures: int = 0
    window_slow: int = 0
    consecutive: int = 0
    last_failure: str = ""


class Worker(NamedTuple):
    """A worker as its heartbeat tells.

    Attributes:
        id: Unique over the fleet.
        host: Where it runs.
        pid: Its process.
        version: Of recloser.
        started: Seconds of the wall clock.
        beliefs: By breaker.
    """

    id: str
    host: str
    pid: int
    version: str
    started: float
    beliefs: Mapping[str, Belief]


class Heard(NamedTuple):
    """A worker, and how long ago it was heard of (seconds)."""

    worker: Worker
    ago: float


class Held(NamedTuple):
    """A lease as the store has it.

    Attributes:
        worker: Who holds it.
        age: Since it was granted or last renewed (seconds).
        remaining: Until its place is given to another (seconds).
        is_used: A call runs on it.
    """

    worker: str
    age: float
    remaining: float
    is_used: bool


class Shared(NamedTuple):
    """All that the store holds of one breaker.

    Attributes:
        record: The record.
        calls, failures, slow: In the widest shared window (calls).
        probe_successes: In this half-open epoch.
        probe_expiries: Leases that ended without a verdict in this half-open epoch.
        votes: Workers that have tripped, where a quorum is asked for.
        leases: Those alive.
    """

    record: Record
    calls: int = 0
    failures: int = 0
    slow: int = 0
    probe_successes: int = 0
    probe_expiries: int = 0
    votes: int = 0
    leases: tuple[Held, ...] = ()


class FleetView(NamedTuple):
    """The fleet as the store sees it.

    Attributes:
        now: The store's clock (seconds).
        breakers: All that the store has heard of, by name.
        workers: Those alive.
        transitions: The latest ones, newest first.
    """

    now: float
    breakers: Mapping[str, Shared]
    workers: Sequence[Heard]
    transitions: Sequence[Transition]


REPORTS_KEPT: Final = 64  # those of so many workers

# A view of a large fleet reads thousands of them: an enum's own look-up is much slower.
_STATES: Final = {state.value: state for state in State}
_MODES: Final = {mode.value: mode for mode in Mode}
_PARTS: Final = len(Belief._fields) + 1  # of a belief as it is written: its epoch is two


def worker_to_text(worker: Worker) -> str:
    """Write a worker as JSON."""
    beliefs = {
        name: [belief.epoch.number, tag_text(belief.epoch.tag), *belief[1:]]
        for name, belief in worker.beliefs.items()
    }
    return json.dumps([*worker[:-1], beliefs], separators=(",", ":"))


def worker_from_text(written: str) -> Worker:
    """Read a worker.

    Raises:
        unreadable.ERRORS: It is none.
    """
    wire: list[Any] = json.loads(written)
    key, host, pid, version, started, beliefs = wire
    return Worker(
        text(key),
        text(host),
        int(pid),
        text(version),
        seconds(started),
        {name: _belief(held) for name, held in beliefs.items()},
    )


class Reports:
    """Reads what workers tell, which most of a view is made of; who has told nothing new is not read again."""

    def __init__(self, unreadable: Unreadable) -> None:
        self._unreadable = unreadable
        self._known: Mapping[str, Worker] = {}

    def heard(self, told: Iterable[tuple[str, str, float]]) -> list[Heard]:
        """Read all workers of a fleet whose report can be read.

        Args:
            told: Their ids and reports, and how long ago each came (seconds).
        """
        texts: dict[str, Worker] = {}
        workers: list[Heard] = []
        for key, report, ago in told:
            try:
                worker = self._known.get(report) or worker_from_text(report)
            except ERRORS as error:
                self._unreadable.tell(WORKER, key, error)
                continue
            workers.append(Heard(worker, ago))
            if len(texts) < REPORTS_KEPT:
                texts[report] = worker
        self._known = texts
        return workers

    def transitions(self, told: Iterable[tuple[int | str, str]]) -> list[Transition]:
        """Read the transitions that can be read.

        Args:
            told: Their revisions and reports.
        """
        read: list[Transition] = []
        for revision, report in told:
            try:
                read.append(transition_from_text(int(revision), report))
            except ERRORS as error:
                self._unreadable.tell(TRANSITION, revision, error)
        return read


def _belief(wire: list[Any]) -> Belief:
    number, tag, state, mode, *told = wire
    if len(wire) != _PARTS:
        raise ValueError(f"{len(wire)} parts of a belief, rather than {_PARTS}")
    text(told[-1])
    sum(told[:-1])  # each is a number, or this raises
    return Belief(Epoch(number, int(tag, 16)), _STATES[state], _MODES[mode], *told)


def transition_to_text(transition: Transition) -> str:
    """Write a transition as JSON, apart from its revision."""
    return json.dumps([*transition[1:-1], cause_to_wire(transition.cause)], separators=(",", ":"))


def transition_from_text(revision: int, written: str) -> Transition:
    """Read a transition.

    Raises:
        unreadable.ERRORS: It is none.
    """
    wire: list[Any] = json.loads(written)
    at, breaker, worker, old, new, old_mode, new_mode, cause = wire
    return Transition(
        revision,
        seconds(at),
        text(breaker),
        text(worker),
        State(old),
        State(new),
        Mode(old_mode),
        Mode(new_mode),
        cause_from_wire(cause),
    )
