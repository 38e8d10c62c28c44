"""Orders that are put off while payments is down, and charged exactly once after its recovery."""

from __future__ import annotations

import time

import httpx2
import pytest
from shop_processes import FOLDER, Downstream, manage, running_shop

from recloser.demo.processes import Child

ORDER = {"product": 7, "quantity": 1}
PATIENCE = 20.0


def test_orders_are_put_off_and_charged_exactly_once(
    downstream: Downstream, environment: dict[str, str]
) -> None:
    """202 with a place to look; a replayed key returns the first job; after recovery each is done."""
    environment |= {
        "RECLOSER_DEFAULTS__RECOVERY_TIMEOUT": "0.3",
        "RECLOSER_DEFAULTS__RECOVERY_TIMEOUT_MAX": "0.3",
        "PYTHONPATH": str(FOLDER),
    }
    keys = [f"order-{number}" for number in range(4)]
    places: dict[str, set[str]] = {key: set() for key in keys}
    downstream.become("payments", "errors")
    with (
        running_shop(lambda port: manage("runserver", str(port), "--noreload"), environment) as url,
        httpx2.Client(base_url=url, timeout=5.0) as client,
    ):

        def state(key: str) -> str:
            [place] = places[key]
            answer: dict[str, str] = client.get(place).json()
            return answer["state"]

        began = time.monotonic()
        while not all(places.values()) and time.monotonic() < began + PATIENCE:
            for key in keys * 2:  # the second time the key is replayed
                answer = client.post("/api/orders", json=ORDER, headers={"Idempotency-Key": key})
                if answer.status_code == 202:
                    places[key].add(answer.headers["location"])
        assert f'circuit_breaker_queue_jobs{{state="queued"}} {len(keys)}' in client.get("/metrics").text
        downstream.become("payments", "healthy")
        with Child(manage("recloser", "work", "teashop.orders:queue"), environment) as worker:
            while {state(key) for key in keys} != {"done"}:
                if time.monotonic() > began + 2 * PATIENCE:
                    pytest.fail(worker.complaints())
                time.sleep(0.05)

    journal = httpx2.get(f"{downstream.urls['control']}/journal").json()
    assert {key: len(journal[key]) for key in keys} == dict.fromkeys(keys, 1)
