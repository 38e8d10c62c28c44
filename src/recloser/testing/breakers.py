"""`Breakers`: every breaker of the process in the hands of one test, and given back as new when it ends."""

# pyright: reportPrivateUsage=false
# What is prepared for tests alone is not in public.

from __future__ import annotations

import gc
import math
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from types import TracebackType
from typing import Self

from recloser.core import living
from recloser.core.breaker import CircuitBreaker
from recloser.core.driver import Driver
from recloser.core.events import Event
from recloser.core.policy import nearest, shown
from recloser.core.snapshot import Snapshot, take
from recloser.core.state import State
from recloser.http import rigging
from recloser.testing.answers import Answers
from recloser.testing.clock import Clock
from recloser.testing.rigged import Error, Fault, is_local, is_rigged, renew, rig, rig_of, unrig
from recloser.testing.states import place


class Change:
    """What a test did to breakers: lasts until it is undone, at the end of a `with` block or of the test.

    Args:
        undo: In the order in which it was done.
    """

    def __init__(self, undo: list[Callable[[], object]]) -> None:
        self._undo = undo

    def undo(self) -> None:
        """Restore what was before. May be called again."""
        while self._undo:
            self._undo.pop()()

    def forget(self) -> None:
        """Leave nothing to restore: the test is over, and everything is as new."""
        self._undo.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.undo()


class Breakers:
    """All breakers of this process, also those that are yet to be made, for one test.

    A breaker is named, or given itself. A name stands for every breaker of that name: applications under test may
    have been made more than once.

    Attributes:
        clock: Their time, and that of the response caches; stands still until it is moved.
        events: What happened to them, in order.
    """

    def __init__(self) -> None:
        self.clock = Clock()
        self.events: list[Event] = []
        self._answers = Answers(self.clock)
        self._changes: list[Change] = []
        self._deaf: Callable[[], None] | None = None

    def open(self, breaker: str | CircuitBreaker) -> Change:
        """Open a circuit, as if it had just tripped; it recovers when its open period is over.

        Args:
            breaker: Its name, or itself.

        Raises:
            LookupError: There is no such breaker.
            RuntimeError: A fleet leads it, or the test is over.
        """
        return self._place(breaker, State.OPEN)

    def half_open(self, breaker: str | CircuitBreaker) -> Change:
        """Half-open a circuit: the next call is a probe; arguments and errors as of `open`."""
        return self._place(breaker, State.HALF_OPEN)

    def closed(self, breaker: str | CircuitBreaker) -> Change:
        """Close a circuit, with an empty window; arguments and errors as of `open`."""
        return self._place(breaker, State.CLOSED)

    def inject(
        self, breaker: str | CircuitBreaker, error: Error | None = None, *, latency: float = 0.0
    ) -> Change:
        """Let every call that a breaker admits fail, or take long, without a network and without waiting.

        The breaker judges and counts such a call like any other: enough of them trip it.

        Args:
            breaker: Its name, or itself.
            error: What calls raise instead of reaching the dependency: an exception, or what makes one, such as its
                class. Without it they run as ever.
            latency: How long a call takes (seconds), on `clock`; nobody waits.

        Raises:
            LookupError: There is no such breaker.
            RuntimeError: A fleet leads it, or the test is over.
            TypeError: The class of an error needs arguments.
            ValueError: There is neither an error nor a latency, or they are none.
        """
        if not (math.isfinite(latency) and latency >= 0) or not (
            latency if error is None else _may_be_raised(error)
        ):
            raise ValueError(
                "inject an error (an exception, or what makes one), a latency (seconds), or both; "
                f"got {error!r}, {latency!r}"
            )
        fault = Fault(error, latency)
        undo: list[Callable[[], object]] = []
        for driver in self._found(breaker):
            faults = rig_of(driver).faults
            faults.append(fault)
            undo.append(partial(_forget, faults, fault))
        return self._changed(undo)

    def state(self, breaker: str | CircuitBreaker) -> State:
        """Return a breaker's state; arguments and errors as of `snapshot`."""
        return self.snapshot(breaker).state

    def snapshot(self, breaker: str | CircuitBreaker) -> Snapshot:
        """Return a breaker's numbers since the test began.

        Args:
            breaker: Its name, or itself.

        Raises:
            LookupError: There is no such breaker, or several have the name.
            RuntimeError: A fleet leads it, or the test is over.
        """
        found = self._found(breaker)
        if len(found) > 1:
            raise LookupError(
                f"{len(found)} breakers are named {breaker!r}; give the one that is meant, itself"
            )
        return take(found[0])

    # -- the beginning and the end -------------------------------------------------------------------------

    def begin(self) -> None:
        """Take all breakers in hand, as new: closed, in automatic mode, without counts.

        Raises:
            RuntimeError: Another holds them already.
        """
        if rigging.named_for:
            raise RuntimeError(
                "the breakers are held already, by an outer `isolated()` or the fixture `breakers`"
            )
        for driver in living.everyone():
            if is_local(driver):
                renew(driver)
                self._take(driver)
        _forget_all()
        self._deaf = living.hear(self._take)
        self._answers.begin()

    def end(self) -> None:
        """Give all breakers back, as new again, and forget the results and responses that were kept."""
        assert self._deaf is not None  # noqa: S101 - it began
        self._deaf()
        self._deaf = None
        for change in self._changes:
            change.forget()
        for driver in living.everyone():
            if is_rigged(driver):
                unrig(driver)
        _forget_all()
        self._answers.end()

    def _take(self, driver: Driver) -> None:
        if is_local(driver):
            rig(driver, self.clock, self.events.append)

    def _place(self, breaker: str | CircuitBreaker, state: State) -> Change:
        return self._changed([place(driver, state) for driver in self._found(breaker)])

    def _changed(self, undo: list[Callable[[], object]]) -> Change:
        change = Change(undo)
        self._changes.append(change)
        return change

    def _found(self, breaker: str | CircuitBreaker) -> list[Driver]:
        if self._deaf is None:
            raise RuntimeError(
                "the breakers are not held: their test is over, or `isolated()` was not entered"
            )
        if isinstance(breaker, str):
            _make_djangos()
            name = breaker
            found = _named(name)
            if len(found) > 1:
                found = []
                gc.collect()  # those of applications that are gone
                found = _named(name)
        else:  # also what stands for one, as Django's lazy breakers do
            name, found = breaker.name, [breaker._driver]
        if not found:
            names = sorted({driver.name for driver in living.everyone()})
            others = f"; there are {shown(names)}" if names else "; none was made yet"
            hint = nearest(name, dict.fromkeys(names)) or others
            raise LookupError(f"no breaker of this process is named {name!r}{hint}")
        for driver in found:
            if not is_rigged(driver):
                raise RuntimeError(
                    f"breaker {name!r} is led by its fleet: leave STORE out of the declaration in tests, "
                    "or set RECLOSER_STORE=null in their environment"
                )
        return found


def _named(name: str) -> list[Driver]:
    return [driver for driver in living.everyone() if driver.name == name]


def _may_be_raised(error: object) -> bool:
    if isinstance(error, type):
        error = error()  # one that needs arguments says so here, not in the middle of the application
    return isinstance(error, BaseException) or callable(error)


def _make_djangos() -> None:
    # Django's breakers are made when they are first used. Who does not use them does not import them here.
    conf = sys.modules.get("recloser.django.conf")
    if conf is not None and conf.settings.configured:
        conf.installation()


def _forget_all() -> None:
    for memory in list(living.memories):
        memory.forget()


def _forget(faults: list[Fault], fault: Fault) -> None:
    # By identity: the same fault may have been injected twice.
    faults[:] = [other for other in faults if other is not fault]
    if isinstance(fault.error, BaseException):
        fault.error.__traceback__ = None  # with all that hangs on its frames


@contextmanager
def isolated() -> Generator[Breakers]:
    """Take all breakers in hand for a block; afterwards they are as new, and no response is kept.

    Raises:
        RuntimeError: They are held already.
    """
    breakers = Breakers()
    breakers.begin()
    try:
        yield breakers
    finally:
        breakers.end()
