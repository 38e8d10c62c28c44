"""What a look at a whole fleet costs."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from benchmarks import web
from benchmarks.effort import Effort
from benchmarks.fleet import PATIENCE, STORES, crew
from benchmarks.fleet_worker import declaration
from benchmarks.rows import Budget, Row
from benchmarks.timing import Candidate, TimedCase
from recloser import Registry
from recloser.status.snapshot import snapshot

BREAKERS, WORKERS = 200, 8


@dataclass
class SnapshotCase:
    """One document of all breakers and workers, read from the store. The workers are idle: theirs are other rows."""

    kind: str
    name: str = f"snapshot of {BREAKERS} breakers x {WORKERS} workers"
    timed: list[Row] = field(default_factory=list)

    def measure(self, effort: Effort) -> None:
        size, workers = min(BREAKERS, effort.breakers), min(WORKERS, effort.workers)
        with (
            STORES[self.kind]() as (store, _),
            crew(store, workers - 1, breakers=size - 1),
            Registry(declaration(store, size - 1)) as own,
        ):
            if not own.ready(PATIENCE):
                raise RuntimeError(str(own.store_health))
            for breaker in own.values():
                breaker.call(abs, 1)
            _until(lambda: _is_whole(own, workers, size))
            looking = {"snapshot": snapshot, "own": own}
            budget = Budget("<", 20_000)
            look = Candidate(
                self.kind, "snapshot(own)", looking, "", web.MICROSECOND, budget, prepare=_rest, once=True
            )
            case = TimedCase(self.name, [*web.microsecond(), look])
            case.measure(effort)
            self.timed = case.rows()

    def rows(self) -> list[Row]:
        return self.timed


def snapshots() -> list[SnapshotCase]:
    return [SnapshotCase(kind) for kind in STORES]


def _is_whole(registry: Registry, workers: int, size: int) -> bool:
    fleet = registry.fleet(PATIENCE)
    told = [heard.worker.beliefs for heard in fleet.workers] if fleet is not None else []
    return len(told) == workers and all(len(beliefs) == size for beliefs in told)


def _rest() -> None:
    time.sleep(0.01)  # the hub and the server get their turn


def _until(condition) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError("the fleet is not whole")
        time.sleep(0.1)
