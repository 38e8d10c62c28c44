"""The visitors of the shop: bounded traffic at a fixed rate, the same in every drive."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from itertools import islice
from random import Random
from types import TracebackType
from typing import Final, NamedTuple, Self
from uuid import uuid4

import httpx2

from recloser.demo.orders import Orders
from recloser.demo.script import Phase
from recloser.demo.shops import Shop
from recloser.demo.tally import Answer, Visit

RATE: Final = 100.0  # requests per second
PATIENCE_SECONDS: Final = 5.0  # of a visitor; the shop's own time-outs are far shorter
WARM_UP_VISITS: Final = 40
POPULAR_PRODUCTS: Final = 10
ALL_PRODUCTS: Final = 500


class Wish(NamedTuple):
    """One request a visitor makes."""

    route: str
    method: str
    path: str
    order: dict[str, int] | None = None
    key: str = ""  # for Idempotency-Key


ROUTES: Final = ("products", "recommendations", "checkout", "orders")


def wishes(shop: Shop) -> Iterator[Wish]:
    """Yield what visitors ask for, without end and, but for the keys of orders, the same every time.

    Args:
        shop: Whose visitors.
    """
    chance = Random(1234)  # noqa: S311 - repeatable on purpose
    while True:
        route = chance.choices(ROUTES, weights=(25, 45, 26, 4))[0]
        product = chance.randint(1, POPULAR_PRODUCTS if chance.random() < 0.9 else ALL_PRODUCTS)
        match route:
            case "products":
                yield Wish(route, "GET", f"/products/{product}")
            case "recommendations":
                yield Wish(route, "GET", "/recommendations")
            case "checkout":
                yield Wish(route, "POST", shop.checkout, {"product": product, "quantity": 1})
            case _:
                yield Wish(route, "POST", shop.orders, {"product": product, "quantity": 1}, str(uuid4()))


def judge(response: httpx2.Response | None) -> Answer:
    """Tell from the outside how the shop answered, if it did."""
    if response is None:
        return Answer.ERROR
    if response.status_code == 202 and "location" in response.headers:
        return Answer.QUEUED
    if response.is_success:
        if "cache-status" in response.headers:
            return Answer.STALE
        return Answer.STATIC if response.headers.get("cache-control") == "no-store" else Answer.FRESH
    refused = response.status_code == 503 and "retry-after" in response.headers
    return Answer.REFUSED if refused else Answer.ERROR


class Traffic:
    """Visitors at `RATE`, whatever the shop does with them (an open loop), one connection each.

    Args:
        shop_url: The shop.
        shop: Which example it is.
        note: Called with each visit when it ends.
        orders: Takes in those that were put off.
    """

    def __init__(self, shop_url: str, shop: Shop, note: Callable[[Visit], object], orders: Orders) -> None:
        self._note = note
        self._orders = orders
        self._shop = shop
        self._wishes = wishes(shop)
        # Without kept connections each visit may meet another worker.
        limits = httpx2.Limits(max_keepalive_connections=0)
        self._client = httpx2.AsyncClient(
            base_url=shop_url, limits=limits, timeout=PATIENCE_SECONDS, trust_env=False
        )
        self._visits = asyncio.TaskGroup()

    async def warm_up(self) -> None:
        """Send a few visitors that nobody notes: a worker's first answers are slow in any case."""
        visits = (self._ask(wish) for wish in islice(wishes(self._shop), WARM_UP_VISITS))
        await asyncio.gather(*visits)

    async def flow(self, phase: Phase, seconds: float) -> None:
        """Send visitors for so many seconds, without waiting for the last answers."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        for number in range(round(RATE * seconds)):
            await asyncio.sleep(began + number / RATE - loop.time())
            self._visits.create_task(self._visit(phase, next(self._wishes)))
        await asyncio.sleep(began + seconds - loop.time())

    async def _visit(self, phase: Phase, wish: Wish) -> None:
        began = time.perf_counter()
        response = await self._ask(wish)
        answer = judge(response)
        self._note(Visit(phase, wish.route, answer, time.perf_counter() - began))
        if response is not None and answer is Answer.QUEUED:
            await self._put_off(wish, response)

    async def _put_off(self, wish: Wish, response: httpx2.Response) -> None:
        if self._orders.put_off(wish.key, response.headers["location"]):
            again = await self._ask(wish)
            # Else payments was well again, and knew the key.
            if again is not None and judge(again) is Answer.QUEUED:
                self._orders.replayed(wish.key, again.headers["location"])

    async def _ask(self, wish: Wish) -> httpx2.Response | None:
        headers = {"Idempotency-Key": wish.key} if wish.key else {}
        try:
            return await self._client.request(wish.method, wish.path, json=wish.order, headers=headers)
        except httpx2.HTTPError:
            return None

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        await self._visits.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self._visits.__aexit__(kind, error, traceback)
        finally:
            await self._client.__aexit__(kind, error, traceback)
