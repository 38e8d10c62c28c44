"""OpenTelemetry, through the SDK's in-memory reader and exporter: metrics, and what is told to the current span."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from fastapi import FastAPI
from opentelemetry.sdk.metrics import MeterProvider, ObservableCounter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    InMemoryMetricReader,
    NumberDataPoint,
    Sum,
)
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv._incubating.attributes.service_attributes import SERVICE_PEER_NAME

from core.acting import fail, refused, slow, succeed
from http_tools import Clock
from metrics.conftest import get
from recloser import Registry
from recloser.fastapi import guard, install
from recloser.http import plans
from recloser.metrics import catalogue
from recloser.metrics.opentelemetry import PEER, instrument, name_of
from recloser.stores.health import Connection, Health

Make = Callable[..., Registry]
Points = dict[tuple[str, frozenset[tuple[str, str]]], float]


class Meters:
    """A provider whose metrics are collected by hand."""

    def __init__(self) -> None:
        self.reader = InMemoryMetricReader()
        self.provider = MeterProvider([self.reader])

    def collect(self) -> Points:
        return points(self.reader)


def points(reader: InMemoryMetricReader) -> Points:
    data = reader.get_metrics_data()
    found: Points = {}
    for resource in data.resource_metrics if data is not None else ():
        for scope in resource.scope_metrics:
            assert scope.scope.name == "recloser"
            for metric in scope.metrics:
                for point in metric.data.data_points:
                    assert isinstance(point, NumberDataPoint)
                    found[metric.name, frozenset((point.attributes or {}).items())] = point.value  # type: ignore[arg-type]
    return found


@pytest.fixture
def meters() -> Iterator[Meters]:
    meters = Meters()
    yield meters
    meters.provider.shutdown()


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    yield exporter
    exporter.clear()


@pytest.fixture
def tracer(spans: InMemorySpanExporter):
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    yield provider.get_tracer("shop")
    provider.shutdown()


def one(points: Points, name: str, **attributes: str) -> float:
    told = {PEER: "stock", **{f"circuit_breaker.{key}": own for key, own in attributes.items()}}
    return points[name, frozenset(told.items())]


def test_the_dependency_is_named_by_the_convention():
    """`service.peer.name` is what the semantic conventions call the service on the other side."""
    assert PEER == SERVICE_PEER_NAME


def test_names_have_namespaces_and_no_units():
    """Dots between namespaces; the unit stands beside the name, `_total` nowhere."""
    metrics = (*catalogue.GAUGES, *(series.metric for series in catalogue.SERIES), *catalogue.STORE)
    names = [name_of(metric) for metric in dict.fromkeys((*metrics, catalogue.DURATION, catalogue.DEGRADED))]
    assert len(set(names)) == len(names)
    for name in names:
        assert name.startswith("circuit_breaker.")
        assert not name.endswith(("_total", "_seconds"))
        assert name == name.lower()
        *namespaces, _ = name.split(".")
        assert not any(namespace.endswith("s") for namespace in namespaces), "namespaces are no plurals"


def test_what_happens_to_a_breaker_is_observed(make: Make, meters: Meters, clock: Clock):
    """The same numbers as Prometheus reads, from the first collection on."""
    registry = make(stock={"failure_threshold": 2, "duration_buckets": [1]}, payments={})
    end = instrument(registry, meters.provider)
    first = meters.collect()
    assert one(first, "circuit_breaker.state") == one(first, "circuit_breaker.opened") == 0

    slow(registry["stock"], clock, 0.5, times=3)
    fail(registry["stock"], 2)
    refused(registry["stock"])
    registry.degraded.note("stock", "stale")
    clock.advance(4)
    found = meters.collect()

    assert one(found, "circuit_breaker.state") == 1
    assert one(found, "circuit_breaker.state.duration") == 4
    assert one(found, "circuit_breaker.calls", outcome="success") == 3
    assert one(found, "circuit_breaker.calls", outcome="failure") == 2
    assert one(found, "circuit_breaker.call.time") == pytest.approx(1.5)
    assert one(found, "circuit_breaker.opened") == 1
    assert one(found, "circuit_breaker.rejections", **{"rejection.reason": "open"}) == 1
    assert one(found, "circuit_breaker.transitions", state="open") == 1
    assert one(found, "circuit_breaker.degraded", strategy="stale") == 1
    assert found["circuit_breaker.state", frozenset({(PEER, "payments")})] == 0
    end()


def test_counters_are_monotonic_sums_with_units(make: Make, meters: Meters):
    """A backend may take rates of them, and knows what they count."""
    registry = make(stock={})
    end = instrument(registry, meters.provider)
    data = meters.reader.get_metrics_data()
    assert data is not None
    by_name = {
        metric.name: metric
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }

    for name, unit in [("circuit_breaker.calls", "{call}"), ("circuit_breaker.opened", "{transition}")]:
        assert isinstance(by_name[name].data, Sum)
        assert by_name[name].data.is_monotonic
        assert by_name[name].unit == unit
    assert by_name["circuit_breaker.state.duration"].unit == "s"
    assert all(metric.description for metric in by_name.values())
    end()


def test_several_registries_share_the_instruments(make: Make, meters: Meters):
    """The SDK makes an instrument once and drops later callbacks: a second registry must not be lost for it."""
    one_of, other = make(stock={}), make(stock={}, payments={})
    ends = instrument(one_of, meters.provider), instrument(other, meters.provider)
    succeed(one_of["stock"], 3)
    succeed(other["stock"], 4)
    succeed(other["payments"], 2)

    found = meters.collect()

    assert one(found, "circuit_breaker.calls", outcome="success") == 7, "of one name, so of one series"
    name, success = "circuit_breaker.calls", ("circuit_breaker.outcome", "success")
    assert found[name, frozenset({(PEER, "payments"), success})] == 2
    for end in ends:
        end()


def test_an_export_may_be_begun_again(make: Make, meters: Meters):
    """What was counted stays counted, once."""
    registry = make(stock={})
    instrument(registry, meters.provider)
    end = instrument(registry, meters.provider)
    succeed(registry["stock"], 3)
    assert one(meters.collect(), "circuit_breaker.calls", outcome="success") == 3
    end()
    assert meters.collect() == {}

    end = instrument(registry, meters.provider)
    succeed(registry["stock"])
    assert one(meters.collect(), "circuit_breaker.calls", outcome="success") == 4
    end()


def test_readers_have_their_own_temporality(make: Make):
    """One that wants differences gets them, and the other sums."""
    sums, differences = (
        InMemoryMetricReader(preferred_temporality={ObservableCounter: temporality})
        for temporality in (AggregationTemporality.CUMULATIVE, AggregationTemporality.DELTA)
    )
    provider = MeterProvider([sums, differences])
    registry = make(stock={})
    end = instrument(registry, provider)
    told: list[tuple[float, float]] = []
    for _ in range(2):
        succeed(registry["stock"], 3)
        total, difference = (
            one(points(reader), "circuit_breaker.calls", outcome="success") for reader in (sums, differences)
        )
        told.append((total, difference))

    assert told == [(3, 3), (6, 3)]
    end()
    provider.shutdown()


def test_spans_are_marked_once_for_several_providers(
    make: Make, meters: Meters, tracer, spans: InMemorySpanExporter
):
    """Metrics may go to two places; a trace tells of one refusal."""
    registry, second = make(stock={}), Meters()
    ends = [instrument(registry, provider) for provider in (meters.provider, second.provider)]
    fail(registry["stock"])

    with tracer.start_as_current_span("GET /stock"):
        refused(registry["stock"])

    (span,) = spans.get_finished_spans()
    assert [event.name for event in span.events] == ["circuit_breaker.rejected"]
    for read in (meters, second):
        assert one(read.collect(), "circuit_breaker.opened") == 1
    for end in ends:
        end()
    with tracer.start_as_current_span("GET /stock"):
        refused(registry["stock"])
    assert not spans.get_finished_spans()[-1].events
    second.provider.shutdown()


def test_an_sdk_may_be_set_later():
    """Applications are imported before their SDK is: registries of both sides are exported."""
    ran = subprocess.run(
        [sys.executable, "-c", LATER], capture_output=True, text=True, timeout=60, check=True
    )
    assert ran.stdout.split() == ["early", "late"], ran.stderr


LATER = """
from opentelemetry.metrics import set_meter_provider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from recloser import Registry
from recloser.metrics.opentelemetry import PEER, instrument

early, late = Registry({"BREAKERS": {"early": {}}}), Registry({"BREAKERS": {"late": {}}})
instrument(early)
reader = InMemoryMetricReader()
set_meter_provider(MeterProvider([reader]))
instrument(late)
(metrics,) = [scope for of in reader.get_metrics_data().resource_metrics for scope in of.scope_metrics]
(opened,) = [metric for metric in metrics.metrics if metric.name == "circuit_breaker.opened"]
print(*sorted(point.attributes[PEER] for point in opened.data.data_points))
"""


def test_a_shared_store_is_observed(make: Make, meters: Meters, monkeypatch):
    """Without attributes, as there is one for all breakers."""
    registry = make(stock={})
    health = Health(connection=Connection.UP, lag=0.1, workers=4)
    monkeypatch.setattr(Registry, "store_health", property(lambda _: health))
    end = instrument(registry, meters.provider)

    found = meters.collect()

    names = ("circuit_breaker.store.up", "circuit_breaker.hub.lag", "circuit_breaker.workers")
    assert [found[name, frozenset()] for name in names] == [1, 0.1, 4]
    end()


def test_an_ended_export_tells_nothing(make: Make, meters: Meters):
    """Instruments cannot be taken back; they fall silent."""
    registry = make(stock={})
    instrument(registry, meters.provider)()
    assert meters.collect() == {}


def test_the_span_of_a_refused_call_says_so(make: Make, meters: Meters, tracer, spans: InMemorySpanExporter):
    """Event and attribute name the breaker, the reason and when to come back."""
    registry = make(stock={})
    end = instrument(registry, meters.provider)
    fail(registry["stock"])

    with tracer.start_as_current_span("GET /stock"):
        refused(registry["stock"])
        refused(registry["stock"])

    (span,) = spans.get_finished_spans()
    assert span.attributes["circuit_breaker.rejected"] == "stock"
    assert [event.name for event in span.events] == ["circuit_breaker.rejected"] * 2
    assert dict(span.events[0].attributes) == {
        PEER: "stock",
        "circuit_breaker.rejection.reason": "open",
        "circuit_breaker.retry_after": 10.0,
    }
    end()


def test_the_span_of_the_call_that_trips_says_so(
    make: Make, meters: Meters, tracer, spans: InMemorySpanExporter
):
    """The trace shows which request opened the circuit, and why."""
    registry = make(stock={})
    end = instrument(registry, meters.provider)

    with tracer.start_as_current_span("GET /stock"):
        fail(registry["stock"], error=TimeoutError("timed out"))

    (span,) = spans.get_finished_spans()
    assert span.attributes["circuit_breaker.opened"] == "stock"
    (event,) = span.events
    assert event.name == "circuit_breaker.opened"
    assert dict(event.attributes) == {
        PEER: "stock",
        "circuit_breaker.cause": "1 consecutive failure >= 1",
        "circuit_breaker.last_failure": "TimeoutError: timed out",
        "circuit_breaker.retry_after": 10.0,
    }
    end()


def test_the_span_of_a_degraded_answer_says_so(
    make: Make, meters: Meters, tracer, spans: InMemorySpanExporter
):
    """Around the whole application, as OpenTelemetry's own middleware is: the request was refused, and answered."""
    registry = make(stock={})
    end = instrument(registry, meters.provider)
    app = FastAPI()
    install(app, registry)

    @app.get("/stock")
    @guard("stock", plan=[plans.json({"quantity": None})])
    async def stock() -> dict[str, int]:
        return {"quantity": 4}

    async def traced(scope, receive, send):
        with tracer.start_as_current_span("GET /stock"):
            await app(scope, receive, send)

    fail(registry["stock"])

    assert get(traced, "/stock").json() == {"quantity": None}

    (span,) = spans.get_finished_spans()
    assert span.attributes["circuit_breaker.degraded"] == "stock"
    rejected, degraded = span.events
    assert rejected.name == "circuit_breaker.rejected"
    assert degraded.name == "circuit_breaker.degraded"
    assert dict(degraded.attributes) == {PEER: "stock", "circuit_breaker.strategy": "json"}
    assert one(meters.collect(), "circuit_breaker.degraded", strategy="json") == 1
    end()


def test_shadow_mode_is_no_refusal(make: Make, meters: Meters, tracer, spans: InMemorySpanExporter):
    """A call that would have been refused ran: its span says so in another word."""
    registry = make(stock={})
    end = instrument(registry, meters.provider)
    registry["stock"].shadow(by="ann", reason="trial")
    fail(registry["stock"])

    with tracer.start_as_current_span("GET /stock"):
        succeed(registry["stock"])

    (span,) = spans.get_finished_spans()
    assert dict(span.attributes) == {"circuit_breaker.shadow_rejected": "stock"}
    end()


def test_without_a_span_nothing_is_told(make: Make, meters: Meters, spans: InMemorySpanExporter):
    """Calls outside of any trace cost no event."""
    registry = make(stock={})
    end = instrument(registry, meters.provider)
    fail(registry["stock"])
    refused(registry["stock"])
    assert spans.get_finished_spans() == ()
    end()


def test_a_missing_extra_is_named():
    """Without opentelemetry-api the import says what to install."""
    code = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "try:\n    import recloser.metrics.opentelemetry\nexcept ImportError as error:\n    print(error)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout.strip() == (
        'recloser.metrics.opentelemetry needs opentelemetry-api: pip install "recloser[opentelemetry]"'
    )
