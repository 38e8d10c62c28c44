"""How many degraded answers were given, by breaker and by the strategy that gave them."""

from __future__ import annotations

from _thread import RLock  # `threading` only wraps it
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from recloser.core import fork

MAX_PAIRS: Final = 4096
OTHERS: Final = "*"  # no breaker can be named so


class Degradations:
    """Counts degraded answers. Exact under threads; a forked child begins at zero.

    Breakers made per origin come and go: once 4096 pairs of names are counted, further ones are counted under the
    breaker `"*"`.
    """

    def __init__(self) -> None:
        self._lock = RLock()
        self._counts: dict[tuple[str, str], int] = {}
        fork.watch(self)

    def note(self, breaker: str, strategy: str) -> None:
        """Count one answer.

        Args:
            breaker: The name of the breaker that it was given for.
            strategy: The name of the strategy that gave it.
        """
        pair = breaker, strategy
        with self._lock:
            if pair not in self._counts and len(self._counts) >= MAX_PAIRS:
                pair = OTHERS, strategy
            self._counts[pair] = self._counts.get(pair, 0) + 1

    def counts(self) -> Mapping[tuple[str, str], int]:
        """Return how many answers each pair of breaker and strategy gave in this process, as of now."""
        with self._lock:
            return MappingProxyType(self._counts.copy())

    def before_fork(self) -> None:
        """Do not wait: the child counts anew."""

    def after_fork_in_parent(self) -> None:
        """Go on."""

    def after_fork_in_child(self) -> None:
        """Begin at zero, with a free lock."""
        self._lock = RLock()
        self._counts = {}
