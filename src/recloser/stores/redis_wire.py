"""What goes to the Lua scripts of a Redis store and what comes back, as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote, unquote

from recloser.core.state import Epoch
from recloser.stores.operations import (
    Answer,
    Flush,
    Force,
    Grant,
    Lease,
    Operation,
    Settle,
    Sync,
    Terms,
    Trip,
)
from recloser.stores.record import (
    SCHEMA,
    UNKNOWN,
    Record,
    cause_to_wire,
    from_wire,
    tag_text,
    to_wire,
)
from recloser.stores.view import (
    FleetView,
    Held,
    Reports,
    Shared,
)

_KEPT_AS_THEY_ARE: Final = ":._-"


class Keys:
    """The keys of a namespace: all of one slot, and none of another schema's or namespace's.

    Args:
        namespace: Of the application.
    """

    def __init__(self, namespace: str) -> None:
        prefix = f"recloser:{SCHEMA}:{{{escaped(namespace)}}}:"
        self.revision = f"{prefix}revision"
        self.names = f"{prefix}breakers"
        self.transitions = f"{prefix}transitions"
        self.workers = f"{prefix}workers"
        self.beats = f"{prefix}beats"
        self.channel = f"{prefix}news"
        self.of_breakers = f"{prefix}breaker:"

    def breaker(self, name: str) -> str:
        """Return the key of one breaker."""
        return self.of_breakers + escaped(name)


def escaped(name: str) -> str:
    """Write a name so that no brace and no byte of it means anything to a server."""
    return quote(name.encode(errors="replace"), safe=_KEPT_AS_THEY_ARE)


def packed(value: object) -> bytes:
    """Write JSON. What is no Unicode (half a surrogate pair) becomes a question mark."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode(errors="replace")


def batch(operations: Sequence[Operation], known: Mapping[str, Record]) -> bytes:
    """Write operations.

    Args:
        operations: Of any breakers.
        known: Records by breaker, which need not be told again.
    """
    terms: dict[Terms, int] = {}
    wires = [_operation(operation, known.get(operation.breaker, UNKNOWN), terms) for operation in operations]
    return packed({"terms": [each._asdict() for each in terms], "operations": wires})


def answer(wire: list[Any], known: Record) -> Answer:
    """Read what an operation came to.

    Args:
        wire: As the script told it.
        known: The record that it was told we know.
    """
    record, won, is_conflict, wait, is_wanted, grants = wire
    return Answer(
        known if record is None else from_wire(record),
        won,
        is_conflict,
        tuple(Grant(key, float(remaining)) for key, remaining in grants),
        is_wanted,
        float(wait),
    )


def records(wires: list[Any]) -> dict[str, Record]:
    """Read records by breaker."""
    return {unquote(name): from_wire(record) for name, record in wires}


def fleet_view(told: list[bytes], reports: Reports) -> tuple[FleetView, list[str]]:
    """Read the fleet, and the escaped names of breakers that are yet to be asked for."""
    now, breakers, more, transitions = json.loads(told[0].decode(errors="replace"))
    view = FleetView(
        float(now),
        shared_breakers(breakers),
        reports.heard(
            (key.decode(errors="replace"), report.decode(errors="replace"), float(ago))
            for key, report, ago in zip(told[1::3], told[2::3], told[3::3], strict=True)
        ),
        reports.transitions(text.partition(" ")[::2] for text in transitions),
    )
    return view, more


def shared_breakers(wires: list[Any]) -> dict[str, Shared]:
    """Read what is stored of breakers, by name."""
    return {unquote(name): _shared(record, rest) for name, record, rest in wires}


def _shared(record: dict[str, Any], rest: list[Any]) -> Shared:
    calls, failures, slow, successes, expiries, votes, leases = rest
    return Shared(
        from_wire(record),
        calls,
        failures,
        slow,
        successes,
        expiries,
        votes,
        tuple(Held(worker, float(age), float(left), is_used) for worker, age, left, is_used in leases),
    )


def _operation(operation: Operation, known: Record, terms: dict[Terms, int]) -> dict[str, Any]:
    wire: dict[str, Any] = {
        "breaker": operation.breaker,
        "name": escaped(operation.breaker),
        "worker": operation.worker,
        "tag": tag_text(operation.chance.tag),
        "jitter": operation.chance.jitter,
        "known": [_epoch(known.epoch), str(known.revision)],
    }
    if isinstance(operation, Flush | Lease | Settle):
        wire["terms"] = terms.setdefault(operation.terms, len(terms) + 1)
        wire["epoch"] = _epoch(operation.epoch)
    match operation:
        case Flush():
            wire |= {
                "kind": "flush",
                "calls": operation.calls,
                "failures": operation.failures,
                "slow": operation.slow,
                "retry_after": operation.retry_after,
                "last_failure": operation.last_failure,
                "trip": None if operation.trip is None else _trip(operation.trip),
            }
        case Lease():
            wire |= {
                "kind": "lease",
                "wanted": operation.wanted,
                "kept": operation.kept,
                "used": operation.used,
                "back": operation.back,
            }
        case Settle():
            wire |= {
                "kind": "settle",
                "lease": operation.lease,
                "counts": operation.counts,
                "failed": operation.failed,
                "slow": operation.slow,
                "retry_after": operation.retry_after,
                "last_failure": operation.last_failure,
            }
        case Force():
            wire |= {
                "kind": "force",
                "override": [operation.override.mode.value, *operation.override[1:]],
                "resets": operation.resets,
                "expected": None if operation.expected is None else _epoch(operation.expected),
            }
        case Sync():
            epoch = operation.epoch
            wire |= {
                "kind": "sync",
                "epoch": None if epoch is None else _epoch(epoch),
                "remaining": operation.remaining,
                "record": to_wire(operation.record._replace(epoch=epoch or operation.record.epoch)),
            }
    return wire


def _epoch(epoch: Epoch) -> str:
    return f"{epoch.number}:{tag_text(epoch.tag)}"


def _trip(trip: Trip) -> dict[str, Any]:
    return {
        "cause": cause_to_wire(trip.cause),
        "period": trip.period,
        "reopenings": trip.reopenings,
        "last_failure": trip.last_failure,
        "vote_ttl": trip.vote_ttl,
    }
