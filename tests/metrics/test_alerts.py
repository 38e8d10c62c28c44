"""The shipped alert rules and dashboard: well formed, about metrics that exist, and firing when they should."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from core.acting import slow
from http_tools import Clock
from metrics.conftest import Scrape
from recloser import Registry, cli
from recloser.metrics.catalogue import DEGRADED, SERIES, STORE

ALERTS = files("recloser.metrics").joinpath("alerts.yml").read_text()
DASHBOARD: dict[str, Any] = json.loads(files("recloser.metrics").joinpath("dashboard.json").read_text())

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed: apt-get install prometheus"
)


def queried(text: str) -> set[str]:
    """Name the metrics that queries read."""
    return set(re.findall(r"\bcircuit_breaker_[a-z_]+", text))


def expressions() -> list[str]:
    return [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]


@pytest.fixture
def names(
    make: Callable[..., Registry], exported: Callable[[Registry], Callable[[], Scrape]], clock: Clock
) -> set[str]:
    """What a real scrape holds, and what only a shared store adds to it (see test_multiprocess)."""
    registry = make(stock={"duration_buckets": [1]})
    slow(registry["stock"], clock, 0.5)
    scraped = {name for name, _ in exported(registry)()}
    return scraped | {metric.name for metric in STORE}


def test_alerts_query_metrics_that_exist(names: set[str]):
    """An alert on a name that nobody exports never fires, and nobody notices."""
    rules = re.sub(r"(?m)^ *#.*$|^ *runbook: \|(\n {12}.*)+", "", ALERTS)
    assert queried(rules) <= names
    assert len(queried(rules)) >= 8


def test_the_dashboard_queries_metrics_that_exist(names: set[str]):
    """An empty panel is worse than none. And what is exported is shown."""
    shown = queried(" ".join(expressions()))
    assert shown <= names
    own = {name for name in names if name.startswith("circuit_breaker_")}
    rest = {"circuit_breaker_call_duration_seconds_count", "circuit_breaker_call_duration_seconds_sum"}
    assert own - shown == rest


def test_the_labels_of_queries_exist(names: set[str]):
    """Queries group by the labels that the metrics have, and by those that Prometheus adds."""
    known = {
        "service_name",
        DEGRADED.label,
        *(metric.label for metric, _ in SERIES),
        "le",
        "job",
        "instance",
        "pod",
    }
    grouped = re.findall(r"\b(?:by|on|without) \(([^)]*)\)", ALERTS + " ".join(expressions()))
    assert len(grouped) > 20
    assert {label.strip() for labels in grouped for label in labels.split(",")} <= known


@needs_promtool
def test_prometheus_accepts_the_rules(tmp_path: Path):
    """`promtool check rules` finds nothing wrong with what the command line prints."""
    path = tmp_path / "alerts.yml"
    path.write_text(ALERTS)
    promtool("check", "rules", str(path))


@needs_promtool
def test_prometheus_accepts_the_dashboards_queries(tmp_path: Path):
    """Each query of each panel is PromQL, once Grafana has filled in its variables."""
    filled = [
        re.sub(r"\$__(rate_interval|range)", "5m", query).replace("$job", ".*").replace("$service", ".*")
        for query in expressions()
    ]
    rules = [
        f"      - record: panel_{number}\n        expr: '{query}'\n" for number, query in enumerate(filled)
    ]
    path = tmp_path / "panels.yml"
    path.write_text("groups:\n  - name: panels\n    rules:\n" + "".join(rules))
    promtool("check", "rules", str(path))


def promtool(*words: str, cwd: Path | None = None) -> None:
    ran = subprocess.run(
        ["promtool", *words], capture_output=True, text=True, timeout=60, check=False, cwd=cwd
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_every_alert_has_a_severity_and_a_runbook():
    """Whoever is woken up reads what happened, what it means, and what to do first."""
    alerts = ALERTS.split("- alert: ")[1:]
    assert len(alerts) == 7
    for alert in alerts:
        for part in ("severity: ", "summary: ", "description: ", "runbook: |\n            1. "):
            assert part in alert, alert


# Series by the minute, and for each alert the minutes at which it fires and at which it does not.
STOCK = '{job="shop", service_name="stock"}'
CASES = {
    "an outage": (
        {f"circuit_breaker_state{STOCK}": "0x3 1 2 1 2 1 2 1 2 1 0x9"},
        {"CircuitBreakerOpen": ([9, 12], [2, 5, 8, 14])},
    ),
    "a short outage": (
        {f"circuit_breaker_state{STOCK}": "0x3 1x3 0x9"},
        {"CircuitBreakerOpen": ([], [5, 7, 10])},
    ),
    "an outage, and a scrape that failed": (
        {f"circuit_breaker_state{STOCK}": "0x3 1x3 stale 1x4 stale 1x3 0x9"},
        {"CircuitBreakerOpen": ([10, 12, 14], [5, 8, 20])},
    ),
    "an instance that is gone": (
        {f"circuit_breaker_state{STOCK}": "1x9 stale"},
        {"CircuitBreakerOpen": ([7, 10], [14])},
    ),
    "one of two environments": (
        {
            'circuit_breaker_state{job="shop", namespace="test", service_name="stock"}': "1x20",
            'circuit_breaker_mode{job="shop", namespace="test", service_name="stock"}': "1x20",
            'circuit_breaker_state{job="shop", namespace="live", service_name="stock"}': "1x20",
            'circuit_breaker_mode{job="shop", namespace="live", service_name="stock"}': "0x20",
        },
        {"CircuitBreakerOpen": ([7, 15], [3])},
    ),
    "open, and forced open in another instance": (
        {
            'circuit_breaker_state{job="shop", instance="a", service_name="stock"}': "1x20",
            'circuit_breaker_mode{job="shop", instance="a", service_name="stock"}': "1x20",
            'circuit_breaker_state{job="shop", instance="b", service_name="stock"}': "1x20",
            'circuit_breaker_mode{job="shop", instance="b", service_name="stock"}': "0x20",
        },
        {"CircuitBreakerOpen": ([7, 15], [3])},
    ),
    "open in shadow mode": (
        {f"circuit_breaker_state{STOCK}": "1x20", f"circuit_breaker_mode{STOCK}": "3x20"},
        {"CircuitBreakerOpen": ([], [7, 15])},
    ),
    "forced open by an operator": (
        {f"circuit_breaker_state{STOCK}": "1x20", f"circuit_breaker_mode{STOCK}": "1x20"},
        {"CircuitBreakerOpen": ([], [7, 15])},
    ),
    "one of two instances": (
        {
            'circuit_breaker_state{job="shop", instance="a", service_name="stock"}': "0x20",
            'circuit_breaker_state{job="shop", instance="b", service_name="stock"}': "1x20",
        },
        {"CircuitBreakerOpen": ([6], [4])},
    ),
    "flapping": (
        {f"circuit_breaker_state{STOCK}": "0 1x2 0x2 1x2 0x2 1x2 0x40"},
        {"CircuitBreakerFlapping": ([17, 25], [14, 45])},
    ),
    "a long outage does not flap": (
        {f"circuit_breaker_state{STOCK}": "0 1 2 1 2 1 2 1 2 1 2 1 2 1 2 1 2 1x20"},
        {"CircuitBreakerFlapping": ([], [10, 20, 30])},
    ),
    "a mode without an end": (
        {
            f"circuit_breaker_mode{STOCK}": "0 3x300 0x10",
            f"circuit_breaker_mode_until_timestamp_seconds{STOCK}": "0x310",
        },
        {"CircuitBreakerModeForgotten": ([250], [200, 305])},
    ),
    "a mode without an end, and one with an end in another instance": (
        {
            'circuit_breaker_mode{job="shop", instance="a", service_name="stock"}': "1x300",
            'circuit_breaker_mode{job="shop", instance="b", service_name="stock"}': "1x300",
            'circuit_breaker_mode_until_timestamp_seconds{job="shop", instance="a", service_name="stock"}': "0x300",
            'circuit_breaker_mode_until_timestamp_seconds{job="shop", instance="b", service_name="stock"}': "99999x300",
        },
        {"CircuitBreakerModeForgotten": ([250], [200])},
    ),
    "a mode that has ended, as nobody has told yet": (
        {
            f"circuit_breaker_mode{STOCK}": "1x70",
            f"circuit_breaker_mode_until_timestamp_seconds{STOCK}": "3600x70",
        },
        {"CircuitBreakerModeEnding": ([50, 59], [40, 61])},
    ),
    "a mode that ends": (
        {
            f"circuit_breaker_mode{STOCK}": "1x60 0x10",
            f"circuit_breaker_mode_until_timestamp_seconds{STOCK}": "3600x60 0x10",
        },
        {"CircuitBreakerModeEnding": ([50, 59], [40, 65]), "CircuitBreakerModeForgotten": ([], [59])},
    ),
    "a tenth is degraded": (
        {
            'circuit_breaker_calls_total{job="shop", service_name="stock", outcome="success"}': "0+80x60",
            'circuit_breaker_calls_total{job="shop", service_name="stock", outcome="failure"}': "0+10x60",
            'circuit_breaker_rejections_total{job="shop", service_name="stock", reason="open"}': "0+10x60",
            'circuit_breaker_degraded_total{job="shop", service_name="stock", strategy="stale"}': "0+6x60",
            'circuit_breaker_degraded_total{job="shop", service_name="stock", strategy="json"}': "0+4x30 _x30",
        },
        {"CircuitBreakerDegradedShare": ([20, 55], [5])},
    ),
    "a hundredth is degraded": (
        {
            'circuit_breaker_calls_total{job="shop", service_name="stock", outcome="success"}': "0+99x60",
            'circuit_breaker_rejections_total{job="shop", service_name="stock", reason="open"}': "0+1x60",
            'circuit_breaker_degraded_total{job="shop", service_name="stock", strategy="stale"}': "0+1x60",
        },
        {"CircuitBreakerDegradedShare": ([], [20, 55])},
    ),
    "a lost store": (
        {
            'circuit_breaker_store_up{job="shop", instance="a"}': "1x5 0x5 1x9",
            'circuit_breaker_store_up{job="shop", instance="b"}': "1x20",
        },
        {"CircuitBreakerStoreUnreachable": ([9], [3, 6, 13])},
    ),
    "workers that disagree": (
        {'circuit_breaker_workers_disagreeing{job="shop", instance="a"}': "0x3 2x5 0x9"},
        {"CircuitBreakerWorkersDisagree": ([7], [2, 4, 10])},
    ),
}


@needs_promtool
@pytest.mark.parametrize(("series", "alerts"), CASES.values(), ids=CASES)
def test_rules_fire_and_clear(
    tmp_path: Path, series: dict[str, str], alerts: dict[str, tuple[list[int], list[int]]]
):
    """Prometheus' own rule tests, in simulated time: each alert fires in its case, not before and not after."""
    (tmp_path / "alerts.yml").write_text(ALERTS)
    # Their YAML is JSON, too. What an alert says is compared in full, so that only who fires is asked here.
    counted = [
        {
            "expr": f'count(ALERTS{{alertname="{alert}", alertstate="firing"}}) or vector(0)',
            "eval_time": f"{minute}m",
            "exp_samples": [{"labels": "{}", "value": int(fires)}],
        }
        for alert, (on, off) in alerts.items()
        for minutes, fires in ((on, True), (off, False))
        for minute in minutes
    ]
    test = {
        "rule_files": ["alerts.yml"],
        "evaluation_interval": "15s",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "promql_expr_test": counted,
            }
        ],
    }
    (tmp_path / "test.json").write_text(json.dumps(test))
    promtool("test", "rules", "test.json", cwd=tmp_path)


@pytest.mark.parametrize(("command", "file"), [("alerts", "alerts.yml"), ("dashboard", "dashboard.json")])
def test_the_command_line_prints_them(command: str, file: str, capsys):
    """What is shipped comes out as it is, to be kept in one's own repository."""
    assert cli.main([command]) == 0
    assert capsys.readouterr().out == files("recloser.metrics").joinpath(file).read_text()


def test_the_dashboard_can_be_imported():
    """Grafana asks for the data source; panels have their own ids and do not overlap."""
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = {
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    }
    assert len(taken) == sum(panel["gridPos"]["w"] * panel["gridPos"]["h"] for panel in panels)
    assert {variable["name"] for variable in DASHBOARD["templating"]["list"]} == {
        "datasource",
        "job",
        "service",
    }
    assert "${datasource}" in json.dumps(DASHBOARD)


def test_a_panel_of_the_present_shows_nothing_of_the_past():
    """An instance that was unreachable and is gone would be shown so for as long as the range lasts."""
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            assert target.get("instant", False) is (panel["type"] == "stat"), panel["title"]
            assert target.get("range", True) is (panel["type"] != "stat"), panel["title"]


def test_each_series_of_a_panel_has_a_name_of_its_own():
    """A legend tells apart whatever the query does: two applications may each have a breaker named payments."""
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            grouped = {
                label
                for found in re.findall(r"\bby \(([^)]*)\)", target["expr"])
                for label in found.split(", ")
            }
            named = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            assert named == grouped - {"le"}, panel["title"]
            assert "job" in named
