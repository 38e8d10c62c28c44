"""The shop's downstream services and its servers, as real processes."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import httpx2
import pytest

from recloser.demo.processes import Child, free_port

FOLDER = Path(__file__).parents[1]
DOWNSTREAM = FOLDER.parent / "example_fastapi" / "downstream.py"
START_SECONDS = 90.0  # a busy machine is slow, and a process that dies is noticed at once

Command: TypeAlias = Callable[[int], list[str]]  # given a port


class Downstream:
    """The downstream process: its services fall ill on command and say what reached them."""

    def __init__(self, urls: dict[str, str]) -> None:
        self.urls = urls

    def become(self, service: str, condition: str) -> None:
        httpx2.put(f"{self.urls['control']}/{service}/{condition}").raise_for_status()

    def received(self, service: str) -> int:
        """How many requests have reached a service so far."""
        received: dict[str, int] = httpx2.get(self.urls["control"]).json()[service]["received"]
        return sum(received.values())


@contextmanager
def running_downstream() -> Generator[Downstream]:
    with Child([sys.executable, str(DOWNSTREAM), "--port", "0", "--until-stdin-ends"]) as child:
        yield Downstream(json.loads(child.read_line()))


@contextmanager
def running_shop(command: Command, environment: Mapping[str, str]) -> Generator[str]:
    """Run a server of the shop and give its URL."""
    port = free_port()
    with Child(command(port), environment) as child:
        url = f"http://127.0.0.1:{port}"
        wait_until_answering(f"{url}/products/1/order", child)
        yield url


def wait_until_answering(url: str, child: Child) -> None:
    deadline = time.monotonic() + START_SECONDS
    while child.alive and time.monotonic() < deadline:
        try:
            httpx2.get(url).raise_for_status()
        except httpx2.TransportError:
            time.sleep(0.05)
        else:
            return
    pytest.fail(f"the shop did not start:\n{child.complaints()}")


def manage(*arguments: str) -> list[str]:
    """A command line of the shop's `manage.py`."""
    return [sys.executable, str(FOLDER / "manage.py"), *arguments]
