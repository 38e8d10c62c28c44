"""Prometheus: `app.add_route("/metrics", MetricsApp(registry))`.

Nothing is counted twice: what the breakers count anyway is read when Prometheus asks. In prometheus_client's
multiprocess mode, where a scrape hits one worker and custom collectors do not work, each worker publishes its numbers
every second (see `multiprocess`).
"""

from __future__ import annotations

import gzip
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from functools import partial
from threading import RLock
from typing import Any, ClassVar, Final

from recloser.core.durations import Histogram
from recloser.metrics.catalogue import DEGRADED, DURATION, METRICS, SERIES, SERVICE, Metric
from recloser.metrics.readings import Ledger, Reading, Totals, fleet, gauges
from recloser.registry import Registry

try:
    from prometheus_client import (
        REGISTRY,
        CollectorRegistry,
        make_asgi_app,  # pyright: ignore[reportUnknownVariableType]
    )
    from prometheus_client.exposition import gzip_accepted
    from prometheus_client.metrics_core import Metric as Family
    from prometheus_client.registry import Collector
    from prometheus_client.samples import Sample
except ModuleNotFoundError as missing:
    raise ImportError(
        'recloser.metrics.prometheus needs prometheus_client: pip install "recloser[prometheus]"',
        name="prometheus_client",
    ) from missing

from recloser.metrics.files import shares_files
from recloser.metrics.multiprocess import Publisher, bounds
from recloser.metrics.rendering import rendering

Message = MutableMapping[str, Any]
ASGIApp = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]

NAMES: Final = tuple(metric.name for metric in METRICS)


class BreakerCollector(Collector):
    """Reads breakers whenever they are collected, in one process.

    Args:
        ledger: Reads them.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._told: dict[str, tuple[Totals, list[Sample]]] = {}

    def describe(self) -> Iterable[Family]:
        """Name what is collected, so that nothing is registered twice."""
        return [_family(metric) for metric in METRICS]

    def collect(self) -> Iterable[Family]:
        """Read everything."""
        families = {metric.name: _family(metric) for metric in METRICS}
        counted: list[list[Sample]] = []
        for reading in self._ledger.read():
            labels = {SERVICE: reading.name}
            for metric, value, _ in gauges(reading):
                families[metric.name].samples.append(Sample(metric.name, labels, value))
            if reading.totals.durations is not None:
                families[DURATION.name].samples += _buckets(labels, reading.totals.durations)
            counted.append(self._counted(reading))
        for (metric, _), samples in zip(SERIES, zip(*counted, strict=True), strict=False):
            families[metric.name].samples += samples
        families[DEGRADED.name].samples += [
            Sample(f"{DEGRADED.name}_total", {SERVICE: breaker, DEGRADED.label: strategy}, number)
            for (breaker, strategy), number in self._ledger.degraded().items()
        ]
        for metric, value, _ in fleet(self._ledger):
            families[metric.name].samples.append(Sample(metric.name, {}, value))
        return [family for family in families.values() if family.samples]

    def _counted(self, reading: Reading) -> list[Sample]:
        """Tell a label's counters, in the order of `SERIES`; most breakers are idle most of the time."""
        totals, samples = self._told.get(reading.name) or (None, _zeros(reading.name))
        if totals is not reading.totals:
            samples = [
                sample if sample.value == number else Sample(sample.name, sample.labels, number)
                for sample, number in zip(samples, reading.totals.counts, strict=True)
            ]
            self._told[reading.name] = reading.totals, samples
        return samples


def instrument(registry: Registry) -> Callable[[], None]:
    """Export a registry's breakers with everything else that prometheus_client exports.

    Asking again for the same registry changes nothing. Several registries are exported together.

    Args:
        registry: Whose breakers are exported.

    Returns:
        A function that ends it.
    """
    _collected(registry)
    return partial(_end, registry)


def include(collector: Collector) -> Callable[[], None]:
    """Export a collector that tells the same in every process, in multiprocess mode too.

    Args:
        collector: Whichever process is scraped asks it.

    Returns:
        A function that ends it.

    Raises:
        ValueError: What it tells is exported already.
    """
    with _changing:
        REGISTRY.register(collector)
        _included.append(collector)
    return partial(_exclude, collector)


def exposition(registry: Registry, accept: str = "") -> tuple[bytes, str]:
    """Answer a scrape, for a view of your own.

    Args:
        registry: Whose breakers are exported, beside everything else that prometheus_client exports.
        accept: The request's `Accept` field; it may ask for OpenMetrics.

    Returns:
        The body and its `Content-Type`.
    """
    return _exposition(_collected(registry), accept)


class MetricsApp:
    """An ASGI application that answers scrapes: `app.add_route("/metrics", MetricsApp(registry))`.

    Args:
        registry: Whose breakers are exported, beside everything else that prometheus_client exports.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        instrument(registry)

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        """Answer one scrape."""
        by_name = bool(scope.get("query_string"))  # which may ask for some metrics
        collected = _collected(self._registry, by_name=by_name)
        if by_name:
            app: ASGIApp = make_asgi_app(collected)  # pyright: ignore[reportUnknownVariableType]
            await app(scope, receive, send)
            return
        body, content_type = _exposition(collected, _field(scope, b"accept"))
        headers = [(b"content-type", content_type.encode())]
        if gzip_accepted(_field(scope, b"accept-encoding")):
            body = gzip.compress(body, 1)  # the best level takes longer than all the rest
            headers.append((b"content-encoding", b"gzip"))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


_changing: Final = RLock()
_included: Final[list[Collector]] = []


class _Export:
    """What this process exports, from the first registry on."""

    present: ClassVar[_Export | None] = None

    def __init__(self) -> None:
        self.ledger = Ledger()
        self._publisher = Publisher(self.ledger) if shares_files() else None
        self._collector = BreakerCollector(self.ledger)
        if self._publisher is None:
            REGISTRY.register(self._collector)

    def publish(self, *, by_name: bool = False) -> CollectorRegistry:
        """Write this process's numbers where others read them, and return where everybody's are."""
        if self._publisher is None:
            return REGISTRY
        self._publisher.publish()
        everybody = CollectorRegistry(auto_describe=by_name)  # which takes another look at everything
        everybody.register(self._publisher.merger)
        for collector in _included:
            everybody.register(collector)
        return everybody

    def end(self) -> None:
        if self._publisher is None:
            REGISTRY.unregister(self._collector)
        else:
            self._publisher.close()


def _end(registry: Registry) -> None:
    with _changing:
        export = _Export.present
        if export is not None:
            export.ledger.remove(registry)
            if not export.ledger.registries:
                _Export.present = None
                export.end()


def _exclude(collector: Collector) -> None:
    with _changing:
        if collector in _included:
            _included.remove(collector)
            REGISTRY.unregister(collector)


def _collected(registry: Registry, *, by_name: bool = False) -> CollectorRegistry:
    with _changing:
        export = _Export.present
        if export is None:
            export = _Export.present = _Export()
        if registry not in export.ledger.registries:
            export.ledger.add(registry)
    return export.publish(by_name=by_name)


def _exposition(collected: CollectorRegistry, accept: str) -> tuple[bytes, str]:
    text, content_type = rendering(accept, NAMES)
    return text.write(collected), content_type


def _field(scope: Message, name: bytes) -> str:
    return ",".join(value.decode("latin-1") for key, value in scope["headers"] if key == name)


def _zeros(breaker: str) -> list[Sample]:
    return [
        Sample(f"{metric.name}_total", {SERVICE: breaker} | ({metric.label: own} if own else {}), 0)
        for metric, own in SERIES
    ]


def _family(metric: Metric) -> Family:
    return Family(metric.name, metric.help, metric.kind)


def _buckets(labels: dict[str, str], durations: Histogram) -> Iterable[Sample]:
    total = 0
    for bound, number in zip(bounds(durations), durations.counts, strict=True):
        total += number
        yield Sample(f"{DURATION.name}_bucket", {**labels, "le": bound}, total)
    yield Sample(f"{DURATION.name}_count", labels, total)
    yield Sample(f"{DURATION.name}_sum", labels, durations.seconds)
