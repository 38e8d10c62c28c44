"""The shop on real processes: it keeps answering while the services behind it fail."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from recloser.demo.processes import Child, free_port
from recloser.demo.shops import uvicorn_command
from recloser.demo.stage import shop_environment

FOLDER = Path(__file__).parents[1]
ORDER = {"product": 7, "quantity": 1}
SICKNESSES = ["errors", "hang", "reset", "truncated"]

START_SECONDS = 20.0
RECOVERY_SECONDS = 1.0
CLIENT_TIMEOUT = 0.3  # of the shop's client
SLACK = 0.4  # of a busy machine


class Downstream:
    """The downstream process: its services fall ill on command and say what reached them."""

    def __init__(self, urls: dict[str, str], client: httpx2.Client) -> None:
        self.urls = urls
        self._client = client

    def become(self, service: str, condition: str) -> None:
        self._client.put(f"{self.urls['control']}/{service}/{condition}").raise_for_status()

    def received(self, service: str) -> int:
        """How many requests have reached a service so far."""
        received: dict[str, int] = self._client.get(self.urls["control"]).json()[service]["received"]
        return sum(received.values())


@pytest.fixture
def downstream() -> Iterator[Downstream]:
    command = [sys.executable, str(FOLDER / "downstream.py"), "--port", "0", "--until-stdin-ends"]
    with Child(command) as child, httpx2.Client() as client:
        yield Downstream(json.loads(child.read_line()), client)


@pytest.fixture
def shop(downstream: Downstream, tmp_path: Path) -> Iterator[httpx2.Client]:
    port = free_port()
    environment = shop_environment(downstream.urls) | {
        "RECLOSER_DEFAULTS__RECOVERY_TIMEOUT": str(RECOVERY_SECONDS),
        "RECLOSER_DEFAULTS__RECOVERY_TIMEOUT_MAX": str(RECOVERY_SECONDS),
        "ORDERS_QUEUE": str(tmp_path / "queue" / "orders.db"),
    }
    with (
        Child(uvicorn_command("shop:app", FOLDER, port, workers=1), environment) as child,
        httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=5.0) as client,
    ):
        wait_until_answering(client, child)
        yield client


def wait_until_answering(client: httpx2.Client, child: Child) -> None:
    deadline = time.monotonic() + START_SECONDS
    while child.alive and time.monotonic() < deadline:
        try:
            client.get("/openapi.json").raise_for_status()
        except httpx2.TransportError:
            time.sleep(0.05)
        else:
            return
    pytest.fail(f"the shop did not start:\n{child.complaints()}")


def fail(shop: httpx2.Client, times: int = 3) -> None:
    """Let products fail until the circuit trips; their visitors do not notice."""
    for _ in range(times):
        answer = shop.get("/products/1")
        assert (answer.status_code, answer.json()) == (200, {"quantity": None})


def test_a_healthy_shop_answers_from_its_services(shop: httpx2.Client) -> None:
    """With healthy services every answer is theirs and carries no sign of recloser."""
    product = shop.get("/products/7")
    assert product.json() == {"id": 7, "name": "Teapot no. 7", "quantity": 4}
    assert "cache-status" not in product.headers
    assert shop.get("/recommendations").json() == {"products": [3, 14, 15]}
    assert shop.post("/checkout", json=ORDER).json() == {"receipt": "R-00001"}


@pytest.mark.parametrize("sickness", SICKNESSES)
def test_products_are_served_stale_or_static(
    shop: httpx2.Client, downstream: Downstream, sickness: str
) -> None:
    """A known product is its last good page, an unknown one the static answer, before the trip and after it."""
    good = shop.get("/products/7")
    downstream.become("inventory", sickness)
    failed = shop.get("/products/7")
    fail(shop, 2)

    known, unknown = shop.get("/products/7"), shop.get("/products/8")

    assert (known.status_code, known.json()) == (200, good.json())
    assert known.headers["cache-status"].endswith("; detail=circuit-open")
    assert (failed.status_code, failed.json()) == (200, good.json())
    assert failed.headers["cache-status"].endswith("; detail=call-failed")
    assert int(known.headers["age"]) >= 0
    assert (unknown.status_code, unknown.json()) == (200, {"quantity": None})
    assert unknown.headers["cache-control"] == "no-store"


def test_recommendations_are_served_static(shop: httpx2.Client, downstream: Downstream) -> None:
    """Without the service there is simply nothing to recommend."""
    downstream.become("recommendations", "reset")
    for _ in range(5):
        answer = shop.get("/recommendations")
        assert (answer.status_code, answer.json()) == (200, {"products": []})
    assert downstream.received("recommendations") == 3


def test_slow_recommendations_trip_too(shop: httpx2.Client, downstream: Downstream) -> None:
    """A service that answers, but too slowly to wait for, opens its circuit by its slow-call rate."""
    downstream.become("recommendations", "slow")
    slow = [shop.get("/recommendations").json() for _ in range(10)]
    assert slow == [{"products": [3, 14, 15]}] * 10
    assert shop.get("/recommendations").json() == {"products": []}


def test_checkout_is_refused_cleanly(shop: httpx2.Client, downstream: Downstream) -> None:
    """Behind an open circuit checkout is a 503 that says when to come back, and nothing is charged."""
    downstream.become("payments", "errors")
    for _ in range(3):
        assert shop.post("/checkout", json=ORDER).status_code == 502
    charged = downstream.received("payments")

    refused = shop.post("/checkout", json=ORDER)

    assert refused.status_code == 503
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.headers["cache-control"] == "no-store"
    assert int(refused.headers["retry-after"]) >= 1
    assert downstream.received("payments") == charged


def test_a_sick_service_receives_only_probes(shop: httpx2.Client, downstream: Downstream) -> None:
    """Of all requests in an outage only one per open period reaches the service, none waits past its time-out."""
    downstream.become("inventory", "hang")
    fail(shop)
    before, began, waits = downstream.received("inventory"), time.monotonic(), list[float]()
    while time.monotonic() - began < 4 * RECOVERY_SECONDS:
        asked = time.monotonic()
        assert shop.get("/products/1").status_code == 200
        waits.append(time.monotonic() - asked)

    probes = downstream.received("inventory") - before

    assert len(waits) > 20
    assert 1 <= probes <= 4
    assert max(waits) < CLIENT_TIMEOUT + SLACK
    assert sum(wait > CLIENT_TIMEOUT for wait in waits) <= probes


def test_one_sick_service_leaves_the_others_alone(shop: httpx2.Client, downstream: Downstream) -> None:
    """Each service has a circuit of its own."""
    downstream.become("inventory", "errors")
    fail(shop)
    assert shop.get("/recommendations").json() == {"products": [3, 14, 15]}
    assert shop.post("/checkout", json=ORDER).json() == {"receipt": "R-00001"}


def test_metrics_tell_of_the_outage(shop: httpx2.Client, downstream: Downstream) -> None:
    """What pages somebody: the open circuit, and how often its users got a degraded answer."""
    assert 'circuit_breaker_state{service_name="inventory"} 0.0' in shop.get("/metrics").text
    downstream.become("inventory", "errors")
    fail(shop)
    shop.get("/products/8")

    told = shop.get("/metrics").text

    assert 'circuit_breaker_state{service_name="inventory"} 1.0' in told
    assert 'circuit_breaker_state{service_name="payments"} 0.0' in told
    assert 'circuit_breaker_rejections_total{reason="open",service_name="inventory"} 1.0' in told


def test_fresh_answers_come_back(shop: httpx2.Client, downstream: Downstream) -> None:
    """Once the service is healthy, the next probe closes the circuit."""
    downstream.become("inventory", "errors")
    fail(shop)
    assert shop.get("/products/7").json() == {"quantity": None}
    downstream.become("inventory", "healthy")
    deadline = time.monotonic() + 4 * RECOVERY_SECONDS
    while time.monotonic() < deadline and shop.get("/products/7").json() == {"quantity": None}:
        time.sleep(0.02)
    assert shop.get("/products/7").json() == {"id": 7, "name": "Teapot no. 7", "quantity": 4}
