"""The locked section of one breaker: who may touch its machine, and what happens to those who may not now.

No lock is ever held while foreign code runs, and settling an outcome never waits for ours (SEMANTICS C11): it
queues the outcome and takes the lock if that is free; whoever holds it looks at the queue again after release. Only
where outcomes come faster than they can be taken does each who brings one more wait for a moment.
"""

from __future__ import annotations

from _thread import RLock  # `threading` only wraps it, and is not needed for more
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final, TypeVar

from recloser.core.condition import Condition
from recloser.core.delivery import Delivery
from recloser.core.machine import Machine

T = TypeVar("T")

CROWD: Final = 1_000  # so many queued operations are more than one drainer keeps up with
# Seconds. Without an end, a finaliser in the section and a thread that waits for that could wait for each other.
GIVE_WAY: Final = 0.005


class Section(ABC):
    """Lets one thread at a time work on a machine, and delivers the events that come of it.

    Args:
        machine: What is guarded.
        delivery: Of its events.
        clock: Monotonic time (seconds).
        wall_clock: Time of day (seconds since the epoch).

    Attributes:
        inside: Tells whether this thread is in the section: a signal handler or finaliser may be.
    """

    __slots__ = ("__weakref__", "_inbox", "_lock", "clock", "delivery", "inside", "machine", "wall_clock")

    def __init__(
        self,
        machine: Machine,
        delivery: Delivery,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
    ) -> None:
        self.machine = machine
        self.delivery = delivery
        self.clock = clock
        self.wall_clock = wall_clock
        self._inbox: list[Callable[[], object]] = []  # an empty deque takes ten times the memory
        self._unlock()

    def condition(self) -> Condition:
        """Return the present condition, after noticing the end of an operator's mode (C9)."""
        until = self.machine.condition.override.until
        if until is not None and not self.inside():
            wall = self.wall_clock()
            if wall >= until:
                now = self.clock()
                self.run(lambda: self.machine.expire_override(now, wall))
        return self.machine.condition

    def run(self, operation: Callable[[], T]) -> T:
        """Run one of the machine's operations under the lock, after all that is queued."""
        try:
            return self.run_quietly(operation)
        finally:
            self.deliver()

    def post(self, operation: Callable[[float], object]) -> None:
        """Run an operator's action, given the time: at once, or as soon as the lock's holder lets go."""
        now, wall = self.clock(), self.wall_clock()

        def act() -> None:
            self.machine.expire_override(now, wall)
            operation(now)

        if self.inside():
            self._inbox.append(act)
        else:
            self.run(act)

    def queue(self, operation: Callable[[], object]) -> None:
        """Run one of the machine's operations without waiting: now, or by whoever is in the section."""
        self._inbox.append(operation)
        self._drain()

    def run_quietly(self, operation: Callable[[], T]) -> T:
        """Run one of the machine's operations, and leave the events that come of it to `deliver`."""
        try:
            with self._lock:
                self._empty_inbox()
                try:
                    return operation()
                finally:
                    self._publish()
        finally:
            self._drain_inbox()

    def look(self, question: Callable[[], T]) -> T:
        """Ask the machine what changes nothing about it, under the lock."""
        try:
            with self._lock:
                return question()
        finally:
            self._drain_inbox()

    def deliver(self) -> None:
        """Tell the listeners what has happened, if nobody does already."""
        if self.machine.events and not self.inside():
            self.delivery.drain(self.machine.events)

    def _drain(self) -> None:
        self._drain_inbox()
        self.deliver()

    def _drain_inbox(self) -> None:
        while self._inbox and not self.inside():
            lock = self._lock  # a finaliser in there may fork, and leave us another
            try:
                if not lock.acquire(False) and not (
                    len(self._inbox) > CROWD and lock.acquire(timeout=GIVE_WAY)
                ):
                    break  # its holder will look again
                self._empty_inbox()
                self._publish()
            finally:
                # A signal handler may raise between any two of these calls: only an unconditional release is safe.
                try:  # noqa: SIM105
                    lock.release()
                except RuntimeError:
                    pass  # it was never ours

    def _empty_inbox(self) -> None:
        for _ in range(len(self._inbox)):  # not what comes meanwhile: that may never end
            if not self._inbox:
                break  # a finaliser in there has forked, and this is the child
            self._inbox.pop(0)()

    def wall(self) -> float:
        """Return the time of day where a mode has an end; it means nothing else to a machine (C14)."""
        return self.wall_clock() if self.machine.condition.override.until is not None else 0.0

    def before_fork(self) -> None:
        """Wait until no other thread is inside, so that the child gets no torn machine (C13)."""
        self._lock.acquire()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        self._lock.release()
        self._drain()

    def after_fork_in_child(self) -> None:
        """Begin anew in the same state: a new lock, no inherited permit, lease or count."""
        self._unlock()
        self.delivery.renew()
        self._inbox.clear()
        self.machine.renew(self.clock())
        self._publish()

    @abstractmethod
    def _publish(self) -> None:
        """Let those outside see what the machine has decided."""

    def _unlock(self) -> None:
        self._lock = RLock()
        # Ownership changes with the lock itself, in C: no signal handler sees it half done.
        self.inside: Callable[[], bool] = self._lock._is_owned  # type: ignore[attr-defined]  # noqa: SLF001
