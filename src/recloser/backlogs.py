"""Queues of what was put off, as far as this process has any: for whoever shows how full they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple, Protocol
from weakref import WeakSet

from recloser.core.breaker import CircuitBreaker
from recloser.core.log import logger


class Depth(NamedTuple):
    """How much a queue holds, for metrics and pages.

    Attributes:
        queued: Jobs that wait.
        running: Jobs that are being tried.
        done: Jobs that are done and still remembered.
        failed: Jobs that were given up, and wait for a person.
        oldest: Age of the oldest job that waits or runs (seconds), 0 if there is none.
    """

    queued: int = 0
    running: int = 0
    done: int = 0
    failed: int = 0
    oldest: float = 0.0


class Backlog(Protocol):
    """A queue.

    Attributes:
        breakers: By name, that its jobs wait for.
    """

    breakers: Mapping[str, CircuitBreaker]

    @property
    def name(self) -> str:
        """How pages call it."""
        ...

    @property
    def waits_for(self) -> Iterable[str]:
        """Names of breakers."""
        ...

    def depth(self) -> Depth:
        """Count the jobs."""
        ...


class Seen(NamedTuple):
    """What was seen of a queue.

    Attributes:
        name: How pages call it.
        waits_for: Names of breakers.
        depth: How much it holds; `None` while it cannot be read.
    """

    name: str
    waits_for: tuple[str, ...]
    depth: Depth | None


_alive: Final[WeakSet[Backlog]] = WeakSet()


def tell(backlog: Backlog) -> None:
    """Make a queue known for as long as it lives."""
    _alive.add(backlog)


def look(breakers: Mapping[str, CircuitBreaker]) -> list[Seen]:
    """Read the queues whose jobs wait for some of these breakers."""
    seen: list[Seen] = []
    known = {id(breaker) for breaker in breakers.values()}
    for backlog in list(_alive):
        names = tuple(dict.fromkeys(backlog.waits_for))
        # A queue outlives the breakers of overridden settings.
        if any(id(backlog.breakers.get(name)) in known for name in names):
            seen.append(Seen(backlog.name, names, _depth(backlog)))
    return sorted(seen)


def _depth(backlog: Backlog) -> Depth | None:
    try:
        return backlog.depth()
    except Exception:
        logger().exception("the depth of the queue %r cannot be told", backlog.name)
        return None
