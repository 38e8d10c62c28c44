"""How many degraded answers were given, by breaker and by the strategy that gave them."""

from __future__ import annotations

from _thread import RLock  # `threading` only wraps it
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Final, TypeAlias

from recloser.core import fork, living
from recloser.core.log import logger

MAX_PAIRS: Final = 4096
Listener: TypeAlias = Callable[[str, str], object]
OTHERS: Final = "*"  # no breaker can be named so


class Degradations:
    """Counts degraded answers. Exact under threads; a forked child begins at zero.

    Breakers made per origin come and go: once 4096 pairs of names are counted, further ones are counted under the
    breaker `"*"`.

    Attributes:
        expected: The pairs that some plan has room for, at zero, whether or not such an answer was given.
    """

    def __init__(self) -> None:
        self._lock = RLock()
        self._counts: dict[tuple[str, str], int] = {}
        self._listeners: tuple[tuple[Listener], ...] = ()
        self.expected: dict[tuple[str, str], int] = {}
        fork.watch(self)
        living.memories.add(self)

    def expect(self, breaker: str, strategies: Iterable[str]) -> None:
        """Say which strategies may answer for a breaker, so that metrics tell of them before the first one does."""
        self.expected.update({(breaker, strategy): 0 for strategy in strategies})

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
        for (listener,) in self._listeners:
            try:
                listener(breaker, strategy)
            except Exception:
                logger().exception(
                    "breaker %r: the listener %r raised on a degraded answer", breaker, listener
                )

    def add_listener(self, listener: Listener) -> Callable[[], None]:
        """Call `listener(breaker, strategy)` for each answer, in its request's context; the function returned ends that.

        A listener that raises is logged and ignored.
        """
        entry = (listener,)  # tells apart two additions of one listener
        with self._lock:
            self._listeners = (*self._listeners, entry)

        def remove() -> None:
            with self._lock:
                self._listeners = tuple(known for known in self._listeners if known is not entry)

        return remove

    def counts(self) -> Mapping[tuple[str, str], int]:
        """Return how many answers each pair of breaker and strategy gave in this process, as of now."""
        with self._lock:
            return MappingProxyType(self._counts.copy())

    def forget(self) -> None:
        """Count from zero."""
        with self._lock:
            self._counts = {}

    def before_fork(self) -> None:
        """Do not wait: the child counts anew."""

    def after_fork_in_parent(self) -> None:
        """Go on."""

    def after_fork_in_child(self) -> None:
        """Begin at zero, with a free lock."""
        self._lock = RLock()
        self._counts = {}
