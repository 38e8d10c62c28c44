"""One drive: the script played once on one stage."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from recloser.demo.feed import Board
from recloser.demo.incidents import Incidents, opened_together
from recloser.demo.meeting import Meeting
from recloser.demo.orders import Orders
from recloser.demo.script import OUTAGE, SERVICES, Phase, Script
from recloser.demo.stage import ServiceReport, Stage
from recloser.demo.tally import Tally
from recloser.demo.traffic import Traffic

LOOK_SECONDS: Final = 0.25
WELL: Final = "healthy"


class Drive:
    """What happens during one drive, for screens to show and for the summary to compare.

    Args:
        title: What this drive is about.
        script: Its phases.
        stage: Where it is played.
        place: Where its workers meet, if they do: then the fleet has its incidents too.

    Attributes:
        findings: What was measured of the fleet, as lines.
        orders: Those that were put off.
    """

    def __init__(self, title: str, script: Script, stage: Stage, place: Meeting | None = None) -> None:
        self.title = title
        self.phase = Phase.HEALTHY
        self.tally = Tally()
        self.services: dict[str, ServiceReport] = {}
        self._script = script
        self._stage = stage
        self._phase_ends = 0.0
        self._incidents = Incidents(stage, place, script, self.tally) if place is not None else None
        self.findings: list[str] = []
        self.orders = Orders(stage)

    @property
    def board(self) -> Board:
        """What the workers report of their breakers."""
        return self._stage.board

    @property
    def seconds_left(self) -> float:
        """Seconds until the phase ends."""
        return max(0.0, self._phase_ends - time.monotonic())

    def reached_sick(self, service: str) -> int:
        """How many requests reached a service while it was sick."""
        received = self.services[service]["received"] if service in self.services else {}
        return sum(number for condition, number in received.items() if condition != WELL)

    @property
    def all_reached_sick(self) -> int:
        """How many requests reached any service while it was sick."""
        return sum(self.reached_sick(service) for service in SERVICES)

    async def play(self, look: Callable[[], object]) -> None:
        """Play the script.

        Args:
            look: Called a few times a second, and at the end.
        """
        looking = asyncio.create_task(self._keep_looking(look))
        try:
            async with (
                asyncio.TaskGroup() as tasks,
                Traffic(self._stage.shop_url, self._stage.shop, self.tally.add, self.orders) as traffic,
            ):
                await traffic.warm_up()
                self.board.start_clock()
                for phase, seconds in self._script.phases:
                    self.phase, self._phase_ends = phase, time.monotonic() + seconds
                    outage = phase is Phase.OUTAGE
                    await self._stage.downstream.become(OUTAGE if outage else dict.fromkeys(OUTAGE, WELL))
                    if phase is Phase.RECOVERY:
                        self.orders.payments_recovered()
                    if outage and self._incidents is not None:
                        tasks.create_task(self._incidents.play())
                    await traffic.flow(phase, seconds)
            await self.orders.complete()
        finally:
            looking.cancel()
            with suppress(asyncio.CancelledError):
                await looking
        self.services = await self._stage.downstream.report()
        if self._incidents is not None:
            self.findings = [*opened_together(self.board), *self._incidents.findings]
        look()

    async def _keep_looking(self, look: Callable[[], object]) -> None:
        while True:
            self.services = await self._stage.downstream.report()
            look()
            await asyncio.sleep(LOOK_SECONDS)
