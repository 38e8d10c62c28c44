"""Queues in a folder of their own, with clocks that stand still until a test moves them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.acting import Clock
from recloser import CircuitBreaker
from recloser.deferred import Queue
from recloser.deferred.table import JobTable


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def payments(clock: Clock) -> CircuitBreaker:
    return CircuitBreaker(
        "payments",
        clock=clock,
        wall_clock=clock.of_day,
        failure_threshold=2,
        recovery_timeout=10,
        recovery_jitter=0,
    )


Make = Callable[..., Queue]


@pytest.fixture
def make(tmp_path: Path, clock: Clock, payments: CircuitBreaker) -> Iterator[Make]:
    made: list[JobTable] = []

    def make_queue(boot: str = "one", **options: Any) -> Queue:
        path = tmp_path / "queue" / "jobs.db"
        table = JobTable(path, clock=clock, wall_clock=clock.of_day, boot=boot)
        made.append(table)
        return Queue(path, {"payments": payments}, table=table, **options)

    yield make_queue
    for table in made:
        table.close()


@pytest.fixture
def queue(make: Make) -> Queue:
    return make(rate=1000.0)
