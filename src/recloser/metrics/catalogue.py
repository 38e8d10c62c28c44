"""What is measured: every metric, with its name, its help and its labels, whoever exports it."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from recloser.core.events import Rejection
from recloser.core.snapshot import Snapshot
from recloser.core.state import Mode, State
from recloser.retry import BudgetCounts

SERVICE: Final = "service_name"

REASONS: Final = tuple(Rejection)
STATE_NUMBERS: Final = {State.CLOSED: 0, State.OPEN: 1, State.HALF_OPEN: 2}
MODE_NUMBERS: Final = {Mode.AUTO: 0, Mode.FORCED_OPEN: 1, Mode.FORCED_CLOSED: 2, Mode.SHADOW: 3}
# Where several breakers share a label, the one that troubles callers most is told.
STATE_SEVERITY: Final = {State.CLOSED: 1, State.HALF_OPEN: 2, State.OPEN: 3}
MODE_SEVERITY: Final = {Mode.AUTO: 1, Mode.SHADOW: 2, Mode.FORCED_CLOSED: 3, Mode.FORCED_OPEN: 4}


class Metric(NamedTuple):
    """One metric.

    Attributes:
        name: In Prometheus' spelling, without `_total`.
        kind: Its type.
        help: What it says.
        label: Its label beside the breaker's name, if it has one.
        unit: As OpenTelemetry spells it (UCUM).
    """

    name: str
    kind: Literal["gauge", "counter", "histogram"]
    help: str
    label: str = ""
    unit: str = ""


class Series(NamedTuple):
    """One counter of each breaker: a metric, and the value of its second label."""

    metric: Metric
    value: str = ""


STATE: Final = Metric("circuit_breaker_state", "gauge", "State of the circuit: 0 closed, 1 open, 2 half-open")
STATE_SECONDS: Final = Metric(
    "circuit_breaker_state_seconds", "gauge", "Seconds since the circuit entered its state", unit="s"
)
MODE: Final = Metric(
    "circuit_breaker_mode",
    "gauge",
    "Operator's mode: 0 automatic, 1 forced open, 2 forced closed, 3 shadow",
)
MODE_UNTIL: Final = Metric(
    "circuit_breaker_mode_until_timestamp_seconds",
    "gauge",
    "When the operator's mode ends, as a Unix time; 0 for a mode without an end and for automatic",
    unit="s",
)
DURATION: Final = Metric(
    "circuit_breaker_call_duration_seconds",
    "histogram",
    "Duration of calls that counted, for breakers with duration_buckets",
    unit="s",
)
DEGRADED: Final = Metric(
    "circuit_breaker_degraded",
    "counter",
    "Degraded answers given in the breaker's stead, by strategy",
    "strategy",
    "{response}",
)
OPENED: Final = Metric(
    "circuit_breaker_opened", "counter", "Times that the circuit opened", unit="{transition}"
)
CALLS: Final = Metric(
    "circuit_breaker_calls", "counter", "Calls let through, by outcome", "outcome", "{call}"
)
SLOW: Final = Metric(
    "circuit_breaker_slow_calls", "counter", "Calls that were slow, failed or not", unit="{call}"
)
REJECTIONS: Final = Metric(
    "circuit_breaker_rejections", "counter", "Calls refused, by reason", "reason", "{call}"
)
SHADOW_REJECTIONS: Final = Metric(
    "circuit_breaker_shadow_rejections",
    "counter",
    "Calls that shadow mode let through and would have refused",
    unit="{call}",
)
PROBES: Final = Metric("circuit_breaker_probes", "counter", "Probes admitted while half-open", unit="{call}")
TRANSITIONS: Final = Metric(
    "circuit_breaker_transitions",
    "counter",
    "Transitions, by the state that was entered",
    "state",
    "{transition}",
)

RETRIES: Final = Metric(
    "circuit_breaker_retries",
    "counter",
    "Retries that were wanted: granted by the retry budget, or exhausted: not made, so that the call failed",
    "budget",
    "{call}",
)

GAUGES: Final = (STATE, STATE_SECONDS, MODE, MODE_UNTIL)
SERIES: Final = (
    Series(OPENED),
    Series(CALLS, "success"),
    Series(CALLS, "failure"),
    Series(CALLS, "ignored"),
    Series(SLOW),
    *(Series(REJECTIONS, reason) for reason in REASONS),
    Series(SHADOW_REJECTIONS),
    Series(PROBES),
    Series(TRANSITIONS, State.OPEN),
    Series(TRANSITIONS, State.HALF_OPEN),
    Series(TRANSITIONS, State.CLOSED),
    Series(RETRIES, "granted"),
    Series(RETRIES, "exhausted"),
)


def counters(snapshot: Snapshot, retries: BudgetCounts) -> tuple[int, ...]:
    """Read the counters of a breaker, and of its retry budget, in the order of `SERIES`."""
    rejected = snapshot.rejected
    return (
        snapshot.opened,
        snapshot.calls - snapshot.failures,
        snapshot.failures,
        snapshot.ignored,
        snapshot.slow,
        *[rejected.get(reason, 0) for reason in REASONS],
        sum(snapshot.would_reject.values()),
        snapshot.probes,
        snapshot.opened,
        snapshot.half_opened,
        snapshot.closed,
        *retries,
    )


STORE_UP: Final = Metric(
    "circuit_breaker_store_up", "gauge", "0 while the shared store cannot be reached, else 1"
)
HUB_LAG: Final = Metric(
    "circuit_breaker_hub_lag_seconds", "gauge", "Seconds since the shared store last answered", unit="s"
)
WORKERS: Final = Metric(
    "circuit_breaker_workers", "gauge", "Workers that share the breakers and are alive", unit="{worker}"
)
DISAGREEING: Final = Metric(
    "circuit_breaker_workers_disagreeing",
    "gauge",
    "Workers that see another state than the store does",
    unit="{worker}",
)
# Without a label, and only where a store is shared.
STORE: Final = (STORE_UP, HUB_LAG, WORKERS, DISAGREEING)

METRICS: Final = (*GAUGES, *dict.fromkeys(series.metric for series in SERIES), DURATION, DEGRADED, *STORE)
