"""The Lua and the SQL say what the rules say: the same operations, the same answers, the same view."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recloser.core.events import Cause, Rule
from recloser.core.state import Epoch, Mode, Override, State
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
)
from recloser.stores.protocol import Store
from recloser.stores.record import UNKNOWN, Record
from recloser.stores.view import Shared, Worker
from stores.fleet import START, Clock
from stores.memory import Memory, MemoryStore

BREAKERS = ("a:b", "x{y}")
WORKERS = ("w1", "w2", "w3")
TERMS = (
    Terms(
        recovery_timeout=1.0,
        recovery_jitter=0.3,
        lasting=2.0,
        recovery_timeout_max=7.0,
        probe_timeout=0.7,
        window_seconds=3.0,
        minimum_calls=3,
        failure_rate=0.5,
        slow_rate=0.7,
        half_open_max_calls=2,
        success_threshold=2,
    ),
    Terms(
        recovery_timeout=0.9,
        lasting=1.0,
        probe_timeout=0.3,
        window_seconds=1.7,
        failure_rate=0.3,
        minimum_calls=2,
        trip_quorum=2,
        honor_retry_after=False,
    ),
    Terms(
        recovery_timeout=1.1, recovery_backoff=1.3, probe_timeout=0.5, trip_quorum=3, half_open_max_calls=3
    ),
)
CAUSES = (Cause(Rule.CONSECUTIVE_FAILURES, 5, 0, 5.0), Cause(Rule.FAILURE_RATE, 3, 7, 1 / 3))
TEXTS = ("", "Timeout", 'a "b"\n\x00é😀')
WAITS = (0.0, 0.0, 0.1, 0.3, 0.5, 0.7, 1.0, 1.7, 2.5)


class Actors:
    """Draws what workers do next: mostly what fits the state, sometimes anything.

    Args:
        random: Of this run.
    """

    def __init__(self, random: Random) -> None:
        self.random = random

    def waits(self, records: dict[str, Record], now: float) -> float:
        """Draw how much time passes: often to about the end of an open period."""
        due = [record.open_until - now for record in records.values() if record.open_until > now]
        if due and self.random.random() < 0.4:
            return max(0.0, min(due) - self.random.choice([0.0, 0.004, 0.3]))
        if self.random.random() < 0.02:
            return self.random.choice([-3600.0, -5.0, -0.5])  # the server's clock is set back
        return self.random.choice(WAITS)

    def acts(self, records: dict[str, Record]) -> dict[str, Any]:
        """Draw an operation, apart from the epochs and leases that it is about."""
        random, choice = self.random, self.random.choice
        breaker = choice(BREAKERS)
        fitting = {State.CLOSED: ["flush"], State.OPEN: ["lease"], State.HALF_OPEN: ["lease", "settle"]}
        kinds = fitting[records[breaker].state] if random.random() < 0.8 else list(OPERATIONS)
        kind = choice(kinds)
        return {
            "kind": kind,
            "breaker": breaker,
            "worker": choice(WORKERS),
            "tag": random.randrange(200),
            "jitter": choice([0.0, 0.25, 0.9]),
            # Which of the epochs that the breaker has had, from the latest backwards; 3: one of no lineage.
            "epoch": choice([0] * 16 + [1, 1, 2, 3]),
            "terms": TERMS[BREAKERS.index(breaker)] if random.random() < 0.85 else choice(TERMS),
            **OPERATIONS[kind](self),
        }

    def override(self) -> Override:
        mode = self.random.choice([Mode.AUTO, Mode.AUTO, Mode.AUTO, Mode.SHADOW, *Mode])
        return Override(mode, "ann", self.random.choice(TEXTS), self.random.choice([None, START + 3.25]))

    def leases(self) -> list[int]:
        return [self.random.randrange(4) for _ in range(self.random.choice([0, 0, 1, 2]))]

    def flush(self) -> dict[str, Any]:
        random, choice = self.random, self.random.choice
        calls = random.randrange(4)
        trip = Trip(
            choice(CAUSES), choice([0.5, 1.7, 100.0]), random.randrange(4), choice(TEXTS), choice([0.3, 6.0])
        )
        return {
            "calls": calls,
            "failures": random.randint(0, calls),
            "slow": random.randint(0, calls),
            "trip": trip if random.random() < 0.3 else None,
            **self.failure(),
        }

    def failure(self) -> dict[str, Any]:
        choice = self.random.choice
        return {"retry_after": choice([0.0, 0.0, 1.0, 3.3, 60.0]), "last_failure": choice(TEXTS)}

    def lease(self) -> dict[str, Any]:
        ids = {field: self.leases() for field in ("kept", "used", "back")}
        return {
            "wanted": self.random.randrange(4),
            **(ids if self.random.random() < 0.3 else ids | {"back": []}),
        }

    def settle(self) -> dict[str, Any]:
        chance = self.random.random
        verdict = {"counts": chance() < 0.8, "failed": chance() < 0.15, "slow": chance() < 0.05}
        return {"lease": self.random.randrange(6), **verdict, **self.failure()}

    def force(self) -> dict[str, Any]:
        chance = self.random.random
        return {"override": self.override(), "resets": chance() < 0.3, "expects": chance() < 0.5}

    def sync(self) -> dict[str, Any]:
        choice = self.random.choice
        record = Record(
            state=choice(list(State)),
            reopenings=choice([0, 1, 2]),
            cause=choice([None, *CAUSES]),
            override=self.override(),
            last_failure=choice(TEXTS),
        )
        remaining = choice([0.0, 0.5, 2.5]) if record.state is not State.CLOSED else 0.0
        return {
            "reads": choice([True, False]),
            "raises": choice([0, 0, 1]),
            "remaining": remaining,
            "record": record,
        }


OPERATIONS = {
    "flush": Actors.flush,
    "lease": Actors.lease,
    "settle": Actors.settle,
    "force": Actors.force,
    "sync": Actors.sync,
}


class Run:
    """Two stores that are told the same, by what the first of them has answered so far."""

    def __init__(self, stores: list[Store]) -> None:
        self.stores = stores
        self.epochs: dict[str, list[Epoch]] = {name: [Epoch(0, 0)] for name in BREAKERS}
        self.leases: dict[str, list[str]] = {name: [] for name in BREAKERS}

    def operation(self, kind: str, **told: Any) -> Operation:
        name = told["breaker"]
        held = self.epochs[name]
        back = told.pop("epoch")
        epoch = Epoch(held[-1].number, 999) if back == 3 else held[max(0, len(held) - 1 - back)]
        chance = Chance(told.pop("tag"), told.pop("jitter"))
        terms = told.pop("terms")
        leased = {"breaker": name, "worker": told.pop("worker"), "chance": chance}
        del told["breaker"]
        match kind:
            case "flush":
                return Flush(**leased, terms=terms, epoch=epoch, **told)
            case "lease":
                ids = {
                    field: tuple(self._lease(name, index) for index in told.pop(field))
                    for field in ("kept", "used", "back")
                }
                return Lease(**leased, terms=terms, epoch=epoch, **ids, **told)
            case "settle":
                lease = self._lease(name, told.pop("lease"))
                return Settle(**leased, terms=terms, epoch=epoch, lease=lease, **told)
            case "force":
                return Force(**leased, expected=epoch if told.pop("expects") else None, **told)
            case _:
                raised = epoch._replace(number=epoch.number + told.pop("raises"))
                mine = None if told.pop("reads") else raised
                return Sync(**leased, epoch=mine, **told)

    def _lease(self, name: str, index: int) -> str:
        known = self.leases[name]
        return known[-1 - index] if index < len(known) else "nobody-0"

    def exchange(self, described: list[dict[str, Any]]) -> None:
        batch = [self.operation(**told) for told in described]
        first, *others = [store.exchange(batch) for store in self.stores]
        for answers in others:
            assert list(answers.answers) == list(first.answers)
            assert (answers.now, answers.revision) == (first.now, first.revision)
        for operation, answer in zip(batch, first.answers, strict=True):
            name = operation.breaker
            if answer.record.epoch != self.epochs[name][-1]:
                self.epochs[name].append(answer.record.epoch)
            self.leases[name] += [grant.id for grant in answer.grants if grant.id not in self.leases[name]]

    def beat(self, worker: str) -> None:
        described = Worker(worker, "host", 1, "0.1", START, {})
        assert len({store.beat(described) for store in self.stores}) == 1

    def compare_views(self) -> None:
        first, *others = [store.view() for store in self.stores]
        for view in others:
            assert view.now == first.now
            assert list(view.transitions) == list(first.transitions)
            assert _known(view.breakers) == _known(first.breakers)
            assert sorted(view.workers) == sorted(first.workers)


def _known(breakers: Any) -> dict[str, Shared]:
    return {name: shared for name, shared in breakers.items() if shared != Shared(UNKNOWN)}


REAL = pytest.mark.parametrize("make_stores", ["sqlite", "valkey", "redis"], indirect=True, scope="session")


@REAL
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(random=st.randoms(use_true_random=True), steps=st.integers(1, 60))
def test_every_store_answers_as_the_rules_do(make_stores, random, steps):
    """For any operations, repeated, stale or out of any order, and any passing of time."""
    clock, memory, actors = Clock(), Memory(), Actors(random)
    store = make_stores()(clock)
    store.connect()
    try:
        run = Run([MemoryStore(memory, clock), store])
        for _ in range(steps):
            records = {name: memory.entries[name].record for name in BREAKERS if name in memory.entries}
            known = dict.fromkeys(BREAKERS, UNKNOWN) | records
            clock.advance(actors.waits(records, clock.now))
            if random.random() < 0.2:
                run.beat(random.choice(WORKERS))
            run.exchange([actors.acts(known) for _ in range(random.choice([1, 1, 2, 3]))])
        run.compare_views()
    finally:
        store.close()


@REAL
@pytest.mark.parametrize("reopenings", [0, 3, 60, 2000])
def test_a_backoff_beyond_all_numbers_is_the_cap(make_stores, reopenings):
    """2 to the power of 2000 is no number in any of the languages."""
    clock, memory = Clock(), Memory()
    store = make_stores()(clock)
    store.connect()
    run = Run([MemoryStore(memory, clock), store])
    told = {"breaker": "a:b", "worker": "w1", "jitter": 0.25, "terms": TERMS[0], "epoch": 0}
    mine = Record(state=State.HALF_OPEN, reopenings=reopenings)
    run.exchange(
        [{**told, "kind": "sync", "tag": 1, "reads": False, "raises": 1, "remaining": 0.0, "record": mine}]
    )
    run.exchange([{**told, "kind": "lease", "tag": 2, "wanted": 1, "kept": [], "used": [], "back": []}])
    verdict = {"counts": True, "failed": True, "slow": False, "retry_after": 0.0, "last_failure": ""}
    run.exchange([{**told, "kind": "settle", "tag": 3, "lease": 0, **verdict}])
    assert store.exchange([]).revision == 3
    store.close()
