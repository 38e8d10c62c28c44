"""The feed: every worker of the shop tells the demo what its breakers do, a JSON object a line over TCP."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any, NamedTuple, Self, TypedDict, cast


class Report(TypedDict):
    """One line of the feed: a breaker's state in one worker, and why it changed.

    `at` is when, in seconds of the monotonic clock that all processes of a machine share, and `epoch` which one.
    """

    worker: int
    breaker: str
    state: str
    cause: str
    retry_after: float
    at: float
    epoch: list[int]


class Standing(TypedDict):
    """Another line: how one worker stands with the fleet's store."""

    worker: int
    store: str


class Belief(NamedTuple):
    """What one worker believes of one breaker; `due` is when it probes, in seconds of `time.monotonic`."""

    state: str
    due: float = 0.0


class Board:
    """The latest word of every worker on every breaker and on the store, and the transitions as text.

    Attributes:
        workers: Their process ids; whoever comes in place of one that is gone takes its number.
        beliefs: By worker and breaker.
        stores: How each worker stands with the store, where there is one.
        reports: All transitions.
        news: The same as text.
    """

    def __init__(self) -> None:
        self.workers: list[int] = []
        self.beliefs: dict[tuple[int, str], Belief] = {}
        self.stores: dict[int, str] = {}
        self.reports: list[Report] = []
        self.news: list[str] = []
        self._gone: set[int] = set()
        self._began = time.monotonic()

    def start_clock(self) -> None:
        """Tell the times of transitions from now on."""
        self._began = time.monotonic()

    def number(self, worker: int) -> int:
        """The number that a worker goes by, from 1 on."""
        if worker not in self.workers:
            vacant = next((index for index, known in enumerate(self.workers) if known in self._gone), None)
            if vacant is None:
                self.workers.append(worker)
            else:
                self._gone.discard(self.workers[vacant])
                self.workers[vacant] = worker
        return self.workers.index(worker) + 1

    def note(self, report: Report) -> None:
        """Take in a breaker's state."""
        number = self.number(report["worker"])
        breaker, state = report["breaker"], report["state"]
        self.beliefs[report["worker"], breaker] = Belief(state, time.monotonic() + report["retry_after"])
        if report["cause"]:
            self.reports.append(report)
            self.tell(f"worker {number}  {breaker}: {state} ({report['cause']})")

    def note_store(self, standing: Standing) -> None:
        """Take in how a worker stands with the store."""
        number, known = self.number(standing["worker"]), self.stores.get(standing["worker"])
        self.stores[standing["worker"]] = standing["store"]
        if known is not None:
            self.tell(f"worker {number}  store: {standing['store']}")

    def tell(self, text: str) -> None:
        """Add to the news."""
        self.news.append(f"{time.monotonic() - self._began:5.1f} s  {text}")

    def miss(self, worker: int) -> None:
        """Note that a worker has ended."""
        self._gone.add(worker)
        self.stores.pop(worker, None)

    @property
    def store(self) -> str:
        """How the workers stand with the store, the worst first; `""` where there is none."""
        return max(self.stores.values(), default="")


class Feed:
    """Where the workers connect. They end themselves when it goes away.

    Args:
        board: Takes in each line.
    """

    def __init__(self, board: Board) -> None:
        self._board = board
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []
        self.address = ""

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        told: dict[str, Any] = {}
        try:
            async for line in reader:
                told = json.loads(line)
                if "store" in told:
                    self._board.note_store(cast("Standing", told))
                else:
                    self._board.note(cast("Report", told))
        except ConnectionError:
            pass  # the worker was killed
        finally:
            writer.close()
            if told:
                self._board.miss(told["worker"])

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._listen, "127.0.0.1", 0)
        self.address = "{}:{}".format(*self._server.sockets[0].getsockname())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
            for writer in self._writers:
                writer.transport.abort()
            await self._server.wait_closed()
