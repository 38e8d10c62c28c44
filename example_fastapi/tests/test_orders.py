"""Orders on real processes: put off while payments is down, charged exactly once after its recovery."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from recloser.demo.processes import Child, free_port
from recloser.demo.stage import shop_environment

FOLDER = Path(__file__).parents[1]
ORDER = {"product": 7, "quantity": 1}
PATIENCE = 20.0
RATE = 10  # orders per second, as the shop says
WORK = "import sys; from recloser.cli import main; sys.exit(main(['work', 'shop:queue']))"


@pytest.fixture
def downstream() -> Iterator[dict[str, str]]:
    command = [sys.executable, str(FOLDER / "downstream.py"), "--port", "0", "--until-stdin-ends"]
    with Child(command) as child:
        yield json.loads(child.read_line())


def until(condition: Callable[[], object], child: Child) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, child.complaints()
        time.sleep(0.05)


def answers(client: httpx2.Client) -> bool:
    try:
        return client.get("/openapi.json").is_success
    except httpx2.TransportError:
        return False


def test_orders_are_put_off_and_charged_exactly_once(downstream: dict[str, str], tmp_path: Path) -> None:
    """202 with a place to look; a replayed key returns the first job; after recovery each is done, at the rate."""
    port = free_port()
    environment = shop_environment(downstream) | {
        "RECLOSER_DEFAULTS__RECOVERY_TIMEOUT": "0.3",
        "RECLOSER_DEFAULTS__RECOVERY_TIMEOUT_MAX": "0.3",
        "ORDERS_QUEUE": str(tmp_path / "queue" / "orders.db"),
        "PYTHONPATH": str(FOLDER),
    }
    web = [sys.executable, "-m", "uvicorn", "shop:app", "--port", str(port), "--log-level", "warning"]
    client = httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=5.0)

    def order(key: str) -> httpx2.Response:
        return client.post("/orders", json=ORDER, headers={"Idempotency-Key": key})

    def become(condition: str) -> None:
        httpx2.put(f"{downstream['control']}/payments/{condition}").raise_for_status()

    with Child(web, environment) as shop, client:
        until(lambda: answers(client), shop)
        become("errors")
        keys = [f"order-{number}" for number in range(8)]
        locations: dict[str, str] = {}
        for key in keys:
            locations |= _location(key, order(key))
        assert _location(keys[0], order(keys[0])) == {keys[0]: locations[keys[0]]}
        assert f'circuit_breaker_queue_jobs{{state="queued"}} {len(keys)}' in client.get("/metrics").text
        with Child([sys.executable, "-c", WORK], environment) as worker:
            until(lambda: client.get(locations[keys[0]]).json()["state"] == "queued", worker)
            become("healthy")
            began = time.monotonic()
            until(
                lambda: all(client.get(place).json()["state"] == "done" for place in locations.values()),
                worker,
            )
            took = time.monotonic() - began

    journal = httpx2.get(f"{downstream['control']}/journal").json()
    assert {key: len(journal[key]) for key in keys} == dict.fromkeys(keys, 1)
    assert took >= (len(keys) - 2) / RATE


def _location(key: str, answer: httpx2.Response) -> dict[str, str]:
    """Where to look, if the order was put off."""
    return {key: answer.headers["location"]} if answer.status_code == 202 else {}
