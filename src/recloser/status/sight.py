"""One look at everything: this process's breakers, and the fleet as far as its store answers."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from recloser import backlogs
from recloser.core.breaker import CircuitBreaker
from recloser.core.snapshot import Snapshot
from recloser.registry import Registry
from recloser.stores.health import Connection, Health
from recloser.stores.protocol import StoreError
from recloser.stores.view import Belief, FleetView, Heard, Worker
from recloser.stores.worker import version_text

STORE_SECONDS: Final = 1.0  # that a look waits for the store
_STARTED: Final = time.time()


class Sight(NamedTuple):
    """What was seen.

    Attributes:
        registry: Whose breakers.
        at: When (seconds of the wall clock).
        breakers: Those of this process, by name.
        own: Their numbers, where there is no fleet to ask.
        fleet: What the store knows; `None` without one, or while it does not answer.
        health: How this process stands with the store.
        error: Why the fleet is not seen although there is a store.
        workers: Those of the fleet; else this process alone.
        me: This process's id among them.
        queues: Of what was put off, in this process.
    """

    registry: Registry
    at: float
    breakers: Mapping[str, CircuitBreaker]
    own: Mapping[str, Snapshot]
    fleet: FleetView | None
    health: Health
    error: str
    workers: Sequence[Heard]
    me: str
    queues: Sequence[backlogs.Seen] = ()


def look(registry: Registry, timeout: float = STORE_SECONDS) -> Sight:
    """Look at everything. Waits for the store, but no longer than it may.

    Args:
        registry: The breakers.
        timeout: Of the store (seconds).
    """
    fleet, error = None, ""
    if registry.store_health.connection is not Connection.NONE:
        try:
            fleet = registry.fleet(timeout)
        except StoreError as lost:
            error = str(lost)
    health = registry.store_health
    me = health.worker or f"{os.getpid()}"
    breakers = dict(registry.items())
    own = {name: breaker.snapshot() for name, breaker in breakers.items()} if fleet is None else {}
    workers = fleet.workers if fleet is not None else [Heard(_myself(registry, me, own), 0.0)]
    queues = backlogs.look(registry)
    return Sight(registry, time.time(), breakers, own, fleet, health, error, workers, me, queues)


def _myself(registry: Registry, me: str, own: Mapping[str, Snapshot]) -> Worker:
    degraded: dict[str, int] = {}
    for (name, _), number in registry.degraded.counts().items():
        degraded[name] = degraded.get(name, 0) + number
    beliefs = {name: _belief(seen, degraded.get(name, 0)) for name, seen in own.items()}
    return Worker(me, socket.gethostname()[:64], os.getpid(), version_text(), _STARTED, beliefs)


def _belief(seen: Snapshot, degraded: int) -> Belief:
    return Belief(
        epoch=seen.epoch,
        state=seen.state,
        mode=seen.mode.mode,
        calls=seen.calls,
        failures=seen.failures,
        slow=seen.slow,
        ignored=seen.ignored,
        rejected=sum(seen.rejected.values()),
        probes=seen.probes,
        degraded=degraded,
        window_calls=seen.window.calls,
        window_failures=seen.window.failures,
        window_slow=seen.window.slow,
        consecutive=seen.consecutive_failures,
        last_failure=seen.last_failure,
    )
