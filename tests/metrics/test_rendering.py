"""Rendering: whatever prometheus_client would write is what is written, however often and whatever has changed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import Gauge, generate_latest
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import REGISTRY, Collector
from prometheus_client.samples import Sample

from core.acting import fail, succeed
from metrics.conftest import get
from metrics.test_prometheus import Make
from recloser.metrics.prometheus import MetricsApp, exposition, instrument
from recloser.metrics.rendering import MAX_FORMATS, Rendering, rendering

FORMATS = [
    "",
    "text/plain; version=1.0.0; escaping=allow-utf-8",
    "application/openmetrics-text",
    "application/openmetrics-text; version=1.0.0; escaping=dots",
    "application/openmetrics-text; version=1.0.0; escaping=values",
]
numbers = st.integers(0, 2**60) | st.floats(min_value=0) | st.just(float("nan"))
labels = st.dictionaries(st.sampled_from(["service_name", "le", "reason"]), st.text(max_size=6), max_size=2)


class Told(Collector):
    """Collects what it is given."""

    def __init__(self, families: list[Family]) -> None:
        self.families = families

    def collect(self) -> list[Family]:
        return self.families


@st.composite
def families(draw: st.DrawFn) -> Told:
    made = []
    for name, kind in (
        ("kept", "counter"),
        ("also_kept", "gauge"),
        ("kept_histogram", "histogram"),
        ("other", "gauge"),
    ):
        family = Family(name, "What it says.", kind)
        suffix = {"counter": "_total", "histogram": "_bucket"}.get(kind, "")
        family.samples += [
            Sample(name + suffix, draw(labels), draw(numbers)) for _ in range(draw(st.integers(0, 3)))
        ]
        made.append(family)
    return Told(made)


@pytest.mark.parametrize("accept", FORMATS)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_every_scrape_is_what_prometheus_client_writes(accept: str, data: st.DataObject):
    """In each format, byte for byte: series that stay, change, come and go, with whatever labels and numbers."""
    encode, _ = choose_encoder(accept)
    text = Rendering(encode, ("kept", "also_kept", "kept_histogram"))

    for collected in data.draw(st.lists(families(), min_size=1, max_size=4)):
        for _ in range(2):  # unchanged the second time
            assert text.write(collected) == encode(collected)
        for family in collected.families:
            family.samples = [sample._replace(value=sample.value + 1) for sample in family.samples]
        assert text.write(collected) == encode(collected)


def test_the_breakers_are_told_as_prometheus_client_tells_them(make: Make):
    """Our endpoints and an application's own exposition differ in nothing, at first and after something happened."""
    registry = make(stock={"duration_buckets": [0.1, 1]}, payments={})
    end = instrument(registry)
    gauge = Gauge("own", "One of the application's own metrics.", ["path"])
    try:
        for happens in (
            lambda: None,
            lambda: succeed(registry["stock"], 3),
            lambda: fail(registry["payments"]),
        ):
            happens()
            gauge.labels("/a").inc()
            for accept in FORMATS:
                encode, content_type = choose_encoder(accept)
                ours, told = exposition(registry, accept)
                assert told == content_type
                assert _steady(ours) == _steady(encode(REGISTRY))
                assert b"own" in ours
    finally:
        REGISTRY.unregister(gauge)
        end()


def _steady(text: bytes) -> list[bytes]:
    return [
        line
        for line in text.splitlines()
        if not line.startswith((b"process", b"python", b"U__process", b"U__python"))
    ]


def test_only_what_changed_is_written_again():
    """A family whose samples are the same is not encoded a second time, nor are the names of one that changed."""
    asked: list[int] = []

    def encode(collector: Collector) -> bytes:
        asked.append(sum(len(family.samples) for family in collector.collect()))
        return generate_latest(collector)

    family = Family("kept", "help", "gauge")
    family.samples += [Sample("kept", {"service_name": str(place)}, place) for place in range(50)]
    text = Rendering(encode, ("kept",))
    first = text.write(Told([family]))
    assert max(asked) == 50
    asked.clear()

    assert text.write(Told([family])) == first
    family.samples = [sample._replace(value=7) for sample in family.samples]
    assert text.write(Told([family])).count(b" 7.0\n") == 50
    assert asked == []


def test_scrapers_cannot_make_memory_grow():
    """Whatever formats are asked for, few are kept."""
    for number in range(3 * MAX_FORMATS):
        rendering(f"application/openmetrics-text; version=1.0.{number}", ("kept",))
    assert rendering.cache_info().currsize <= MAX_FORMATS


def test_metrics_may_be_asked_for_by_name(make: Make):
    """As `params` of a scrape's configuration do it."""
    registry = make(stock={})
    app = MetricsApp(registry)
    try:
        answer = get(app, "/metrics?name[]=circuit_breaker_state")
        assert answer.text.splitlines()[2:] == ['circuit_breaker_state{service_name="stock"} 0.0']
    finally:
        instrument(registry)()
