"""How a process stands with its store."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Connection(StrEnum):
    """Whether a process reaches its store."""

    NONE = "none"
    STARTING = "starting"
    UP = "up"
    DOWN = "down"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How a process stands with its store.

    Attributes:
        connection: None is declared; not reached yet; reached; lost; or the registry was closed.
        address: The store's URL without credentials.
        since: When that began (seconds of the wall clock).
        error: Why it is down.
        lag: Seconds since the store last answered, or since the beginning.
        workers: How many are alive, as of this worker's last heartbeat.
        disagreeing: How many of them believed something else than the store, when this one last looked.
        worker: This process's id among them.
    """

    connection: Connection
    address: str = ""
    since: float = 0.0
    error: str = ""
    lag: float = 0.0
    workers: int = 0
    disagreeing: int = 0
    worker: str = ""

    def __str__(self) -> str:
        if self.connection is Connection.DOWN:
            return f"store {self.address}: unreachable for {self.lag:.0f} s ({self.error})"
        return f"store {self.address or 'none'}: {self.connection}"
