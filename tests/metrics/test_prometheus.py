"""Prometheus in one process: what a scrape reads, and how an application offers it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
from fastapi import FastAPI
from prometheus_client import REGISTRY, generate_latest
from starlette.applications import Starlette
from starlette.routing import Route

from core.acting import fail, refused, slow, succeed
from http_tools import TUESDAY, Clock
from metrics.conftest import Scrape, get, parsed, value
from recloser import Registry
from recloser.fastapi import guard, install
from recloser.http import plans
from recloser.metrics.catalogue import GAUGES, SERIES
from recloser.metrics.prometheus import MetricsApp, exposition, instrument

Make = Callable[..., Registry]
Export = Callable[[Registry], Callable[[], Scrape]]


def test_the_classic_names_are_there_from_the_first_scrape(make: Make, exported: Export):
    """Before anything was called, each breaker has its state and every counter, at zero."""
    scrape = exported(make(stock={}, payments={}))()

    for name in ("stock", "payments"):
        assert value(scrape, "circuit_breaker_state", service_name=name) == 0
        assert value(scrape, "circuit_breaker_opened_total", service_name=name) == 0
        own = {key: number for key, number in scrape.items() if ("service_name", name) in key[1]}
        assert len(own) == len(GAUGES) + len(SERIES) + 1  # and degraded answers
        assert not any(number for (metric, _), number in own.items() if metric.endswith("_total"))


def test_what_happens_to_a_breaker_is_read(make: Make, exported: Export, clock: Clock):
    """State, outcomes, refusals, probes and transitions are those of the breaker."""
    registry = make(stock={"failure_threshold": 3, "slow_call_duration": 1, "slow_call_rate_threshold": 1})
    scrape = exported(registry)
    stock = registry["stock"]
    succeed(stock, 4)
    slow(stock, clock, 2)
    stock.acquire().ignore()
    fail(stock, 3)
    refused(stock)
    refused(stock)

    def one(metric: str, **labels: str) -> float:
        return value(scrape(), f"circuit_breaker_{metric}", service_name="stock", **labels)

    assert one("state") == 1
    assert one("calls_total", outcome="success") == 5
    assert one("calls_total", outcome="failure") == 3
    assert one("calls_total", outcome="ignored") == 1
    assert one("slow_calls_total") == 1
    assert one("rejections_total", reason="open") == 2
    assert one("opened_total") == one("transitions_total", state="open") == 1

    clock.advance(10)
    probe = stock.acquire()
    assert one("state") == 2
    assert one("state_seconds") == 0
    assert one("probes_total") == one("transitions_total", state="half_open") == 1
    refused(stock)
    assert one("rejections_total", reason="half_open") == 1
    probe.success()
    clock.advance(7)
    assert one("state") == 0
    assert one("state_seconds") == 7
    assert one("transitions_total", state="closed") == 1


@pytest.mark.parametrize(("mode", "number"), [("force_open", 1), ("force_closed", 2), ("shadow", 3)])
def test_an_operators_mode_is_read(make: Make, exported: Export, clock: Clock, mode: str, number: int):
    """Mode and its end, which alerts look at; both return to zero when it ends."""
    registry = make(stock={})
    scrape = exported(registry)

    def one(metric: str) -> float:
        return value(scrape(), f"circuit_breaker_{metric}", service_name="stock")

    getattr(registry["stock"], mode)(by="ann", reason="migration")
    assert (one("mode"), one("mode_until_timestamp_seconds")) == (number, 0)
    getattr(registry["stock"], mode)(by="ann", reason="migration", until=TUESDAY + 60)
    assert (one("mode"), one("mode_until_timestamp_seconds")) == (number, TUESDAY + 60)
    clock.advance(61)
    assert (one("mode"), one("mode_until_timestamp_seconds")) == (0, 0)


def test_shadow_mode_tells_what_it_would_refuse(make: Make, exported: Export):
    """Calls that shadow mode lets through are no rejections."""
    registry = make(stock={})
    scrape = exported(registry)
    registry["stock"].shadow(by="ann", reason="trial")
    fail(registry["stock"])
    succeed(registry["stock"], 2)

    found = scrape()

    assert value(found, "circuit_breaker_shadow_rejections_total", service_name="stock") == 2
    assert value(found, "circuit_breaker_rejections_total", service_name="stock", reason="open") == 0


def test_durations_are_a_histogram_where_they_are_asked_for(make: Make, exported: Export, clock: Clock):
    """Buckets are cumulative, as Prometheus wants them; a breaker without buckets has no series."""
    registry = make(stock={"duration_buckets": [0.1, 1]}, payments={})
    scrape = exported(registry)
    for seconds in (0.05, 0.5, 0.5, 7):
        slow(registry["stock"], clock, seconds)

    found = scrape()

    name = "circuit_breaker_call_duration_seconds"
    buckets = [value(found, f"{name}_bucket", service_name="stock", le=le) for le in ("0.1", "1.0", "+Inf")]
    assert buckets == [1, 3, 4]
    assert value(found, f"{name}_count", service_name="stock") == 4
    assert value(found, f"{name}_sum", service_name="stock") == pytest.approx(8.05)
    assert (f"{name}_count", frozenset({("service_name", "payments")})) not in found


def test_degraded_answers_are_counted_by_strategy(make: Make, exported: Export):
    """What the application answered in a breaker's stead."""
    registry = make(stock={})
    scrape = exported(registry)
    name = "circuit_breaker_degraded_total"
    assert value(scrape(), name, service_name="stock", strategy="unavailable") == 0

    registry.degraded.note("stock", "stale")
    registry.degraded.note("stock", "stale")

    assert value(scrape(), name, service_name="stock", strategy="stale") == 2


def test_what_plans_may_answer_is_there_from_the_first_scrape(make: Make):
    """At zero: the strategies of breakers' plans, of declared routes and of guards in code, and 503 everywhere."""
    registry = make(
        {"/declared": {"breakers": ["payments"], "plan": [{"stale": 60}, {"json": {}}]}},
        stock={"plan": [{"stale": 600}]},
        payments={},
    )
    app = FastAPI()
    install(app, registry, metrics="/metrics")
    app.get("/declared")(lambda: None)

    @app.get("/in-code")
    @guard("stock", plan=[plans.json({"quantity": None})])
    def page() -> None: ...

    try:
        told = {
            tuple(dict(labels).values()): number
            for (name, labels), number in parsed(get(app, "/metrics").text).items()
            if name == "circuit_breaker_degraded_total"
        }
    finally:
        instrument(registry)()

    strategies = {"stock": ("stale", "json", "unavailable"), "payments": ("stale", "json", "unavailable")}
    expected = {frozenset({breaker, name}): 0 for breaker, names in strategies.items() for name in names}
    assert {frozenset(pair): number for pair, number in told.items()} == expected


def test_everything_else_is_still_exported(make: Make, exported: Export):
    """The breakers join the metrics that the application has already, in its own exposition too."""
    registry = make(stock={})
    exported(registry)

    text = generate_latest(REGISTRY).decode()

    assert "process_start_time_seconds" in text
    assert value(parsed(text), "circuit_breaker_state", service_name="stock") == 0


def test_exporting_again_changes_nothing_and_ending_it_leaves_nothing(make: Make):
    """A registry may be instrumented wherever it is convenient, and no test leaves series to the next."""
    one, two = make(stock={}), make(payments={})
    ends = [instrument(one), instrument(one), instrument(two)]
    text = exposition(one)[0].decode()
    assert 'service_name="stock"' in text
    assert 'service_name="payments"' in text

    for end in ends:
        end()

    assert "circuit_breaker" not in generate_latest(REGISTRY).decode()


def test_install_offers_the_metrics_at_a_path(make: Make):
    """One argument: the path. It needs no trailing slash, is no part of the documented API, and may be asked often."""
    registry = make(stock={})
    app = FastAPI()
    install(app, registry, metrics="/metrics")
    fail(registry["stock"])

    answer = get(app, "/metrics")

    try:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert value(parsed(answer.text), "circuit_breaker_state", service_name="stock") == 1
        assert "/metrics" not in app.openapi()["paths"]
    finally:
        instrument(registry)()


def test_install_offers_nothing_unasked(make: Make):
    """Metrics tell the world about an application: they are published by its author's word alone."""
    app = FastAPI()
    install(app, make(stock={}))
    assert get(app, "/metrics").status_code == 404


def test_the_application_speaks_openmetrics_and_gzip(make: Make):
    """What the scraper prefers is what it gets."""
    registry = make(stock={})
    app = Starlette(routes=[Route("/metrics", MetricsApp(registry))])
    try:
        answer = get(app, "/metrics", Accept="application/openmetrics-text; version=1.0.0")
        assert answer.headers["content-type"].startswith("application/openmetrics-text")
        assert answer.headers["content-encoding"] == "gzip"
        assert answer.text.endswith("# EOF\n")
        assert exposition(registry, "application/openmetrics-text; version=1.0.0")[0].endswith(b"# EOF\n")
    finally:
        instrument(registry)()


def test_a_missing_extra_is_named():
    """Without prometheus_client the import says what to install."""
    code = (
        "import sys; sys.modules['prometheus_client'] = None\n"
        "try:\n    import recloser.metrics.prometheus\nexcept ImportError as error:\n    print(error)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout.strip() == (
        'recloser.metrics.prometheus needs prometheus_client: pip install "recloser[prometheus]"'
    )


def test_without_a_store_nothing_is_told_of_it(make: Make, exported: Export):
    """A gauge at zero would page somebody for a store that nobody has."""
    registry = make(stock={})
    assert not {"circuit_breaker_store_up", "circuit_breaker_workers"} & {
        name for name, _ in exported(registry)()
    }
