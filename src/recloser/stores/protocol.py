"""What every store does: operations on records, atomically and by its own clock, news, heartbeats, one view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from recloser.core.errors import RecloserError
from recloser.stores.operations import Answers, Operation
from recloser.stores.record import Record
from recloser.stores.view import FleetView, Worker


class StoreError(RecloserError):
    """The store did not do what was asked. Its text names no credentials."""


class News(NamedTuple):
    """Records that have changed.

    Attributes:
        now: The store's clock when it told (seconds).
        records: By breaker.
        is_whole: These are all that the store has: first of all, or since it has lost what it had.
    """

    now: float
    records: Mapping[str, Record]
    is_whole: bool = False


class Store(Protocol):
    """Where a fleet's breakers meet. For the hub's thread alone; every method may raise `StoreError`, and soon.

    Attributes:
        address: Where it is, without credentials.
    """

    address: str

    @property
    def poll_interval(self) -> float:
        """How often `news` is worth asking for while anything happens (seconds)."""
        ...

    def connect(self) -> None:
        """Make ready, if it is not; called before anything else, and again after every error."""
        ...

    def exchange(self, operations: Sequence[Operation]) -> Answers:
        """Carry out operations, in one round trip and each as a whole."""
        ...

    def news(self) -> News | None:
        """Return the records that others have changed since the last call, if there are any. Does not wait.

        After `connect`, and where the store has lost data, all records of the namespace are news.
        """
        ...

    def fileno(self) -> int | None:
        """Return what becomes readable when there is news; `None`: nothing does, it must be polled."""
        ...

    def beat(self, worker: Worker) -> int:
        """Say that a worker is alive and what it believes. Returns how many are."""
        ...

    def leave(self, worker_id: str) -> None:
        """Say that a worker ends."""
        ...

    def view(self, transitions: int = 100) -> FleetView:
        """Read the whole fleet, with at most so many recent transitions."""
        ...

    def close(self) -> None:
        """Let go of connections; `connect` takes them up again."""
        ...

    def abandon(self) -> None:
        """Forget connections that another process owns: in a fork's child."""
        ...
