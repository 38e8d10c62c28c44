"""All that is stored of one breaker."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from recloser.stores.record import UNKNOWN, Record, from_wire, seconds, text, to_wire, whole

Bucket: TypeAlias = tuple[float, int]  # a window's slice: its width (seconds) and its number


@dataclass(slots=True)
class Place:
    """A lease: whose it is, when it was granted or renewed, when it ends, and whether a call runs on it."""

    worker: str
    renewed: float
    deadline: float
    is_used: bool = False


@dataclass(slots=True)
class Entry:
    """All that is stored of one breaker.

    Attributes:
        record: What is published.
        buckets: Calls, failures and slow calls of the closed epoch. Two policies in a rolling deployment have
            slices of different widths, and do not erase each other's (SEMANTICS D7).
        places: The leases alive, by id.
        expired: Ids of leases that ended without a verdict, which may still come.
        expiries: How many used ones have.
        successes: Good verdicts of this half-open epoch.
        asker: Who was refused a lease last, and until when that is remembered.
        votes: Workers that have tripped, and until when that counts.
        tokens: Of the operators' latest actions.
    """

    record: Record = UNKNOWN
    buckets: dict[Bucket, list[int]] = field(default_factory=dict[Bucket, list[int]])
    places: dict[str, Place] = field(default_factory=dict[str, Place])
    expired: list[str] = field(default_factory=list[str])
    expiries: int = 0
    successes: int = 0
    asker: tuple[str, float] = ("", 0.0)
    votes: dict[str, float] = field(default_factory=dict[str, float])
    tokens: list[int] = field(default_factory=list[int])


def to_text(entry: Entry) -> str:
    """Write an entry as JSON."""
    wire: dict[str, Any] = {"record": to_wire(entry.record)}
    if entry.buckets:
        wire["buckets"] = [[*key, *counts] for key, counts in entry.buckets.items()]
    if entry.places:
        wire["places"] = {
            key: [place.worker, place.renewed, place.deadline, place.is_used]
            for key, place in entry.places.items()
        }
    if entry.asker[0]:
        wire["asker"] = entry.asker
    for name in ("expired", "expiries", "successes", "votes", "tokens"):
        value = getattr(entry, name)
        if value:
            wire[name] = value
    return json.dumps(wire, separators=(",", ":"))


def from_text(written: str) -> Entry:
    """Read an entry.

    Raises:
        unreadable.ERRORS: It is none.
    """
    wire: dict[str, Any] = json.loads(written)
    asker, end = wire.get("asker", ("", 0.0))
    buckets: dict[Bucket, list[int]] = {
        (width, number): [calls, failures, slow]
        for width, number, calls, failures, slow in wire.get("buckets", ())
    }
    seconds(sum(map(sum, (*buckets, *buckets.values()))))  # none of all this is anything else than a number
    return Entry(
        record=from_wire(wire["record"]),
        buckets=buckets,
        places={
            key: Place(text(worker), seconds(renewed), seconds(deadline), bool(is_used))
            for key, (worker, renewed, deadline, is_used) in wire.get("places", {}).items()
        },
        expired=[text(key) for key in wire.get("expired", ())],
        expiries=whole(wire.get("expiries", 0)),
        successes=whole(wire.get("successes", 0)),
        asker=(text(asker), seconds(end)),
        votes={worker: seconds(until) for worker, until in wire.get("votes", {}).items()},
        tokens=[int(token) for token in wire.get("tokens", ())],
    )
