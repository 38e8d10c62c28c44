"""The record of one breaker that a fleet agrees on, and how it is written down (SEMANTICS D2)."""

from __future__ import annotations

from math import isfinite
from typing import Any, Final, NamedTuple

from recloser.core.events import Cause, Rule
from recloser.core.state import Epoch, Mode, Override, State

# Of the keys and of what lies under them; not the package's version (SEMANTICS D7).
SCHEMA: Final = 1
# Seconds by which a moment lies in the future where the store's clock has been set back: its distance means nothing.
SET_BACK: Final = 1.0
_LARGEST: Final = 2**53  # number that all stores can count to


class Record(NamedTuple):
    """What a fleet agrees on about one breaker. Times are the store's (seconds).

    Attributes:
        epoch: The state's identity.
        state: Closed, open or half-open.
        since: When that state began.
        open_until: When an open period ends; 0 in other states.
        reopenings: How often the circuit has opened again without a lasting close.
        cause: Why the state began; `None` for a breaker that was never heard of.
        override: The operator's mode; its `until` is in seconds of the wall clock.
        last_failure: Type and bounded text of the failure that decided.
        revision: The store's number of the last change to this record; grows over the whole namespace.
    """

    epoch: Epoch = Epoch(0, 0)
    state: State = State.CLOSED
    since: float = 0.0
    open_until: float = 0.0
    reopenings: int = 0
    cause: Cause | None = None
    override: Override = Override()
    last_failure: str = ""
    revision: int = 0

    @property
    def is_timed(self) -> bool:
        """Whether it is open until a moment, rather than for as long as an operator says."""
        return self.state is State.OPEN and self.override.mode is not Mode.FORCED_OPEN

    def is_ahead_of(self, now: float) -> bool:
        """Whether it began in the future of `now` (the store's clock), so that nobody knows when it ends."""
        return self.since > now + SET_BACK

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing is lost with this record (SEMANTICS D9)."""
        return self.state is State.CLOSED and self.override.mode is Mode.AUTO and not self.reopenings


UNKNOWN: Final = Record()  # what every breaker is that no store has heard of


def tag_text(tag: int) -> str:
    """Write a tag: JSON in other languages has no integers so large."""
    return f"{tag:x}"


def to_wire(record: Record) -> dict[str, Any]:
    """Write a record as JSON can carry it."""
    return {
        "epoch": [record.epoch.number, tag_text(record.epoch.tag)],
        "state": record.state.value,
        "since": record.since,
        "open_until": record.open_until,
        "reopenings": record.reopenings,
        "cause": None if record.cause is None else cause_to_wire(record.cause),
        "override": [record.override.mode.value, *record.override[1:]],
        "last_failure": record.last_failure,
        "revision": record.revision,
    }


def from_wire(wire: dict[str, Any]) -> Record:
    """Read a record.

    Raises:
        unreadable.ERRORS: It is none.
    """
    number, tag = wire["epoch"]
    mode, by, why, until = wire["override"]
    cause = wire["cause"]
    return Record(
        Epoch(whole(number), int(tag, 16)),
        State(wire["state"]),
        seconds(wire["since"]),
        seconds(wire["open_until"]),
        whole(wire["reopenings"]),
        None if cause is None else cause_from_wire(cause),
        Override(Mode(mode), text(by), text(why), None if until is None else seconds(until)),
        text(wire["last_failure"]),
        whole(wire["revision"]),
    )


def whole(value: Any) -> int:
    """Read a count."""
    number = int(value)
    if not 0 <= number < _LARGEST:
        raise ValueError(f"{number} is no count")
    return number


def seconds(value: Any) -> float:
    """Read a moment or a length of time."""
    number = float(value)
    if not isfinite(number):
        raise ValueError(f"{number} is no number of seconds")
    return number


def text(value: Any) -> str:
    """Read a text."""
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def cause_to_wire(cause: Cause) -> list[Any]:
    """Write a cause as JSON can carry it."""
    return [cause.rule.value, *cause[1:]]


def cause_from_wire(wire: list[Any]) -> Cause:
    """Read a cause.

    Raises:
        unreadable.ERRORS: It is none.
    """
    rule, number, total, threshold, by, why = wire
    return Cause(Rule(rule), int(number), int(total), float(threshold), text(by), text(why))
