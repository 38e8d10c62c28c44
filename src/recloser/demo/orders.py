"""The orders that were put off: where each can be looked up, and what became of it.

Nothing here is computed: a completed order is one whose place says so and which stands in the journal of payments.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Final

import httpx2

from recloser.demo.feed import Board
from recloser.demo.stage import Charge, Stage

RATE: Final = 10.0  # orders begun per second, as both shops declare
POLL_SECONDS: Final = 0.1
PATIENCE_SECONDS: Final = 10.0  # beyond what the rate takes: the worker's own circuit has to close, too


class Orders:
    """What visitors were told of their orders, and what payments did.

    Args:
        stage: Where.

    Attributes:
        findings: What was measured, as lines.
    """

    def __init__(self, stage: Stage) -> None:
        self.findings: list[str] = []
        self._stage = stage
        self._places: dict[str, str] = {}
        self._replays: list[bool] = []
        self._recovered = 0.0

    def put_off(self, key: str, place: str) -> bool:
        """Note that an order was put off.

        Args:
            key: Its `Idempotency-Key`.
            place: Where to look.

        Returns:
            Whether it is to be sent once more, under its key.
        """
        self._places[key] = place
        return len(self._places) % 5 == 1

    def replayed(self, key: str, place: str) -> None:
        """Note where the answer to an order that was sent again leads."""
        self._replays.append(self._places[key] == place)

    def payments_recovered(self) -> None:
        """Note the moment."""
        self._recovered = time.monotonic()
        if self._places:
            self._board.tell(f"payments is well again: {len(self._places)} orders were put off")

    async def complete(self) -> None:
        """Wait until all are done, but not for ever, and find out how that went."""
        waiting = set(self._places.values())
        deadline = time.monotonic() + len(waiting) / RATE + PATIENCE_SECONDS
        async with httpx2.AsyncClient(base_url=self._stage.shop_url, trust_env=False) as client:
            while waiting and time.monotonic() < deadline:
                for place in sorted(waiting):
                    if await _is_done(client, place):
                        waiting.discard(place)
                await asyncio.sleep(POLL_SECONDS)
        self.findings = list(self._found(waiting, await self._stage.downstream.journal()))

    @property
    def _board(self) -> Board:
        return self._stage.board

    def _found(self, waiting: set[str], journal: dict[str, list[Charge]]) -> Iterator[str]:
        completed = [key for key, place in self._places.items() if place not in waiting and key in journal]
        moments = sorted(charge["at"] for key in completed for charge in journal[key])
        keyed = [charges for key, charges in journal.items() if key]
        doubles = sum(len(charges) - 1 for charges in keyed)
        took = max(0.0, moments[-1] - self._recovered) if moments else 0.0
        yield f"queued: {len(self._places)}, each answered with 202 and where to look"
        yield f"completed: {len(completed)}, the last one {took:.1f} s after payments was well again"
        if len(moments) > 1:
            pace = (len(moments) - 1) / (moments[-1] - moments[0])
            most = _most_within_a_second(moments)
            yield f"charged: {pace:.1f} per second, at most {most} within any; the queue begins {RATE:g} per second"
        yield f"doubles: {doubles}, in the journal of payments ({len(keyed)} orders)"
        same = sum(self._replays)
        yield f"keys sent again: {len(self._replays)}; answered with the first job: {same}"


def _most_within_a_second(moments: list[float]) -> int:
    return max((sum(first <= moment < first + 1 for moment in moments) for first in moments), default=0)


async def _is_done(client: httpx2.AsyncClient, place: str) -> bool:
    try:
        told = (await client.get(place)).raise_for_status().json()
    except httpx2.HTTPError:
        return False
    return bool(told["state"] == "done")
