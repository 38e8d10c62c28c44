"""The stage: the example's downstream and its shop under real uvicorn workers, started and stopped together."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path
from typing import Final, TypedDict

import httpx2

from recloser.core.errors import RecloserError
from recloser.demo.feed import Board, Feed
from recloser.demo.processes import Child, free_port
from recloser.demo.script import SERVICES, Script

WORKERS: Final = 2
START_SECONDS: Final = 20.0
POLL_SECONDS: Final = 0.05


class DemoError(RecloserError):
    """The demo cannot run; its text says why."""


class ServiceReport(TypedDict):
    """What the downstream says of one service: `received` counts requests by the condition they met."""

    url: str
    condition: str
    received: dict[str, int]


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
        return await self._ask("GET", "/")

    async def become(self, conditions: Mapping[str, str]) -> None:
        """Put services into conditions, by their names.

        Raises:
            DemoError: It does not answer.
        """
        for service, condition in conditions.items():
            await self._ask("PUT", f"/{service}/{condition}")

    async def _ask(self, method: str, path: str) -> dict[str, ServiceReport]:
        try:
            response = await self._client.request(method, self.urls["control"] + path)
            reports: dict[str, ServiceReport] = response.raise_for_status().json()
        except httpx2.HTTPError as error:
            raise DemoError(f"the downstream stopped answering: {error!r}") from error
        return reports


class Stage:
    """Everything that runs during one drive."""

    def __init__(self, shop_url: str, downstream: Downstream, board: Board) -> None:
        self.shop_url = shop_url
        self.downstream = downstream
        self.board = board


def example_folder() -> Path:
    """Where the example shop is: inside an installed wheel, or beside `src` in a checkout.

    Raises:
        DemoError: It is in neither place.
    """
    package = Path(str(files("recloser.demo")))
    for folder in (package / "example_fastapi", package.parents[2] / "example_fastapi"):
        if (folder / "shop.py").is_file():
            return folder
    raise DemoError(
        f"the example shop is missing: looked for example_fastapi/shop.py in {package} and above src"
    )


@asynccontextmanager
async def set_stage(*, breakers: bool, port: int | None, script: Script) -> AsyncGenerator[Stage]:
    """Start downstream and shop, yield when both answer, and stop both.

    Args:
        breakers: False runs the same shop with every breaker in shadow mode.
        port: The shop's port; `None` chooses a free one.
        script: Sets how long circuits stay open.

    Raises:
        DemoError: A process did not start; carries what it complained about.
    """
    folder = example_folder()
    board = Board()
    downstream_command = [sys.executable, str(folder / "downstream.py"), "--port", "0", "--until-stdin-ends"]
    async with httpx2.AsyncClient(timeout=5.0, trust_env=False) as client, Feed(board.note) as feed:
        with Child(downstream_command) as services:
            urls = await _announced_urls(services)
            shop_port = port or free_port()
            environment = shop_environment(urls) | {
                "RECLOSER_DEFAULTS__RECOVERY_TIMEOUT": str(script.recovery_timeout),
                "RECLOSER_DEFAULTS__RECOVERY_TIMEOUT_MAX": str(script.recovery_timeout_max),
                "DEMO_FEED": feed.address,
                "DEMO_BREAKERS": "on" if breakers else "off",
            }
            command = shop_command("recloser.demo.worker:app", folder, shop_port, WORKERS)
            with Child(command, environment) as shop:
                shop_url = f"http://127.0.0.1:{shop_port}"
                await _until_answering(shop, f"{shop_url}/openapi.json", client, board)
                yield Stage(shop_url, Downstream(urls, client), board)


def shop_command(app: str, folder: Path, port: int, workers: int) -> list[str]:
    """The command line that serves the shop."""
    options = ["--app-dir", str(folder), "--port", str(port), "--workers", str(workers)]
    quiet = ["--no-access-log", "--log-level", "warning", "--timeout-graceful-shutdown", "1"]
    return [sys.executable, "-m", "uvicorn", app, *options, *quiet]


def shop_environment(urls: Mapping[str, str]) -> dict[str, str]:
    """The variables that tell the shop where its downstream services are."""
    addresses = {f"{service.upper()}_URL": urls[service] for service in SERVICES}
    origins = {
        f"RECLOSER_BREAKERS__{service.upper()}__ORIGINS": json.dumps([urls[service]]) for service in SERVICES
    }
    return addresses | origins


async def _announced_urls(services: Child) -> dict[str, str]:
    line = await asyncio.wait_for(asyncio.to_thread(services.read_line), START_SECONDS)
    if not line:
        raise DemoError(f"the downstream did not start:\n{services.complaints()}")
    urls: dict[str, str] = json.loads(line)
    return urls


async def _until_answering(shop: Child, url: str, client: httpx2.AsyncClient, board: Board) -> None:
    deadline = asyncio.get_running_loop().time() + START_SECONDS
    while asyncio.get_running_loop().time() < deadline:
        if not shop.alive:
            break
        try:
            response = await client.get(url)
        except httpx2.TransportError:
            response = None
        if response is not None and response.is_success and len(board.workers) == WORKERS:
            return
        await asyncio.sleep(POLL_SECONDS)
    raise DemoError(f"the shop did not start:\n{shop.complaints()}")
