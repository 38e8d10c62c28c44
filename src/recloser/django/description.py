"""The fleet's snapshot in words: for the admin's pages and the command line."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from django.utils import formats, timezone

from recloser.core.state import State
from recloser.django.lazy import registry
from recloser.status.markup import agreement_text, duration, time_left
from recloser.status.query import Query
from recloser.status.sight import look
from recloser.status.snapshot import Document, detail, document
from recloser.stores.health import Connection

FLEET_SECONDS: Final = 0.5  # that a page waits for the store
_EVERY_BREAKER: Final = Query(limit=1_000_000)


def everything() -> Document:
    """Describe all breakers and workers of the fleet; without a store, or while it does not answer, of this process."""
    return document(look(registry, FLEET_SECONDS), _EVERY_BREAKER)


def one(name: str) -> Document:
    """Describe one breaker, as the fleet knows it.

    Raises:
        UnknownBreakerError: There is none of this name.
    """
    return detail(look(registry, FLEET_SECONDS), name)


def this_process() -> str:
    """Name this process among all of the site's."""
    return f"{os.getpid()} on {socket.gethostname()}"


def page_note(told: Document) -> str:
    """Say whose circuits a page shows, and whom an action on it reaches."""
    here = f"This is worker process {this_process()} alone"
    store = told["store"]
    if store["connection"] == Connection.NONE:
        return f"{here}: without a shared store each worker decides by itself, and an action here reaches this one only."
    if told["scope"] == "process":
        return f"{here}: {_lost(store)}. The fleet hears of an action here when the store is back."
    workers = f"{store['workers']} worker{'s' * (store['workers'] != 1)}"
    return f"This is the whole fleet ({workers} at the store {store['address']}), and an action here reaches all of it."


def command_note(told: Document) -> str:
    """Say whose circuits a command shows."""
    here = f"This is the command's own process ({this_process()})"
    store = told["store"]
    if store["connection"] == Connection.NONE:
        return (
            f"{here}: without a shared store it reaches no running worker, and what it changed ends with it."
        )
    if told["scope"] == "process":
        return f"{here}: {_lost(store)}."
    return f"This is the whole fleet at the store {store['address']}, with this command among its workers."


def _lost(store: Mapping[str, Any]) -> str:
    return f"store {store['address']}: unreachable ({store['error'] or 'no answer yet'})"


def reach(*, in_fleet: bool) -> str:
    """Say how far an action went."""
    return "in the whole fleet" if in_fleet else f"in worker process {os.getpid()} alone"


def of_breaker(entry: Mapping[str, Any]) -> dict[str, object]:
    """Describe one breaker as texts for a page, beside its entry in the snapshot."""
    return {
        "entry": entry,
        "state": State(entry["state"]).prose,
        "lasting": duration(entry["elapsed"]) if entry["since"] else "",
        "mode": override(entry["mode"]),
        "agreement": agreement_text(entry["agreement"]),
        "next": "" if entry["retry_in"] is None else time_left(entry["retry_in"]),
    }


def of_worker(worker: Mapping[str, Any], at: str) -> dict[str, str]:
    """Describe one worker as texts for a table.

    Args:
        worker: In the snapshot.
        at: When that was made.
    """
    age = datetime.fromisoformat(at) - datetime.fromisoformat(worker["started"])
    troubled: Mapping[str, Any] = worker["troubled"]
    return {
        "process": f"{worker['pid']} on {worker['host']}",
        "heard": f"{duration(worker['heard'])} ago",
        "age": duration(age.total_seconds()),
        "version": worker["version"],
        "circuits": ", ".join(f"{name}: {_held(belief)}" for name, belief in troubled.items()),
    }


def _held(belief: Mapping[str, Any]) -> str:
    mode = "" if belief["mode"] == "auto" else f" ({belief['mode'].replace('_', ' ')})"
    return f"{State(belief['state']).prose}{mode}"


def override(mode: Mapping[str, Any]) -> str:
    """Tell a mode: who set it, why, and until when in the site's time zone."""
    told: str = mode["mode"].replace("_", " ")
    if mode["by"]:
        told += f" by {mode['by']}: {mode['reason']}"
    if mode["until"] is None:
        return told
    until = timezone.localtime(datetime.fromisoformat(mode["until"]).astimezone(UTC))
    return f"{told} (until {formats.date_format(until, 'DATETIME_FORMAT')} {until.tzname()})"
