"""What happens in a drive: its phases, how long each lasts, and who falls ill."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple


class Phase(StrEnum):
    """A part of the drive."""

    HEALTHY = "healthy"
    OUTAGE = "outage"
    RECOVERY = "recovery"


#: What becomes of each downstream service in the outage: a condition that `downstream.py` knows.
OUTAGE: Final[Mapping[str, str]] = MappingProxyType(
    {"inventory": "hang", "recommendations": "reset", "payments": "errors"}
)
SERVICES: Final = tuple(OUTAGE)


class Script(NamedTuple):
    """The seconds of each phase of one drive."""

    healthy: float
    outage: float
    recovery: float

    @classmethod
    def lasting(cls, seconds: float) -> Script:
        """Share out the seconds of one drive."""
        return cls(healthy=seconds * 0.2, outage=seconds * 0.5, recovery=seconds * 0.3)

    @property
    def phases(self) -> tuple[tuple[Phase, float], ...]:
        """The phases in order, each with its seconds."""
        return tuple(zip(Phase, self, strict=True))

    @property
    def recovery_timeout(self) -> float:
        """Seconds a circuit stays open at first, so that several probes fall into the outage."""
        return self.outage / 7

    @property
    def lease(self) -> float:
        """Seconds until the place of a probe that nobody settles is given to another, in a fleet."""
        return max(0.5, self.outage / 10)

    @property
    def recovery_timeout_max(self) -> float:
        """Seconds a circuit stays open at most, so that every circuit closes before the drive ends."""
        return self.recovery / 2
