"""The stage: the downstream and an example shop under real workers, started and stopped together."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any, Final, TypedDict

import httpx2

from recloser.demo.feed import Board, Feed
from recloser.demo.meeting import Meeting
from recloser.demo.processes import UNTIL_STDIN_ENDS, Child, free_port
from recloser.demo.script import SERVICES, Script
from recloser.demo.shops import SHOPS, DemoError, Shop, example_folder

WORKERS: Final = 2
SERVED: Final = 4  # workers of a fleet that stays up, for an operator to see act as one
START_SECONDS: Final = 60.0  # a busy machine is slow, and a process that dies is noticed at once
POLL_SECONDS: Final = 0.05
DOWNSTREAM: Final = "downstream.py"  # lies beside the FastAPI shop, and serves both


class ServiceReport(TypedDict):
    """What the downstream says of one service.

    `received` counts requests by the condition they met, and `at_once` is the most that were under way together
    since the condition was set.
    """

    url: str
    condition: str
    received: dict[str, int]
    at_once: int


class Charge(TypedDict):
    """What payments noted in its journal; `at` is of the monotonic clock that all processes of a machine share."""

    receipt: str
    at: float


class Downstream:
    """The running downstream services.

    Args:
        urls: Where they are, by name; `control` is where faults are switched.
        client: Speaks to the control port.
    """

    def __init__(self, urls: Mapping[str, str], client: httpx2.AsyncClient) -> None:
        self.urls = urls
        self._client = client

    async def report(self) -> dict[str, ServiceReport]:
        """How each service is, and what reached it.

        Raises:
            DemoError: It does not answer.
        """
        reports: dict[str, ServiceReport] = await self._ask("GET", "/")
        return reports

    async def journal(self) -> dict[str, list[Charge]]:
        """What payments has charged, by `Idempotency-Key`.

        Raises:
            DemoError: It does not answer.
        """
        charges: dict[str, list[Charge]] = await self._ask("GET", "/journal")
        return charges

    async def become(self, conditions: Mapping[str, str]) -> None:
        """Put services into conditions, by their names.

        Raises:
            DemoError: It does not answer.
        """
        for service, condition in conditions.items():
            await self._ask("PUT", f"/{service}/{condition}")

    async def _ask(self, method: str, path: str) -> Any:
        try:
            response = await self._client.request(method, self.urls["control"] + path)
            return response.raise_for_status().json()
        except httpx2.HTTPError as error:
            raise DemoError(f"the downstream stopped answering: {error!r}") from error


class Stage:
    """Everything that runs during one drive."""

    def __init__(
        self, shop: Shop, shop_url: str, downstream: Downstream, board: Board, namespace: str
    ) -> None:
        self.namespace = namespace
        self.shop = shop
        self.shop_url = shop_url
        self.downstream = downstream
        self.board = board


@asynccontextmanager
async def set_stage(
    shop: Shop,
    *,
    breakers: bool,
    port: int | None,
    script: Script,
    place: Meeting | None = None,
    namespace: str = "demo",
    workers: int = WORKERS,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> AsyncGenerator[Stage]:
    """Start downstream and shop, yield when both answer, and stop both.

    Args:
        shop: Which example.
        breakers: False runs the same shop with every breaker in shadow mode.
        port: The shop's port; `None` chooses a free one.
        script: Sets how long circuits stay open.
        place: Where the workers meet; `None`: each decides by itself.
        namespace: The stage's own, so that it shares nothing with another one.
        workers: How many processes serve the shop.
        environment: More variables for the shop.

    Raises:
        DemoError: A process did not start; carries what it complained about.
    """
    folder = example_folder(shop.folder, shop.program)
    board = Board()
    downstream = example_folder(SHOPS["fastapi"].folder, DOWNSTREAM) / DOWNSTREAM
    downstream_command = [sys.executable, str(downstream), "--port", "0", "--until-stdin-ends"]
    async with httpx2.AsyncClient(timeout=5.0, trust_env=False) as client, Feed(board) as feed:
        own = TemporaryDirectory(prefix="recloser-demo-", ignore_cleanup_errors=True)
        with own as shared, Child(downstream_command) as services:
            urls = await _announced_urls(services)
            shop_port = port or free_port()
            variables = shop_environment(urls) | {
                "RECLOSER_DEFAULTS__RECOVERY_TIMEOUT": str(script.recovery_timeout),
                "RECLOSER_DEFAULTS__RECOVERY_TIMEOUT_MAX": str(script.recovery_timeout_max),
                "DEMO_FEED": feed.address,
                "DEMO_BREAKERS": "on" if breakers else "off",
                "ORDERS_QUEUE": str(Path(shared, "queue", "orders.db")),
                "PROMETHEUS_MULTIPROC_DIR": shared,  # each worker's /metrics tells of all
                **fleet_environment(place, namespace, script),
                **environment,
            }
            command = shop.command(shop.app, folder, shop_port, workers)
            work = [*UNTIL_STDIN_ENDS, *shop.work(folder)]
            with Child(command, variables) as server, Child(work, variables):
                shop_url = f"http://127.0.0.1:{shop_port}"
                await _until_answering(server, f"{shop_url}{shop.ready}", client, board, workers)
                yield Stage(shop, shop_url, Downstream(urls, client), board, namespace)


def shop_environment(urls: Mapping[str, str]) -> dict[str, str]:
    """The variables that tell the shop where its downstream services are."""
    addresses = {f"{service.upper()}_URL": urls[service] for service in SERVICES}
    origins = {
        f"RECLOSER_BREAKERS__{service.upper()}__ORIGINS": json.dumps([urls[service]]) for service in SERVICES
    }
    return addresses | origins


def fleet_environment(place: Meeting | None, namespace: str, script: Script) -> dict[str, str]:
    """The variables that tell the shop's workers where to meet."""
    if place is None:
        return {}
    return {
        "RECLOSER_STORE": place.url(namespace),
        "RECLOSER_NAMESPACE": namespace,
        "RECLOSER_PROFILES__HTTP__PROBE_TIMEOUT": str(script.lease),
    }


async def _announced_urls(services: Child) -> dict[str, str]:
    line = await asyncio.wait_for(asyncio.to_thread(services.read_line), START_SECONDS)
    if not line:
        raise DemoError(f"the downstream did not start:\n{services.complaints()}")
    urls: dict[str, str] = json.loads(line)
    return urls


async def _until_answering(
    shop: Child, url: str, client: httpx2.AsyncClient, board: Board, workers: int
) -> None:
    deadline = asyncio.get_running_loop().time() + START_SECONDS
    while asyncio.get_running_loop().time() < deadline:
        if not shop.alive:
            break
        try:
            response = await client.get(url)
        except httpx2.TransportError:
            response = None
        if response is not None and response.is_success and len(board.workers) == workers:
            return
        await asyncio.sleep(POLL_SECONDS)
    raise DemoError(f"the shop did not start:\n{shop.complaints()}")
