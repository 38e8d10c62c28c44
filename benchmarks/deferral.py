"""What it takes to put a request off: from the first byte to the 202, the job on the disk."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from math import inf
from pathlib import Path

from fastapi import FastAPI
from starlette.requests import Request

from benchmarks.effort import Effort
from benchmarks.rows import Budget, Row
from recloser import Registry
from recloser.deferred import Queue
from recloser.fastapi import guard, install
from recloser.http import plans

BACKLOG = 5_000  # jobs that wait already
THREADS = 4
BODY = json.dumps({"product": 7, "quantity": 1}).encode()


class SubmissionCase:
    """A queue in the system's folder for temporary files, with a backlog."""

    name = "deferred submission, fsync included"

    def __init__(self) -> None:
        self.bare = self.call = self.request = inf
        self.rate = 0.0

    def measure(self, effort: Effort) -> None:
        number = effort.rounds * 2
        with tempfile.TemporaryDirectory() as folder:
            registry = Registry({"BREAKERS": {"payments": {}}})
            queue = Queue(Path(folder) / "queue" / "jobs.db", registry, max_jobs=10 * BACKLOG)
            task = queue.task("payments", name="charge")(print)
            with queue.table.transaction() as database:
                database.execute(
                    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
                    " INSERT INTO jobs (id, task, fingerprint, payload, state, submitted, born, due)"
                    " SELECT 'backlog-' || i, 'charge', '', '{}', 'queued', 0, 0, 0 FROM n",
                    (BACKLOG,),
                )
            bare = sqlite3.connect(Path(folder) / "bare.db", isolation_level=None)
            bare.executescript(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE t (payload)"
            )
            calls, bares = [], []
            for _ in range(number):
                calls.append(_timed(lambda: task.later({"product": 7})))
                bares.append(_timed(lambda: bare.execute("INSERT INTO t VALUES (?)", (BODY,))))
            bare.close()
            began = time.perf_counter()
            with ThreadPoolExecutor(THREADS) as pool:
                list(pool.map(task.later, range(number)))
            self.rate = max(self.rate, number / (time.perf_counter() - began))
            requests = asyncio.run(_requests(registry, task, number))
            queue.close()
        # Measured again on a busy machine, the better half counts: a slower program cannot outrun noise.
        self.bare = min(self.bare, statistics.median(bares) * 1e3)
        self.call = min(self.call, statistics.median(calls) * 1e3)
        self.request = min(self.request, statistics.median(requests) * 1e3)

    def rows(self) -> list[Row]:
        floor, ratio = "a bare insert, fsync included", self.call / self.bare
        return [
            Row(self.name, floor, self.bare, "ms"),
            Row(self.name, "a call, beside it", self.call, "ms", floor, ratio, Budget("<", 3.0)),
            Row(self.name, "a call, median", self.call, "ms", budget=Budget("<", 3.0)),
            Row(self.name, "a request, median", self.request, "ms", budget=Budget("<", 3.0)),
            Row(self.name, f"{THREADS} threads at once", self.rate, "/s", budget=Budget(">=", 300.0)),
        ]


async def _requests(registry: Registry, task, number: int) -> list[float]:
    app = FastAPI()
    install(app, registry)

    @app.post("/checkout")
    @guard("payments", plan=[plans.defer(task)])
    async def checkout(request: Request) -> None:
        raise AssertionError("the circuit is open")

    registry["payments"].force_open(by="bench", reason="bench")
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/checkout",
        "raw_path": b"/checkout",
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"bench"), (b"content-type", b"application/json")],
        "server": ("bench", 80),
        "client": ("bench", 1),
    }
    taken: list[float] = []

    async def receive():
        return {"type": "http.request", "body": BODY, "more_body": False}

    async def send(message) -> None:
        if message["type"] == "http.response.start" and message["status"] != 202:
            raise AssertionError(message)

    for _ in range(number):
        began = time.perf_counter()
        await app(dict(scope), receive, send)
        taken.append(time.perf_counter() - began)
    return taken


def _timed(call) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began
