"""What tests ask of answers: the caches that live, and whether answers must name who gave them."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Final, Protocol


class Cache(Protocol):
    """A cache of responses, as tests treat it."""

    def clear(self) -> None:
        """Drop all that is kept."""
        ...


caches: Final[weakref.WeakSet[Cache]] = weakref.WeakSet()
hearers: Final[list[Callable[[Cache], object]]] = []  # are told of every new cache

# While not empty, a degraded answer names its strategy and its breaker in its header, whatever else it may tell, and
# its `Retry-After` has no jitter.
named_for: Final[set[object]] = set()


def born(cache: Cache) -> None:
    """Take a new cache in; it leaves by itself when nothing holds it any more."""
    caches.add(cache)
    for hear in hearers:
        hear(cache)
