"""Prometheus: `app.add_route("/metrics", MetricsApp(registry))`.

Nothing is counted twice: what the breakers count anyway is read when Prometheus asks. In prometheus_client's
multiprocess mode, where a scrape hits one worker and custom collectors do not work, each worker publishes its numbers
every second (see `multiprocess`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from functools import partial
from threading import RLock
from typing import Any, ClassVar, Final

from recloser.core.durations import Histogram
from recloser.metrics.catalogue import DEGRADED, DURATION, GAUGES, SERIES, SERVICE, STORE, Metric
from recloser.metrics.readings import Ledger, fleet, gauges
from recloser.registry import Registry

try:
    from prometheus_client import (
        REGISTRY,
        CollectorRegistry,
        make_asgi_app,  # pyright: ignore[reportUnknownVariableType]
    )
    from prometheus_client.exposition import choose_encoder
    from prometheus_client.metrics_core import Metric as Family
    from prometheus_client.multiprocess import MultiProcessCollector
    from prometheus_client.registry import Collector
    from prometheus_client.samples import Sample
except ModuleNotFoundError as missing:
    raise ImportError(
        'recloser.metrics.prometheus needs prometheus_client: pip install "recloser[prometheus]"',
        name="prometheus_client",
    ) from missing

from recloser.metrics.multiprocess import Publisher, bounds, shares_files

Message = MutableMapping[str, Any]
ASGIApp = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]

_METRICS: Final = (*GAUGES, *dict.fromkeys(series.metric for series in SERIES), DURATION, DEGRADED, *STORE)


class BreakerCollector(Collector):
    """Reads breakers whenever they are collected, in one process.

    Args:
        ledger: Reads them.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def describe(self) -> Iterable[Family]:
        """Name what is collected, so that nothing is registered twice."""
        return [_family(metric) for metric in _METRICS]

    def collect(self) -> Iterable[Family]:
        """Read everything."""
        families = {metric.name: _family(metric) for metric in _METRICS}
        readings = self._ledger.read()
        for reading in readings:
            for metric, value, _ in gauges(reading):
                families[metric.name].samples.append(Sample(metric.name, {SERVICE: reading.name}, value))
            if reading.totals.durations is not None:
                families[DURATION.name].samples += _buckets({SERVICE: reading.name}, reading.totals.durations)
        for place, (metric, own) in enumerate(SERIES):
            name, labels = f"{metric.name}_total", {metric.label: own} if own else {}
            families[metric.name].samples += [
                Sample(name, {SERVICE: reading.name, **labels}, reading.totals.counts[place])
                for reading in readings
            ]
        families[DEGRADED.name].samples += [
            Sample(f"{DEGRADED.name}_total", {SERVICE: breaker, DEGRADED.label: strategy}, number)
            for (breaker, strategy), number in self._ledger.degraded().items()
        ]
        for metric, value, _ in fleet(self._ledger):
            families[metric.name].samples.append(Sample(metric.name, {}, value))
        return [family for family in families.values() if family.samples]


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
    encode, content_type = choose_encoder(accept)
    return encode(_collected(registry)), content_type


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
        app: ASGIApp = make_asgi_app(_collected(self._registry))  # pyright: ignore[reportUnknownVariableType]
        await app(scope, receive, send)


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

    def publish(self) -> CollectorRegistry:
        """Write this process's numbers where others read them, and return where everybody's are."""
        if self._publisher is None:
            return REGISTRY
        self._publisher.publish()
        everybody = CollectorRegistry()
        MultiProcessCollector(everybody)  # type: ignore[no-untyped-call]
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


def _collected(registry: Registry) -> CollectorRegistry:
    with _changing:
        export = _Export.present
        if export is None:
            export = _Export.present = _Export()
        if registry not in export.ledger.registries:
            export.ledger.add(registry)
    return export.publish()


def _family(metric: Metric) -> Family:
    return Family(metric.name, metric.help, metric.kind)


def _buckets(labels: dict[str, str], durations: Histogram) -> Iterable[Sample]:
    total = 0
    for bound, number in zip(bounds(durations), durations.counts, strict=True):
        total += number
        yield Sample(f"{DURATION.name}_bucket", {**labels, "le": bound}, total)
    yield Sample(f"{DURATION.name}_count", labels, total)
    yield Sample(f"{DURATION.name}_sum", labels, durations.seconds)
