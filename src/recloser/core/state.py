"""The words of a breaker's condition: its state, an operator's mode, the identity of a state."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


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
