"""States that a test puts a breaker into, whatever its policy would have needed to get there."""

# pyright: reportPrivateUsage=false
# What is prepared for tests alone is not in public.

from __future__ import annotations

from collections.abc import Callable

from recloser.core.condition import Condition
from recloser.core.driver import Driver
from recloser.core.events import Cause, Rule
from recloser.core.machine import AUTOMATIC
from recloser.core.state import Mode, State
from recloser.testing.rigged import BY, NEW

_CAUSE = Cause(Rule.MODE, by=BY, why="forced by a test")


def place(driver: Driver, state: State) -> Callable[[], None]:
    """Put a breaker into a state, as if it had just come there by itself.

    Open, it stays so for its policy's `recovery_timeout`; half-open, the next call is a probe; closed, its window
    is empty. An operator's mode is lifted.

    Args:
        driver: Of the breaker.
        state: Closed, open or half-open.

    Returns:
        A function that restores what was before, with an empty window.
    """
    machine, now = driver.machine, driver.clock()
    before = machine.condition

    def enter() -> None:
        if before.override.mode is not Mode.AUTO:
            machine.override(AUTOMATIC, now)
        if state is State.OPEN:
            machine._open(now, _CAUSE, 0)
        else:
            machine._enter(machine._next(state, now, _CAUSE)._replace(reopenings=0))

    driver.run(enter)
    return lambda: driver.run(lambda: _restore(driver, before))


def _restore(driver: Driver, before: Condition) -> None:
    machine = driver.machine
    condition = machine._next(before.state, before.since, before.cause or NEW)
    condition = condition._replace(
        override=before.override, reopenings=before.reopenings, until=before.until, ramp=before.ramp
    )
    machine._enter(machine._with_refusal(condition) if before.state is State.OPEN else condition)
