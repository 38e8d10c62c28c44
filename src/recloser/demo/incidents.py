"""What befalls the fleet while its services are sick, and what was measured of it.

Nothing here is computed: times are between moments that happened, and probes are counted by the service they reach.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import defaultdict
from contextlib import suppress
from typing import Final

from recloser.demo.feed import Board
from recloser.demo.meeting import Meeting
from recloser.demo.script import OUTAGE, SERVICES, Phase, Script
from recloser.demo.stage import WORKERS, Stage
from recloser.demo.tally import Answer, Tally, percent
from recloser.stores.opening import open_store
from recloser.stores.protocol import Store, StoreError
from recloser.stores.view import FleetView, Held

PROBED: Final = "inventory"  # hangs when it is sick, so that its probes take a while
LOOK_SECONDS: Final = 0.01
DRAINED_SECONDS: Final = 0.4  # the shop's own time-out, and a little more
KILL_A_WORKER: Final = 0.2  # of the outage
KILL_THE_SERVER: Final = 0.6
START_THE_SERVER: Final = 0.85


class Incidents:
    """Kills the worker that holds a probe, then the server, and finds out what that did.

    Args:
        stage: Where.
        place: Where its workers meet.
        script: How long the outage lasts.
        tally: What visitors got.

    Attributes:
        findings: What was measured, as lines.
    """

    def __init__(self, stage: Stage, place: Meeting, script: Script, tally: Tally) -> None:
        self.findings: list[str] = []
        self._stage = stage
        self._place = place
        self._script = script
        self._tally = tally
        self._began = 0.0

    async def play(self) -> None:
        """Let the incidents of the outage happen; begins with it."""
        self._began = time.monotonic()
        observer = open_store(self._place.url(self._stage.namespace), self._stage.namespace)
        try:
            await self._count_probes()
            await self._until(KILL_A_WORKER)
            await self._kill_the_prober(observer)
            await self._until(KILL_THE_SERVER)
            await self._tell_probes()
        finally:
            await asyncio.to_thread(observer.close)
        if self._place.has_server:
            await self._lose_the_server()

    async def _until(self, share: float) -> None:
        await asyncio.sleep(self._began + share * self._script.outage - time.monotonic())

    @property
    def _left(self) -> float:
        return self._began + KILL_THE_SERVER * self._script.outage - time.monotonic()

    # -- probes ------------------------------------------------------------------------------------------------

    async def _count_probes(self) -> None:
        """Let the service count from when every worker has opened and the calls under way have ended."""
        board = self._stage.board
        while self._left > 0:
            await asyncio.sleep(LOOK_SECONDS)
            if _all_open(board):
                break
        await asyncio.sleep(DRAINED_SECONDS)
        await self._stage.downstream.become({PROBED: OUTAGE[PROBED]})

    async def _tell_probes(self) -> None:
        services = await self._stage.downstream.report()
        at_once = services[PROBED]["at_once"]
        self.findings.append(f"probes of the {PROBED} at once, over all workers: at most {at_once}")

    async def _kill_the_prober(self, observer: Store) -> None:
        while self._left > 0:
            held = await self._probe(observer, "")
            if held is None:
                return
            lease, pid = held
            killed = time.monotonic()
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            if not await self._is_held_still(observer, lease.worker):
                continue  # it had ended just before
            number = self._stage.board.number(pid)
            self._stage.board.tell(f"worker {number} is killed while it holds the probe of the {PROBED}")
            if await self._probe(observer, lease.worker) is not None:
                self.findings.append(
                    f"worker {number} was killed while it held the probe of the {PROBED}: the next probe began "
                    f"{time.monotonic() - killed:.2f} s later; a lease is {self._script.lease:.2f} s"
                )
            return

    async def _probe(self, observer: Store, dead: str) -> tuple[Held, int] | None:
        """Wait for a probe under way that is not of the worker `dead`; tell it and its process."""
        while self._left > 0:
            view = await asyncio.to_thread(_looked, observer)
            if view is not None:
                pids = {heard.worker.id: heard.worker.pid for heard in view.workers}
                for lease in _leases(view):
                    if lease.is_used and lease.worker != dead and lease.worker in pids:
                        return lease, pids[lease.worker]
            await asyncio.sleep(LOOK_SECONDS)
        return None

    async def _is_held_still(self, observer: Store, worker: str) -> bool:
        view = await asyncio.to_thread(_looked, observer)
        return view is not None and any(lease.worker == worker for lease in _leases(view))

    # -- the server --------------------------------------------------------------------------------------------

    async def _lose_the_server(self) -> None:
        before = self._tally.of(phase=Phase.OUTAGE)
        board = self._stage.board
        board.tell("the store's server is killed")
        killed = time.monotonic()
        await self._place.kill()
        await self._until(START_THE_SERVER)
        told = board.store
        gone = time.monotonic() - killed
        meanwhile = Tally(self._tally.visits(Phase.OUTAGE)[len(before) :])
        await self._place.start()
        board.tell("the store's server is back, empty")
        self.findings.append(
            f"the store's server was gone for {gone:.1f} s (status: {told or 'none'}): {len(meanwhile)} requests, "
            f"{percent(meanwhile.share(Answer.ERROR))} errors, p99 {meanwhile.latency(0.99) * 1000:.0f} ms; "
            f"in the outage before: {percent(before.share(Answer.ERROR))} errors, "
            f"p99 {before.latency(0.99) * 1000:.0f} ms"
        )


def opened_together(board: Board) -> list[str]:
    """Tell how far apart the workers opened, for the first trip of each breaker."""
    openings: dict[str, dict[int, float]] = defaultdict(dict)
    for report in board.reports:
        if report["state"] == "open":
            openings[report["breaker"]].setdefault(report["worker"], report["at"])
    apart: dict[str, float] = {}
    for breaker, moments in openings.items():
        first, *others = sorted(moments.values())[:WORKERS]  # later ones began in the outage
        if len(others) == WORKERS - 1:
            apart[breaker] = max(others) - first
    shown = ", ".join(f"{breaker} {seconds * 1000:.1f} ms" for breaker, seconds in apart.items())
    return [f"both workers opened together, one after the other by: {shown}"] if apart else []


def _all_open(board: Board) -> bool:
    beliefs = [board.beliefs.get((worker, service)) for worker in board.workers for service in SERVICES]
    return all(belief is not None and belief.state == "open" for belief in beliefs)


def _looked(observer: Store) -> FleetView | None:
    try:
        observer.connect()
        return observer.view(0)
    except StoreError:
        return None


def _leases(view: FleetView) -> tuple[Held, ...]:
    shared = view.breakers.get(PROBED)
    return () if shared is None else shared.leases
