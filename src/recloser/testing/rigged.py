"""A breaker in the hands of a test: it reads the test's clock, and may be told that its dependency fails.

Rigging replaces a driver's class for a while. All its calls then take the way that is taken where something must be
decided, and the way of closed circuits need not know that there are tests.
"""

# pyright: reportPrivateUsage=false
# What is prepared for tests alone is not in public.

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from recloser.core.breaker import _random as default_random
from recloser.core.condition import Totals
from recloser.core.driver import Driver
from recloser.core.events import Cause, Event, Rule
from recloser.core.machine import Admission
from recloser.core.outcome import Outcome
from recloser.core.scope import Scope
from recloser.core.state import Override, State
from recloser.testing.clock import Clock, Hand

# What a call raises: an exception, or what makes a new one for each call, such as its class.
Error: TypeAlias = BaseException | Callable[[], BaseException]


@dataclass(slots=True)
class Fault:
    """What befalls every call that is admitted.

    Attributes:
        error: What it raises instead of reaching its dependency; `None`: it runs.
        latency: How long it takes, on the clock of the test (seconds).
    """

    error: Error | None
    latency: float


@dataclass(slots=True)
class Rig:
    """What a breaker is rigged with.

    Attributes:
        hand: What it reads as monotonic time.
        clock: What moves that.
        random: Its own source of chance.
        deaf: Ends the recording of its events.
        faults: The last one holds.
    """

    hand: Hand
    clock: Clock
    random: Callable[[], float]
    deaf: Callable[[], None]
    faults: list[Fault] = field(default_factory=list[Fault])

    def strike(self, driver: Driver, admission: Admission) -> None:
        """Let an admitted call meet the present fault, if there is one.

        Raises:
            BaseException: The fault's error, counted as if the dependency had caused it.
            TypeError: What was to make one made something else; the call is no outcome then.
        """
        if not self.faults:
            return
        fault = self.faults[-1]
        if fault.error is None:
            self.hand.pending += fault.latency
            return
        try:
            error = _made(fault.error)
        except BaseException:
            driver.conclude(admission, Outcome.IGNORED, driver.clock())
            raise
        started = driver.clock()
        self.clock.advance(fault.latency)
        driver.failed(admission, error, started)
        raise error.with_traceback(None)


def _made(error: Error) -> BaseException:
    made = error if isinstance(error, BaseException) else error()
    if isinstance(made, BaseException):  # pyright: ignore[reportUnnecessaryIsInstance] - tests need not be typed
        return made
    raise TypeError(f"inject an exception or what makes one; {error!r} made {made!r}")


def _even() -> float:
    return 0.5  # no jitter: the middle of what may be drawn


BY: Final = "recloser.testing"
NEW: Final = Cause(Rule.RESET, by=BY)

_rigs: Final[weakref.WeakKeyDictionary[Driver, Rig]] = weakref.WeakKeyDictionary()


class RiggedDriver(Driver):
    """A driver while it is rigged."""

    __slots__ = ()

    def admit(self, now: float, scope: Scope | None) -> Admission:
        """Ask for one call, and let it meet the fault that was injected; as of `Driver`."""
        # A thread that outlives its test may find itself no longer rigged, before this line and after it.
        admission = Driver.admit(self, now, scope)
        found = _rigs.get(self)
        if found is not None:
            found.strike(self, admission)
        return admission

    def _publish(self) -> None:
        super()._publish()
        self.machine.ask_for_each_call()


def rig(driver: Driver, clock: Clock, record: Callable[[Event], object]) -> None:
    """Rig a breaker, in any state.

    Args:
        driver: Of the breaker; not of one that a fleet leads.
        clock: What moves its time from now on.
        record: Gets its events.
    """
    machine = driver.machine
    hand, day = Hand(driver.clock, clock), Hand(driver.wall_clock, clock)
    _rigs[driver] = Rig(hand, clock, machine._random, driver.delivery.add(record))
    if machine._random is default_random:
        machine._random = _even
    _become(driver, RiggedDriver, hand, day)


def unrig(driver: Driver) -> None:
    """Give a breaker back as new: closed, in automatic mode, without counts and on its own clock."""
    found = _rigs.pop(driver)
    found.deaf()
    driver.machine._random = found.random
    day = driver.wall_clock
    assert isinstance(day, Hand)  # noqa: S101 - `rig` set it
    _become(driver, Driver, found.hand.own, day.own)
    found.hand.let_go()
    renew(driver)


def rig_of(driver: Driver) -> Rig:
    """Return what a breaker is rigged with."""
    return _rigs[driver]


def is_rigged(driver: Driver) -> bool:
    """Tell whether a breaker is in the hands of a test."""
    return driver in _rigs


def is_local(driver: Driver) -> bool:
    """Tell whether a breaker can be rigged: no fleet leads it."""
    return type(driver) is Driver


def renew(driver: Driver) -> None:
    """Make a breaker as if it had just been made. Tells no listener: nothing has happened to the dependency."""
    machine, now = driver.machine, driver.clock()

    def begin() -> None:
        condition = machine._next(State.CLOSED, now, NEW)._replace(
            override=Override(), cause=None, reopenings=0
        )
        machine._replace(condition)
        machine.totals, machine.last_failure = Totals(), ""
        driver._count_anew()

    driver.run(begin)


def _become(
    driver: Driver, kind: type[Driver], clock: Callable[[], float], wall_clock: Callable[[], float]
) -> None:
    machine = driver.machine

    def change() -> None:
        driver.__class__ = kind
        driver.clock, driver.wall_clock = clock, wall_clock
        machine._clock = clock
        condition = machine.condition
        machine.condition = condition._replace(refusal=condition.refusal._replace(clock=clock))

    driver.run(change)  # and publishes
