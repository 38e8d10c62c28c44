"""The delivery of events to listeners: in order, by one thread at a time, outside every lock (SEMANTICS C12)."""

from __future__ import annotations

from _thread import RLock
from collections.abc import Callable

from recloser.core.events import Event, Listener
from recloser.core.log import logger


class Delivery:
    """One breaker's listeners.

    Args:
        breaker: The breaker's name, for the log.
    """

    __slots__ = ("_breaker", "_changing", "_draining", "_inside", "listeners")

    def __init__(self, breaker: str) -> None:
        self._breaker = breaker
        self.listeners: tuple[tuple[Listener], ...] = ()
        self.renew()

    def add(self, listener: Listener) -> Callable[[], None]:
        """Add a listener; the function returned removes it."""
        entry = (listener,)  # tells apart two additions of one listener
        with self._changing:
            self.listeners = (*self.listeners, entry)

        def remove() -> None:
            with self._changing:
                self.listeners = tuple(known for known in self.listeners if known is not entry)

        return remove

    def drain(self, events: list[Event]) -> None:
        """Deliver and remove all `events`, unless somebody is at it: he will see the new ones too."""
        while events and not self._inside():
            draining = self._draining  # a listener may fork, and leave us another
            try:
                if not draining.acquire(blocking=False):
                    break
                self._tell_all(
                    events
                )  # a call, since Python takes signals in a loop's jump outside of the `try`
            finally:
                # A signal handler may raise between any two of these calls: only an unconditional release is safe.
                try:  # noqa: SIM105
                    draining.release()
                except RuntimeError:
                    pass  # it was never ours

    def tell(self, event: Event) -> None:
        """Deliver one event here and now."""
        for (listener,) in self.listeners:
            try:
                listener(event)
            except Exception:
                logger().exception("breaker %r: the listener %r raised on %r", self._breaker, listener, event)

    def _tell_all(self, events: list[Event]) -> None:
        while events:
            self.tell(events.pop(0))

    def renew(self) -> None:
        """Forget who is at it: in a fork's child nobody is."""
        self._draining = RLock()
        self._inside: Callable[[], bool] = self._draining._is_owned  # type: ignore[attr-defined]  # noqa: SLF001
        self._changing = RLock()
