"""A real Prometheus scrapes the example shop under gunicorn, two workers, through an outage: the alert fires and clears."""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx2
import pytest

from metrics.conftest import parsed, value
from recloser.demo.processes import Child, free_port
from recloser.demo.stage import shop_environment

EXAMPLE = Path(__file__).parents[2] / "example_fastapi"
PATIENCE = 30.0  # seconds; no wait is longer
RECOVERY_SECONDS = 1.0

pytestmark = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="prometheus is not installed: apt-get install prometheus"
)

CONFIGURATION = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [alerts.yml]
scrape_configs:
  - job_name: shop
    static_configs: [{{targets: ["127.0.0.1:{shop}"]}}]
"""


def until(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            found = condition()
        except (httpx2.HTTPError, KeyError):  # not there yet, or still starting
            found = None
        if found:
            return found
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.1)


class Scene:
    """The shop, what stands behind it, and the Prometheus that watches."""

    def __init__(self, control: str, shop: int, prometheus: int) -> None:
        self.control = control
        self.shop = f"http://127.0.0.1:{shop}"
        self.prometheus = httpx2.Client(base_url=f"http://127.0.0.1:{prometheus}/api/v1", timeout=5.0)

    def become(self, condition: str) -> None:
        httpx2.put(f"{self.control}/inventory/{condition}").raise_for_status()

    def visit(self, times: int = 8) -> None:
        """Browse, on connections of one request each, so that both workers get some."""
        with httpx2.Client(headers={"Connection": "close"}) as client:
            for product in range(times):
                client.get(f"{self.shop}/products/{product}")

    def firing(self) -> set[str]:
        alerts = self.prometheus.get("/alerts").raise_for_status().json()["data"]["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}

    def ask(self, query: str) -> float:
        answer = self.prometheus.get("/query", params={"query": query}).raise_for_status()
        found = answer.json()["data"]["result"]
        return float(found[0]["value"][1]) if found else 0.0


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with downstream() as urls:
        shop, prometheus = free_port(), free_port()
        multiproc = tmp_path / "multiproc"
        multiproc.mkdir()
        environment = shop_environment(urls) | {
            "PROMETHEUS_MULTIPROC_DIR": str(multiproc),
            "ORDERS_QUEUE": str(tmp_path / "queue" / "orders.db"),
            "RECLOSER_DEFAULTS__RECOVERY_TIMEOUT": str(RECOVERY_SECONDS),
            "RECLOSER_DEFAULTS__RECOVERY_TIMEOUT_MAX": str(RECOVERY_SECONDS),
        }
        rules = re.sub(
            r"\n        for: .*",
            "\n        for: 2s",
            files("recloser.metrics").joinpath("alerts.yml").read_text(),
        )
        (tmp_path / "alerts.yml").write_text(rules)
        (tmp_path / "prometheus.yml").write_text(CONFIGURATION.format(shop=shop))
        gunicorn = ["gunicorn", "shop:app", "--worker-class", "asgi", "--workers", "2"]
        gunicorn += ["--bind", f"127.0.0.1:{shop}", "--chdir", str(EXAMPLE), "--log-level", "warning"]
        gunicorn += ["--no-control-socket"]
        watch = [f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data"]
        watch += [f"--web.listen-address=127.0.0.1:{prometheus}", "--log.level=error"]
        with (
            Child([sys.executable, "-m", *gunicorn], environment) as server,
            Child(["prometheus", *watch]) as watcher,
        ):
            scene = Scene(urls["control"], shop, prometheus)
            with scene.prometheus:
                try:
                    until(lambda: scene.ask('up{job="shop"}') == 1)
                except AssertionError:
                    pytest.fail(f"it did not start: {server.complaints()} {watcher.complaints()}")
                yield scene


@contextmanager
def downstream() -> Iterator[dict[str, str]]:
    command = [sys.executable, str(EXAMPLE / "downstream.py"), "--port", "0", "--until-stdin-ends"]
    with Child(command) as child:
        yield json.loads(child.read_line())


@pytest.mark.timeout(120)
def test_an_outage_fires_the_alert_and_recovery_clears_it(scene: Scene):
    """Quiet before, firing while the inventory is down, quiet again after; and every worker tells the same story."""
    scene.visit()
    until(lambda: scene.ask('circuit_breaker_calls_total{service_name="inventory", outcome="success"}') >= 8)
    assert scene.ask("count(circuit_breaker_state)") == 3, (
        "one series per breaker, whatever the number of workers"
    )
    assert scene.firing() == set()

    scene.become("errors")
    until(lambda: scene.visit() or "CircuitBreakerOpen" in scene.firing())
    for _ in range(6):
        text = httpx2.get(f"{scene.shop}/metrics", headers={"Connection": "close"}).text
        assert value(parsed(text), "circuit_breaker_state", service_name="inventory") > 0
        assert value(parsed(text), "circuit_breaker_state", service_name="payments") == 0
    assert scene.ask('circuit_breaker_opened_total{service_name="inventory"}') >= 1
    assert scene.ask('circuit_breaker_rejections_total{service_name="inventory", reason="open"}') > 0
    assert scene.firing() <= {"CircuitBreakerOpen", "CircuitBreakerDegradedShare", "CircuitBreakerFlapping"}

    scene.become("healthy")
    until(lambda: scene.visit() or "CircuitBreakerOpen" not in scene.firing())
    assert scene.ask('circuit_breaker_state{service_name="inventory"}') == 0
    until(
        lambda: scene.ask('circuit_breaker_transitions_total{service_name="inventory", state="closed"}') >= 1
    )
