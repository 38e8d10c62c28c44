"""One run: every case measured, measured again where a budget is missed, then the table and the record."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Protocol

from benchmarks import (
    calls,
    django_requests,
    endpoints,
    failures,
    fleet,
    metrics,
    page,
    peers,
    requests,
    retries,
    status,
)
from benchmarks.deferral import SubmissionCase
from benchmarks.effort import Effort
from benchmarks.imports import ImportCase
from benchmarks.memory import FootprintCase, RetainedCase
from benchmarks.refusals import refusal
from benchmarks.rows import Row

# A busy machine may spoil one measurement: a budget is missed when it stays so.
REPEATS = 3
HEADINGS = ("case", "candidate", "over bare", "ratio", "budget", "verdict")


class Case(Protocol):
    """One question."""

    def measure(self, effort: Effort) -> None: ...

    def rows(self) -> list[Row]: ...


def cases(compared: Sequence[peers.Peer]) -> Iterator[Case]:
    """Make the cases one after another: those with a fleet have threads, which none before should hear of."""
    yield from [
        calls.plain(compared),
        calls.several(),
        calls.bound_method(),
        calls.callable_object(),
        calls.partial(),
        calls.coroutine(compared),
        calls.block(),
        refusal(compared),
        failures.frequent(),
        failures.rare(),
        retries.first_try(),
        retries.first_try_async(),
        metrics.closed(),
        metrics.measured(),
        metrics.measured_by_default(),
        metrics.scrape(),
        RetainedCase(),
        FootprintCase(),
        ImportCase(),
        requests.untouched(),
        requests.untouched_in_loop(),
        endpoints.closed(),
        endpoints.stale(),
        requests.BodyCase(),
        django_requests.wsgi(),
        django_requests.asgi(),
        SubmissionCase(),
    ]
    yield from [
        fleet.closed(),
        fleet.failing(),
        *fleet.propagation(),
        fleet.HungCase(),
        fleet.LoadCase(),
        *fleet.idle(),
        *status.snapshots(),
        *page.pages(),
    ]


def run(effort: Effort, compared: Sequence[peers.Peer], results: Path) -> int:
    """Measure everything; print the table, write the record.

    Args:
        effort: How long to measure.
        compared: The breakers to compare with.
        results: The file to write.

    Returns:
        The exit status: 1 if a budget is missed.
    """
    load = os.getloadavg()
    rows = [row for case in cases(compared) for row in answer(case, effort)]
    missed = [row for row in rows if row.missed]
    surroundings = {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "load": [round(load[0], 2), round(os.getloadavg()[0], 2)],
        "recloser": metadata.version("recloser"),
        **peers.versions(),
    }
    print(table(rows))
    print(
        f"\nPython {surroundings['python']}, {surroundings['processors']} processors, "
        f"load {surroundings['load'][0]} before and {surroundings['load'][1]} after. "
        f"{len(missed) or 'No'} {'budget' if len(missed) == 1 else 'budgets'} missed."
    )
    record = {"surroundings": surroundings, "rows": [row.record() for row in rows]}
    results.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return 1 if missed else 0


def answer(case: Case, effort: Effort) -> list[Row]:
    """Measure a case, and again while a budget is missed."""
    case.measure(effort)
    for _ in range(REPEATS):
        if not any(row.missed for row in case.rows()):
            break
        case.measure(effort)
    return case.rows()


def table(rows: Sequence[Row]) -> str:
    lines = [HEADINGS, *(row.cells() for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(_line(cells, widths) for cells in lines)


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    padded = [
        cell.rjust(width) if heading in ("over bare", "budget") else cell.ljust(width)
        for heading, cell, width in zip(HEADINGS, cells, widths, strict=True)
    ]
    return "  ".join(padded).rstrip()
