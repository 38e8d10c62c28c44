"""The words of a breaker's condition: its state, an operator's mode, the identity of a state."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple

LATEST: Final = 253_370_764_800.0  # the year 9999 in seconds of the wall clock: no calendar shows later ones


class State(StrEnum):
    """What a breaker does with calls."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"

    @property
    def prose(self) -> str:
        """The state in a sentence: `half-open`, not `half_open`."""
        return self.value.replace("_", "-")


class Mode(StrEnum):
    """An operator's override."""

    AUTO = "auto"
    FORCED_OPEN = "forced_open"
    FORCED_CLOSED = "forced_closed"
    SHADOW = "shadow"


class Epoch(NamedTuple):
    """The identity of a state: a number that grows with each transition, and a random tag."""

    number: int
    tag: int


class Override(NamedTuple):
    """A mode with who set it, why, and until when (seconds of the wall clock; `None`: until changed)."""

    mode: Mode = Mode.AUTO
    by: str = ""
    why: str = ""
    until: float | None = None


def end_of_mode(name: str, until: datetime | float | None, now: float) -> float | None:
    """Check when a mode is to end.

    Args:
        name: The breaker's, for messages.
        until: An aware `datetime`, or seconds of the wall clock; `None`: never.
        now: Seconds of the wall clock.

    Returns:
        Seconds of the wall clock; `None`: never.

    Raises:
        ValueError: `until` is naive, past, or beyond the year 9998.
    """
    if isinstance(until, datetime):
        if until.tzinfo is None:
            raise ValueError(f"breaker {name!r}: until must have a time zone, got {until!r}")
        until = until.timestamp()
    if until is not None and not now < until < LATEST:
        raise ValueError(
            f"breaker {name!r}: until must lie in the future, before the year 9999, got {until!r}"
        )
    return until
