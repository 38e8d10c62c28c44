"""A store in a dict: the rules as they are, which the real stores are compared with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from recloser.core.window import BUCKETS
from recloser.stores.entry import Entry
from recloser.stores.operations import Answer, Answers, Operation
from recloser.stores.protocol import News
from recloser.stores.rules import Change
from recloser.stores.view import FleetView, Heard, Held, Shared, Transition, Worker


@dataclass
class Memory:
    """What the clients of one store share."""

    entries: dict[str, Entry] = field(default_factory=dict)
    workers: dict[str, tuple[Worker, float]] = field(default_factory=dict)
    transitions: list[Transition] = field(default_factory=list)
    revision: int = 0


class MemoryStore:
    """One client."""

    address = "memory"
    poll_interval = 0.01

    def __init__(self, memory: Memory, clock: Callable[[], float]) -> None:
        self._memory = memory
        self._clock = clock
        self._told: dict[str, int] = {}

    def connect(self) -> None:
        self._told = {}

    def exchange(self, operations: Sequence[Operation]) -> Answers:
        memory, now = self._memory, self._clock()
        answers: list[Answer] = []
        for operation in operations:
            entry = memory.entries.setdefault(operation.breaker, Entry())
            change = Change(entry, now, now, self._alive)
            answer = change.apply(operation)
            if change.is_news:
                memory.revision += 1
                entry.record = entry.record._replace(revision=memory.revision)
            memory.transitions += [each._replace(revision=memory.revision) for each in change.transitions]
            answers.append(answer._replace(record=entry.record))
            self._told[operation.breaker] = entry.record.revision
        return Answers(now, memory.revision, answers)

    def _alive(self) -> int:
        return sum(at > self._clock() - 6 for _, at in self._memory.workers.values())

    def news(self) -> News | None:
        records = {
            name: entry.record
            for name, entry in self._memory.entries.items()
            if entry.record.revision > self._told.get(name, 0)
        }
        self._told |= {name: record.revision for name, record in records.items()}
        return News(self._clock(), records) if records else None

    def fileno(self) -> None:
        return None

    def beat(self, worker: Worker) -> int:
        now = self._clock()
        self._memory.workers[worker.id] = (worker, now)
        self._memory.workers = {
            key: held for key, held in self._memory.workers.items() if now - 60 <= held[1] <= now + 1
        }
        return self._alive()

    def leave(self, worker_id: str) -> None:
        self._memory.workers.pop(worker_id, None)

    def view(self, transitions: int = 100) -> FleetView:
        now = self._clock()
        return FleetView(
            now,
            {name: _shared(entry, now) for name, entry in self._memory.entries.items()},
            [Heard(worker, max(0.0, now - at)) for worker, at in self._memory.workers.values()],
            self._memory.transitions[::-1][:transitions],
        )

    def close(self) -> None:
        self._told = {}

    def abandon(self) -> None:
        self._told = {}


def _shared(entry: Entry, now: float) -> Shared:
    widest = max((width for width, _ in entry.buckets), default=0.0)
    held = [
        counts
        for (width, number), counts in entry.buckets.items()
        if width == widest and (number + BUCKETS) * width > now
    ]
    leases = [
        Held(place.worker, max(0.0, now - place.renewed), place.deadline - now, place.is_used)
        for place in entry.places.values()
        if place.deadline > now
    ]
    return Shared(
        entry.record,
        *(sum(counts[index] for counts in held) for index in range(3)),
        probe_successes=entry.successes,
        probe_expiries=entry.expiries,
        votes=sum(end > now for end in entry.votes.values()),
        leases=tuple(leases),
    )
