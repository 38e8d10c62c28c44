"""One look at all breakers of a registry: bounded in labels, and with counters that never go back.

Breakers made per origin come and go, and one that comes again counts from zero. So what is told of a label is the
sum of all that was ever seen counted under it.
"""

from __future__ import annotations

from _thread import RLock
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from operator import add
from typing import Final, NamedTuple
from weakref import WeakKeyDictionary, ref

from recloser import retry
from recloser.core import fork
from recloser.core.breaker import CircuitBreaker
from recloser.core.durations import Histogram
from recloser.core.snapshot import Snapshot
from recloser.core.state import Override, State
from recloser.degradations import OTHERS
from recloser.metrics.catalogue import (
    DISAGREEING,
    HUB_LAG,
    MODE,
    MODE_NUMBERS,
    MODE_SEVERITY,
    MODE_UNTIL,
    SERIES,
    STATE,
    STATE_NUMBERS,
    STATE_SECONDS,
    STATE_SEVERITY,
    STORE_UP,
    WORKERS,
    Metric,
    counters,
)
from recloser.registry import Registry
from recloser.stores.health import Connection

MAX_ORIGINS: Final = 100
OTHER_ORIGINS: Final = "(other origins)"  # no breaker of a registry can have this name

ALWAYS_THERE: Final = (
    "unavailable"  # the strategy that ends every plan: no series begins with its first increment
)

AUTOMATIC: Final = Override()
RANK: Final = 1e12  # above the longest time that a state lasts (seconds)


class Totals(NamedTuple):
    """What a breaker, or a label, has counted: the numbers of `SERIES`, and the durations."""

    counts: tuple[int, ...]
    durations: Histogram | None = None


@dataclass(slots=True)
class Reading:
    """What there is to tell of one label.

    Attributes:
        name: The label: a breaker's name, or `OTHER_ORIGINS`.
        totals: The counters.
        state: The most severe state of the label's breakers; closed where there is none now.
        elapsed: How long it has lasted (seconds).
        mode: The most severe mode.
    """

    name: str
    totals: Totals
    state: State = State.CLOSED
    elapsed: float = 0.0
    mode: Override = AUTOMATIC


class Ledger:
    """Reads registries, again and again. Safe for threads and forks; a fork's child counts from zero.

    Declared breakers and the first hundred origins have a label each; what other origins count is told under
    `OTHER_ORIGINS` together. Breakers of one name share a label, whichever registry they are of.

    Args:
        registries: Whose breakers are read. They are not kept alive.
    """

    def __init__(self, *registries: Registry) -> None:
        self._known = [ref(registry) for registry in registries]
        self._begin()
        fork.watch(self)

    @property
    def registries(self) -> list[Registry]:
        """Those of them that are alive."""
        return [registry for known in self._known if (registry := known()) is not None]

    def add(self, registry: Registry) -> None:
        """Read one more."""
        self._known = [known for known in self._known if known() is not None] + [ref(registry)]

    def remove(self, registry: Registry) -> None:
        """Read it no more; what it has counted stays counted."""
        self._known = [known for known in self._known if known() not in (None, registry)]

    def inherit(self, names: Iterable[str]) -> None:
        """Count the labels that processes before this one have made among the hundred."""
        with self._lock:
            self._origins.update(
                name for name in names if name != OTHER_ORIGINS and not self._is_declared(name)
            )

    def read(self) -> list[Reading]:
        """Take a snapshot of each breaker."""
        # Outside the lock: a snapshot may notice the end of a mode, and tell listeners.
        breakers = [breaker for registry in self.registries for breaker in registry.values()]
        taken = [(breaker, breaker.snapshot()) for breaker in breakers]
        with self._lock:
            labels = [self._account(breaker, snapshot) for breaker, snapshot in taken]
            readings = {label: Reading(label, totals) for label, totals in self._totals.items()}
        for label, (_, snapshot) in zip(labels, taken, strict=True):
            _tell(readings[label], snapshot)
        return list(readings.values())

    def degraded(self) -> dict[tuple[str, str], int]:
        """Count degraded answers by label and strategy, also those that a plan has room for and nobody got yet."""
        with self._lock:
            for registry in self.registries:
                now, before = registry.degraded.counts(), self._answered.get(registry, {})
                for (breaker, strategy), number in (*registry.degraded.expected.items(), *now.items()):
                    key = self._label(breaker), strategy
                    more = max(0, number - before.get((breaker, strategy), 0))
                    self._degraded[key] = self._degraded.get(key, 0) + more
                self._answered[registry] = now
            return {(label, ALWAYS_THERE): 0 for label in self._totals} | self._degraded

    def _label(self, name: str) -> str:
        if name in self._totals or name in self._origins or self._is_declared(name):
            return name
        if len(self._origins) < MAX_ORIGINS and name != OTHERS:
            self._origins.add(name)
            return name
        return OTHER_ORIGINS

    def _is_declared(self, name: str) -> bool:
        return any(name in registry.declared for registry in self.registries)

    def _account(self, breaker: CircuitBreaker, snapshot: Snapshot) -> str:
        label = self._label(breaker.name)
        before = self._seen.get(breaker, NOTHING)
        after = _at_least(Totals(counters(snapshot, retry.counts(breaker)), snapshot.durations), before)
        total = self._totals.setdefault(label, NOTHING)
        if after != before:
            # Nearly always a label is one breaker's.
            self._totals[label] = after if total is before else _sum(total, after, before)
            self._seen[breaker] = after
        return label

    def _begin(self) -> None:
        self._lock = RLock()
        self._origins: set[str] = set()
        self._totals: dict[str, Totals] = {}
        self._seen: WeakKeyDictionary[CircuitBreaker, Totals] = WeakKeyDictionary()
        self._degraded: dict[tuple[str, str], int] = {}
        self._answered: WeakKeyDictionary[Registry, Mapping[tuple[str, str], int]] = WeakKeyDictionary()

    def before_fork(self) -> None:
        """Nothing of a child's depends on what is half done here."""

    def after_fork_in_parent(self) -> None:
        """Go on."""

    def after_fork_in_child(self) -> None:
        """Begin anew, as the breakers do."""
        self._begin()


NOTHING: Final = Totals((0,) * len(SERIES))


def _at_least(now: Totals, before: Totals) -> Totals:
    # Of two looks at one time, the earlier may come here last.
    if sum(now.counts) < sum(before.counts):
        return before
    return now


def _sum(total: Totals, after: Totals, before: Totals) -> Totals:
    counts = _plus(total.counts, after.counts, before.counts)
    return Totals(counts, _sum_durations(total.durations, after.durations, before.durations))


def _sum_durations(
    total: Histogram | None, after: Histogram | None, before: Histogram | None
) -> Histogram | None:
    if after is None or (total is not None and total.bounds != after.bounds):
        return total  # origins share the declared defaults, so all that share a label have the same bounds
    if total is None:
        return after
    seen = before or Histogram(after.bounds, (0,) * len(after.counts), 0.0)
    counts = _plus(total.counts, after.counts, seen.counts)
    return Histogram(after.bounds, counts, total.seconds + after.seconds - seen.seconds)


def _plus(total: Iterable[int], after: Iterable[int], before: Iterable[int]) -> tuple[int, ...]:
    return tuple(map(add, total, (new - old for new, old in zip(after, before, strict=True))))


def _tell(reading: Reading, snapshot: Snapshot) -> None:
    severity = STATE_SEVERITY[snapshot.state], snapshot.elapsed
    if severity > (STATE_SEVERITY[reading.state], reading.elapsed):
        reading.state, reading.elapsed = snapshot.state, snapshot.elapsed
    if MODE_SEVERITY[snapshot.mode.mode] > MODE_SEVERITY[reading.mode.mode]:
        reading.mode = snapshot.mode


def gauges(reading: Reading) -> tuple[tuple[Metric, float, float], ...]:
    """Tell a label's gauges, each with its rank: of several workers' values the one of the highest rank counts."""
    severity = STATE_SEVERITY[reading.state] * RANK
    authority = MODE_SEVERITY[reading.mode.mode]
    return (
        (STATE, STATE_NUMBERS[reading.state], severity),
        (STATE_SECONDS, reading.elapsed, severity + reading.elapsed),
        (MODE, MODE_NUMBERS[reading.mode.mode], authority),
        (MODE_UNTIL, reading.mode.until or 0.0, authority),
    )


def fleet(ledger: Ledger) -> tuple[tuple[Metric, float, float], ...]:
    """Tell what `catalogue.STORE` names, as `gauges` does: the worst of several stores; nothing where none is shared.

    A process asks the store once somebody calls it: until then the store is not lost, nor late.
    """
    healths = [registry.store_health for registry in ledger.registries]
    healths = [health for health in healths if health.connection not in (Connection.NONE, Connection.CLOSED)]
    if not healths:
        return ()
    up = all(health.connection is not Connection.DOWN for health in healths)
    lag = max(health.lag if health.connection is not Connection.STARTING else 0.0 for health in healths)
    workers = max(health.workers for health in healths)
    # Who is cut off does not know: what it last saw would be told for as long as the store is away.
    disagreeing = max(health.disagreeing if health.connection is Connection.UP else 0 for health in healths)
    return (
        (STORE_UP, up, 2 - up),
        (HUB_LAG, lag, 1 + lag),
        (WORKERS, workers, 1 + workers),
        (DISAGREEING, disagreeing, 1 + disagreeing),
    )
