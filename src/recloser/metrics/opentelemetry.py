"""OpenTelemetry: `instrument(registry)` makes metrics, and tells the current span what breakers did to it.

Names follow the semantic conventions: dots between namespaces, units apart from names, and `service.peer.name` for
the dependency, which is what a breaker is named after. OpenTelemetry has no histogram that is read rather than
written, so durations are told as a sum. The SDK makes an instrument once and drops the callbacks of whoever asks for
it again, so all registries of a provider share theirs.
"""

from __future__ import annotations

from _thread import RLock
from collections.abc import Callable, Iterable, Iterator
from typing import ClassVar, Final
from weakref import WeakKeyDictionary, WeakSet

from recloser.core.events import CallRejected, Event, StateChanged
from recloser.core.state import State
from recloser.metrics.catalogue import DEGRADED, DURATION, GAUGES, SERIES, STORE, Metric
from recloser.metrics.readings import Ledger, Reading, fleet, gauges
from recloser.registry import Registry

try:
    from opentelemetry.metrics import (
        CallbackOptions,
        MeterProvider,
        Observation,
        get_meter_provider,
    )
    from opentelemetry.trace import get_current_span
except ModuleNotFoundError as missing:
    raise ImportError(
        'recloser.metrics.opentelemetry needs opentelemetry-api: pip install "recloser[opentelemetry]"',
        name="opentelemetry",
    ) from missing

PEER: Final = "service.peer.name"
NAMES: Final = {
    "circuit_breaker_state_seconds": "circuit_breaker.state.duration",
    "circuit_breaker_mode_until_timestamp_seconds": "circuit_breaker.mode.until",
    "circuit_breaker_call_duration_seconds": "circuit_breaker.call.time",
    "circuit_breaker_store_up": "circuit_breaker.store.up",
    "circuit_breaker_hub_lag_seconds": "circuit_breaker.hub.lag",
    "circuit_breaker_workers_disagreeing": "circuit_breaker.worker.disagreeing",
}
ATTRIBUTES: Final = {"reason": "circuit_breaker.rejection.reason"}
_COUNTERS: Final = tuple(dict.fromkeys(series.metric for series in SERIES))


def name_of(metric: Metric) -> str:
    """Spell a metric's name as OpenTelemetry does."""
    return NAMES.get(metric.name) or metric.name.replace("circuit_breaker_", "circuit_breaker.", 1)


def instrument(registry: Registry, meters: MeterProvider | None = None) -> Callable[[], None]:
    """Export a registry's breakers as observable instruments, and mark the spans that they meet.

    The current span gets an event and an attribute when a circuit opens in it (`circuit_breaker.opened`), refuses a
    call (`circuit_breaker.rejected`), or is answered for (`circuit_breaker.degraded`).

    Asking again for the same registry and provider changes nothing. Several registries are exported together.

    Args:
        registry: Whose breakers are exported.
        meters: Where to; by default the global provider.

    Returns:
        A function that ends it.
    """
    with _changing:
        ledger = _instruments(meters or get_meter_provider()).ledger
        if registry not in ledger.registries:
            ledger.add(registry)
        silence: list[Callable[[], None]] = []
        if registry not in _marking:  # else each of several providers would have an event of its own
            _marking.add(registry)
            silence += registry.add_listener(mark_span), registry.degraded.add_listener(mark_degraded)

    def end() -> None:
        with _changing:
            ledger.remove(registry)
            if silence:
                _marking.discard(registry)
            while silence:
                silence.pop()()

    return end


_changing: Final = RLock()
_made: Final[WeakKeyDictionary[MeterProvider, _Instruments]] = WeakKeyDictionary()
_marking: Final[WeakSet[Registry]] = WeakSet()


def _instruments(meters: MeterProvider) -> _Instruments:
    made = _made.get(meters)
    if made is None and meters is get_meter_provider():
        made = _Instruments.of_the_default  # made before an SDK was set: by now they are the SDK's
    if made is None:
        made = _Instruments(meters)
    if meters is get_meter_provider():
        _Instruments.of_the_default = made
    _made[meters] = made
    return made


def mark_span(event: Event) -> None:
    """Tell the current span of a refusal or of a circuit that opens: a listener."""
    if isinstance(event, CallRejected):
        told: dict[str, str | float] = {
            "circuit_breaker.rejection.reason": str(event.reason),
            "circuit_breaker.retry_after": event.retry_after,
        }
        what = "circuit_breaker.shadow_rejected" if event.shadow else "circuit_breaker.rejected"
        _mark(what, event.breaker, told)
    elif isinstance(event, StateChanged) and event.new is State.OPEN:
        cause: dict[str, str | float] = {
            "circuit_breaker.cause": str(event.cause),
            "circuit_breaker.last_failure": event.last_failure,
            "circuit_breaker.retry_after": event.retry_after,
        }
        _mark("circuit_breaker.opened", event.breaker, cause)


def mark_degraded(breaker: str, strategy: str) -> None:
    """Tell the current span of a degraded answer."""
    _mark("circuit_breaker.degraded", breaker, {"circuit_breaker.strategy": strategy})


def _mark(what: str, breaker: str, told: dict[str, str | float]) -> None:
    span = get_current_span()
    if span.is_recording():
        span.add_event(what, {PEER: breaker, **told})
        span.set_attribute(what, breaker)


class _Instruments:
    """What is observed of a provider. All instruments tell of one look, which the first one takes."""

    of_the_default: ClassVar[_Instruments | None] = None

    def __init__(self, meters: MeterProvider) -> None:
        self.ledger = Ledger()
        self._looked: list[Reading] = []
        meter = meters.get_meter("recloser")
        for metric in GAUGES:
            meter.create_observable_gauge(
                name_of(metric), [self._callback(self._gauge, metric)], metric.unit, metric.help
            )
        for metric in _COUNTERS:
            meter.create_observable_counter(
                name_of(metric), [self._callback(self._counter, metric)], metric.unit, metric.help
            )
        meter.create_observable_counter(
            name_of(DURATION), [self._callback(self._seconds, DURATION)], DURATION.unit, DURATION.help
        )
        meter.create_observable_counter(
            name_of(DEGRADED), [self._callback(self._degraded, DEGRADED)], DEGRADED.unit, DEGRADED.help
        )
        for metric in STORE:
            meter.create_observable_gauge(
                name_of(metric), [self._callback(self._store, metric)], metric.unit, metric.help
            )

    def _callback(
        self, observe: Callable[[Metric], Iterable[Observation]], metric: Metric
    ) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def callback(_: CallbackOptions) -> Iterable[Observation]:
            if not self.ledger.registries:
                return ()
            if metric is GAUGES[0]:
                self._looked = self.ledger.read()
            return observe(metric)

        return callback

    def _gauge(self, metric: Metric) -> Iterator[Observation]:
        for reading in self._looked:
            for told, value, _ in gauges(reading):
                if told is metric:
                    yield Observation(value, {PEER: reading.name})

    def _counter(self, metric: Metric) -> Iterator[Observation]:
        for reading in self._looked:
            for (counted, own), number in zip(SERIES, reading.totals.counts, strict=True):
                if counted is metric:
                    yield Observation(number, _attributes(metric, reading.name, own))

    def _seconds(self, _: Metric) -> Iterator[Observation]:
        for reading in self._looked:
            if reading.totals.durations is not None:
                yield Observation(reading.totals.durations.seconds, {PEER: reading.name})

    def _degraded(self, metric: Metric) -> Iterator[Observation]:
        for (breaker, strategy), number in self.ledger.degraded().items():
            yield Observation(number, _attributes(metric, breaker, strategy))

    def _store(self, metric: Metric) -> Iterator[Observation]:
        for told, value, _ in fleet(self.ledger):
            if told is metric:
                yield Observation(value)


def _attributes(metric: Metric, breaker: str, own: str) -> dict[str, str]:
    if not own:
        return {PEER: breaker}
    return {PEER: breaker, ATTRIBUTES.get(metric.label, f"circuit_breaker.{metric.label}"): own}
