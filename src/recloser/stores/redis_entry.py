"""Whether what a server holds of a breaker is what our scripts write (lua/entry.lua)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from recloser.stores.record import UNKNOWN, Record, from_wire, seconds, tag_text, text, to_wire, whole

_UNKNOWN: Final = json.dumps(to_wire(UNKNOWN))


def check(held: Sequence[bytes]) -> None:
    """Read all of it.

    Args:
        held: Fields and values.

    Raises:
        unreadable.ERRORS: It cannot be read.
    """
    fields = {key.decode(): value.decode() for key, value in zip(held[::2], held[1::2], strict=True)}
    record = from_wire(json.loads(fields.pop("record", _UNKNOWN)))
    for name, value in _plain(record).items():
        if fields.pop(name, value) != value:
            raise ValueError(f"its {name} is not that of its record")
    _read_rest(fields.pop("rest", None))
    for key, counts in fields.items():
        _, width, number = key.split(":")
        calls, failures, slow = counts.split()
        _ = seconds(width), int(number), whole(calls), whole(failures), whole(slow)


def _plain(record: Record) -> dict[str, str]:
    return {
        "epoch": f"{record.epoch.number}:{tag_text(record.epoch.tag)}",
        "state": record.state.value,
        "mode": record.override.mode.value,
        "revision": str(record.revision),
    }


def _read_rest(written: str | None) -> None:
    if written is None:
        return
    places, expired, expiries, successes, (asker, end), votes, tokens = json.loads(written)
    for key, worker, renewed, deadline, is_used in places:
        _ = text(key), text(worker), seconds(renewed), seconds(deadline), bool(is_used)
    for worker, until in votes:
        _ = text(worker), seconds(until)
    _ = whole(expiries), whole(successes), text(asker), seconds(end)
    _ = [text(each) for each in (*expired, *tokens)]
