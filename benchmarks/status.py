"""What a look at a whole fleet costs."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from benchmarks.effort import Effort
from benchmarks.fleet import PATIENCE, STORES, crew
from benchmarks.fleet_worker import declaration
from benchmarks.rows import Budget, Row
from recloser import Registry
from recloser.status.snapshot import snapshot

BREAKERS, WORKERS = 200, 8


@dataclass
class SnapshotCase:
    """One document of all breakers and workers, read from the store. The workers are idle: theirs are other rows."""

    kind: str
    name: str = f"snapshot of {BREAKERS} breakers x {WORKERS} workers"
    taken: list[float] = field(default_factory=list)

    def measure(self, effort: Effort) -> None:
        self.taken, size = [], min(BREAKERS, effort.breakers)
        with (
            STORES[self.kind]() as (store, _),
            crew(store, WORKERS - 1, breakers=size - 1),
            Registry(declaration(store, size - 1)) as own,
        ):
            if not own.ready(PATIENCE):
                raise RuntimeError(str(own.store_health))
            for breaker in own.values():
                breaker.call(abs, 1)
            _until(lambda: _is_whole(own, size))
            for _ in range(effort.trips):
                began = time.perf_counter()
                snapshot(own)
                self.taken.append((time.perf_counter() - began) * 1e3)
                time.sleep(0.01)

    def rows(self) -> list[Row]:
        return [Row(self.name, self.kind, min(self.taken), "ms", budget=Budget("<", 20.0))]


def snapshots() -> list[SnapshotCase]:
    return [SnapshotCase(kind) for kind in STORES]


def _is_whole(registry: Registry, size: int) -> bool:
    fleet = registry.fleet(PATIENCE)
    told = [heard.worker.beliefs for heard in fleet.workers] if fleet is not None else []
    return len(told) == WORKERS and all(len(beliefs) == size for beliefs in told)


def _until(condition) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError("the fleet is not whole")
        time.sleep(0.1)
