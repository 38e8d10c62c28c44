"""`snapshot`: all that is known of the fleet, as one document for pages, programs and terminals.

Its shape is fixed by `schema.json` beside this file, and numbered: a change that a reader could stumble over is a new
`version`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from importlib.resources import files
from itertools import chain
from typing import Any, Final

from recloser.backlogs import Seen
from recloser.core.policy import nearest
from recloser.core.state import Mode, State
from recloser.registry import Registry, UnknownBreakerError
from recloser.status.entry import entry_of, epoch_text, moment, policy_of, transition_of
from recloser.status.query import Query
from recloser.status.redaction import plain, redacted
from recloser.status.sampler import Rates
from recloser.status.sight import Sight, look
from recloser.stores.health import Connection
from recloser.stores.view import Belief, Heard

VERSION: Final = 1
TRANSITIONS_SHOWN: Final = 50
WORKERS_SHOWN: Final = 500
LATE: Final = 6.0  # seconds without a heartbeat after which a worker is cut off, or gone
EVERYTHING: Final = Query()

Document = dict[str, Any]


def snapshot(registry: Registry, query: Query = EVERYTHING, *, rates: Rates | None = None) -> Document:
    """Describe all breakers, worst first, their workers and their store.

    Never raises for what the store does: while it is lost, this is what the process itself knows.

    Args:
        registry: The breakers.
        query: Which of them.
        rates: What a sampler has measured; without it no rates per second are told.
    """
    return document(look(registry), query, rates)


def document(sight: Sight, query: Query = EVERYTHING, rates: Rates | None = None) -> Document:
    """Describe what was seen; arguments as of `snapshot`."""
    entries = sorted(_entries(sight, rates), key=worst_first)
    found = [entry for entry in entries if query.matches(entry)]
    page = found[query.offset : query.offset + query.limit]
    end = query.offset + len(page)
    return {
        **_head(sight),
        "counts": _counts(entries),
        "page": {
            "offset": query.offset,
            "limit": query.limit,
            "matching": len(found),
            "next": end if end < len(found) else None,
        },
        "breakers": page,
        "workers": [_worker(sight, heard) for heard in sight.workers[:WORKERS_SHOWN]],
        "transitions": _transitions(sight, None),
        "queues": [_queue(queue) for queue in sight.queues],
    }


def detail(sight: Sight, name: str, rates: Rates | None = None) -> Document:
    """Describe one breaker: also its policy, its last transitions, its outcomes, and what each worker believes.

    Raises:
        UnknownBreakerError: There is none of this name.
    """
    known: Mapping[str, object] = sight.fleet.breakers if sight.fleet is not None else {}
    held = [(heard, heard.worker.beliefs[name]) for heard in sight.workers if name in heard.worker.beliefs]
    if name not in sight.breakers and name not in known and not held:
        names = dict.fromkeys(
            chain(sight.breakers, known, *(heard.worker.beliefs for heard in sight.workers))
        )
        shown = plain(name, 80)
        raise UnknownBreakerError(shown, nearest(shown, names))
    return {
        **_head(sight),
        "breaker": {
            **_with_rates(entry_of(sight, name, held), rates),
            "policy": policy_of(sight, name),
            "transitions": _transitions(sight, name),
            "history": rates.history(name) if rates is not None else [],
            "beliefs": [{**_identity(heard), **_belief(belief)} for heard, belief in held[:WORKERS_SHOWN]],
        },
    }


def schema() -> Document:
    """Return the JSON Schema of both documents."""
    found: Document = json.loads(files("recloser.status").joinpath("schema.json").read_text("utf-8"))
    return found


def worst_first(entry: Mapping[str, Any]) -> tuple[int, float, str]:
    """Sort breakers: what needs an operator stands first."""
    return -entry["severity"], -entry["pressure"], entry["name"]


def _head(sight: Sight) -> Document:
    health = sight.health
    return {
        "version": VERSION,
        "at": moment(sight.at),
        "namespace": sight.registry.declaration.namespace,
        "scope": "process" if sight.fleet is None else "fleet",
        "worker": sight.me,
        "store": {
            "connection": health.connection.value,
            "address": health.address,
            "since": moment(health.since) if health.connection is not Connection.NONE else None,
            "lag": round(health.lag, 3),
            "workers": health.workers,
            "error": redacted(health.error or sight.error),
        },
    }


def _entries(sight: Sight, rates: Rates | None) -> list[Document]:
    held: dict[str, list[tuple[Heard, Belief]]] = {name: [] for name in sight.registry}
    for name in sight.fleet.breakers if sight.fleet is not None else ():
        held.setdefault(name, [])
    for heard in sight.workers:
        for name, belief in heard.worker.beliefs.items():
            held.setdefault(name, []).append((heard, belief))
    return [_with_rates(entry_of(sight, name, holders), rates) for name, holders in held.items()]


def _with_rates(entry: Document, rates: Rates | None) -> Document:
    entry["rates"] = rates.of(entry["name"]) if rates is not None else None
    return entry


def _counts(entries: list[Document]) -> Document:
    states = Counter(entry["state"] for entry in entries)
    modes = Counter(entry["mode"]["mode"] for entry in entries)
    return {
        "breakers": len(entries),
        **{state.value: states[state.value] for state in State},
        **{mode.value: modes[mode.value] for mode in Mode},
        "disagreeing": sum(bool(entry["agreement"]["differ"]) for entry in entries),
    }


def _identity(heard: Heard) -> Document:
    worker = heard.worker
    return {
        "id": worker.id,
        "host": plain(worker.host, 64),
        "pid": worker.pid,
        "version": plain(worker.version, 40),
        "heard": round(max(0.0, heard.ago), 3),
        "late": heard.ago > LATE,
    }


def _worker(sight: Sight, heard: Heard) -> Document:
    beliefs = heard.worker.beliefs
    return {
        **_identity(heard),
        "me": heard.worker.id == sight.me,
        "started": moment(heard.worker.started),
        "breakers": len(beliefs),
        "troubled": {
            name: {"state": belief.state.value, "mode": belief.mode.value, "epoch": epoch_text(belief.epoch)}
            for name, belief in beliefs.items()
            if belief.state is not State.CLOSED or belief.mode is not Mode.AUTO
        },
    }


def _queue(queue: Seen) -> Document:
    depth = queue.depth
    counts = {} if depth is None else {**depth._asdict(), "oldest": round(depth.oldest, 3)}
    return {"name": plain(queue.name, 80), "breakers": list(queue.waits_for), "depth": counts or None}


def _belief(belief: Belief) -> Document:
    return {
        **belief._asdict(),
        "epoch": epoch_text(belief.epoch),
        "state": belief.state.value,
        "mode": belief.mode.value,
        "last_failure": redacted(belief.last_failure),
    }


def _transitions(sight: Sight, name: str | None) -> list[Document]:
    if sight.fleet is None:
        return []
    workers = {heard.worker.id: heard for heard in sight.workers}
    found = [each for each in sight.fleet.transitions if name is None or each.breaker == name]
    return [transition_of(each, workers) for each in found[:TRANSITIONS_SHOWN]]
