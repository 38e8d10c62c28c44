"""The feed: every worker of the shop tells the demo what its breakers do, a JSON object a line over TCP."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import NamedTuple, Self, TypedDict


class Report(TypedDict):
    """One line of the feed: a breaker's state in one worker, and why it changed."""

    worker: int
    breaker: str
    state: str
    cause: str
    retry_after: float


class Belief(NamedTuple):
    """What one worker believes of one breaker; `due` is when it probes, in seconds of `time.monotonic`."""

    state: str
    due: float = 0.0


class Board:
    """The latest word of every worker on every breaker, and the transitions as text."""

    def __init__(self) -> None:
        self.workers: list[int] = []
        self.beliefs: dict[tuple[int, str], Belief] = {}
        self.news: list[str] = []
        self._began = time.monotonic()

    def start_clock(self) -> None:
        """Tell the times of transitions from now on."""
        self._began = time.monotonic()

    def note(self, report: Report) -> None:
        """Take in one line of the feed."""
        worker, breaker, state = report["worker"], report["breaker"], report["state"]
        if worker not in self.workers:
            self.workers.append(worker)
        self.beliefs[worker, breaker] = Belief(state, time.monotonic() + report["retry_after"])
        if report["cause"]:
            when = time.monotonic() - self._began
            name = self.workers.index(worker) + 1
            self.news.append(f"{when:5.1f} s  worker {name}  {breaker}: {state} ({report['cause']})")


class Feed:
    """Where the workers connect. They end themselves when it goes away.

    Args:
        hear: Called with each line.
    """

    def __init__(self, hear: Callable[[Report], object]) -> None:
        self._hear = hear
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []
        self.address = ""

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        try:
            async for line in reader:
                self._hear(json.loads(line))
        except ConnectionError:
            pass  # the worker was killed
        finally:
            writer.close()

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
