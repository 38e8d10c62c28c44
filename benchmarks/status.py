"""What a look at a whole fleet costs."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass, field

from benchmarks.effort import Effort
from benchmarks.fleet import PATIENCE, STORES
from benchmarks.rows import Budget, Row
from recloser import Registry
from recloser.status.snapshot import snapshot

BREAKERS, WORKERS = 200, 8


def fleet_declaration(store: str, size: int) -> dict[str, object]:
    rates = {"failure_rate_threshold": 0.5, "window_seconds": 60, "minimum_calls": 100_000}
    breakers = {f"breaker-{number}": rates for number in range(size)}
    return {"BREAKERS": breakers, "NAMESPACE": "bench", "STORE": store}


@dataclass
class SnapshotCase:
    """One document of all breakers and workers, read from the store. The workers are idle: theirs are other rows."""

    kind: str
    name: str = f"snapshot of {BREAKERS} breakers x {WORKERS} workers"
    taken: list[float] = field(default_factory=list)

    def measure(self, effort: Effort) -> None:
        self.taken, size = [], min(BREAKERS, effort.breakers)
        with STORES[self.kind]() as (store, _), ExitStack() as stack:
            fleet = [stack.enter_context(Registry(fleet_declaration(store, size))) for _ in range(WORKERS)]
            for worker in fleet:
                if not worker.ready(PATIENCE):
                    raise RuntimeError(str(worker.store_health))
                for breaker in worker.values():
                    breaker.call(abs, 1)
            _until(lambda: _is_whole(fleet[0], size))
            for _ in range(effort.trips):
                began = time.perf_counter()
                snapshot(fleet[0])
                self.taken.append((time.perf_counter() - began) * 1e3)
                time.sleep(0.01)

    def rows(self) -> list[Row]:
        return [Row(self.name, self.kind, min(self.taken), "ms", budget=Budget("<", 20.0))]


def snapshots() -> list[SnapshotCase]:
    return [SnapshotCase(kind) for kind in STORES]


def _is_whole(registry: Registry, size: int) -> bool:
    fleet = registry.fleet(PATIENCE)
    told = [heard.worker.beliefs for heard in fleet.workers] if fleet is not None else []
    return len(told) == WORKERS and all(
        len(beliefs) == size and all(belief.calls for belief in beliefs.values()) for beliefs in told
    )


def _until(condition) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError("the fleet is not whole")
        time.sleep(0.1)
