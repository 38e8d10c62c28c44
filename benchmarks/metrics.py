"""What measuring costs: a closed breaker that everything watches, one that times its calls, and a scrape."""

from __future__ import annotations

from dataclasses import replace

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from benchmarks import targets, web
from benchmarks.rows import Budget
from benchmarks.timing import Candidate, TimedCase
from recloser import Registry
from recloser.metrics.logging import log_events
from recloser.metrics.opentelemetry import instrument as observe
from recloser.metrics.prometheus import NAMES, BreakerCollector
from recloser.metrics.readings import Ledger
from recloser.metrics.rendering import rendering

BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
OFF, ON, SORTED, CLOCKED = "metrics off", "metrics on", "sorted into buckets too", "two looks at a clock"
SORTED_AT_ONCE = 500
BREAKERS = 200
AS_PROMETHEUS_ASKS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
PLACES = ("a", "b", "c", "d", "e", "f", "g", "h")
_STATEMENT = "; ".join(f"{place}(1)" for place in PLACES)
_watched: list[Registry] = []  # exporters keep no registry alive


def closed() -> TimedCase:
    """Prometheus, OpenTelemetry and logs watch the breaker; its calls do not know."""
    on = _registry(_several({}))
    CollectorRegistry().register(BreakerCollector(Ledger(on)))
    observe(on)
    log_events(on)
    return _compared("closed, metrics on", _registry(_several({})), on, Budget("<=", 1.05))


def measured() -> TimedCase:
    """`duration_buckets` in a policy with a time window, whose calls look at the clock once anyway."""
    return _timed("closed, durations, time window", {"failure_rate_threshold": 0.5})


def measured_by_default() -> TimedCase:
    """The same where nothing else needs a clock, so that two looks at one come on top."""
    case = _timed("closed, durations, no window", {})
    clocked = {place: targets.clocked(targets.charge) for place in PLACES}
    floor = Candidate(CLOCKED, _STATEMENT, clocked, "", OFF, calls=len(PLACES))
    return TimedCase(case.name, [*case.candidates, floor], pieces=case.pieces)


def _timed(name: str, policy: dict[str, object]) -> TimedCase:
    """Compare whole calls, as their caller pays for them; then add the sorting into buckets that is put off."""
    off, on = _registry(_several(policy)), _registry(_several({**policy, "duration_buckets": BUCKETS}))

    def sort() -> None:
        for breaker in on.values():
            breaker._driver.sort_durations()

    *known, measured = _compared(name, off, on, Budget("<=", 2.0)).candidates
    known, measured = [replace(each, bare="") for each in known], replace(measured, bare="", prepare=sort)
    sorted_too = replace(
        measured,
        name=SORTED,
        statement=f"for _ in many: {_STATEMENT}\nsort()",
        names={**measured.names, "many": range(SORTED_AT_ONCE), "sort": sort},
        budget=None,
        calls=measured.calls * SORTED_AT_ONCE,
    )
    pieces = 16  # a loop leaves about a hundred notes on each sheet, as a tenth of a busy second does
    return TimedCase(name, [*known, measured, sorted_too], pieces=pieces)


def scrape() -> TimedCase:
    """A scrape of 200 breakers as Prometheus asks for it, each called since the last one; and what rendering would take."""
    registry = _registry({f"service-{number}": {} for number in range(BREAKERS)})
    live, fixed = CollectorRegistry(), CollectorRegistry()
    collector = BreakerCollector(Ledger(registry))
    live.register(collector)
    fixed.register(_Fixed(list(collector.collect())))
    text, _ = rendering(AS_PROMETHEUS_ASKS, NAMES)
    encode, _ = choose_encoder(AS_PROMETHEUS_ASKS)

    def call_all() -> None:
        for breaker in registry.values():
            breaker.acquire().success()

    candidates = [
        *web.microsecond(),
        Candidate("prometheus_client, same numbers", "encode(fixed)", {"encode": encode, "fixed": fixed}),
        Candidate("reading alone", "collect()", {"collect": collector.collect}),
        Candidate(
            "recloser",
            "write(live)",
            {"write": text.write, "live": live},
            "",
            web.MICROSECOND,
            Budget("<=", 10_000),
            prepare=call_all,
            once=True,
        ),
    ]
    return TimedCase(f"scrape of {BREAKERS} breakers", candidates)


class _Fixed(Collector):
    def __init__(self, families) -> None:
        self._families = families

    def collect(self):
        return self._families


def _registry(breakers) -> Registry:
    registry = Registry({"BREAKERS": breakers})
    _watched.append(registry)
    return registry


def _several(policy):
    # Where one function happens to lie in memory may cost it as much as the budget allows.
    return dict.fromkeys(PLACES, policy)


def _compared(name: str, off: Registry, on: Registry, budget: Budget) -> TimedCase:
    bare = dict.fromkeys(PLACES, targets.charge)
    guarded = [{place: breakers[place](targets.charge) for place in PLACES} for breakers in (off, on)]
    for functions in guarded:
        for function in functions.values():
            for _ in range(20):  # past `minimum_calls`: from there on calls only tick
                function(1)
    return TimedCase(
        name,
        [
            Candidate("bare", _STATEMENT, bare, shown=False, calls=len(PLACES)),
            Candidate(OFF, _STATEMENT, guarded[0], "bare", calls=len(PLACES)),
            Candidate(ON, _STATEMENT, guarded[1], "bare", OFF, budget, calls=len(PLACES)),
        ],
    )
