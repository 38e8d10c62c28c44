"""What an operator does to a breaker: in the whole fleet where a store is up, else in this process."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from recloser.core.errors import RecloserError
from recloser.core.log import logger
from recloser.core.state import Epoch, Mode, Override, State, end_of_mode

if TYPE_CHECKING:
    from recloser.core.breaker import CircuitBreaker
    from recloser.stores.hub import Hub


class Action(StrEnum):
    """What can be done."""

    FORCE_OPEN = "force_open"
    FORCE_CLOSED = "force_closed"
    SHADOW = "shadow"
    AUTO = "auto"
    RESET = "reset"

    @property
    def may_end(self) -> bool:
        """Whether it can be given an end."""
        return self not in (Action.AUTO, Action.RESET)


MODES: Final = {
    Action.FORCE_OPEN: Mode.FORCED_OPEN,
    Action.FORCE_CLOSED: Mode.FORCED_CLOSED,
    Action.SHADOW: Mode.SHADOW,
    Action.AUTO: Mode.AUTO,
}


class ConflictError(RecloserError):
    """The breaker is not as the operator saw it. Nothing happened.

    Attributes:
        name: The breaker's.
        epoch: Its present epoch.
        state: Its present state.
        override: Its present mode.
    """

    def __init__(self, name: str, epoch: Epoch, state: State, override: Override) -> None:
        super().__init__(name, epoch, state, override)
        self.name = name
        self.epoch = epoch
        self.state = state
        self.override = override

    def __str__(self) -> str:
        mode = f", mode {self.override.mode.replace('_', ' ')}"
        by = f" by {self.override.by}: {self.override.why}" if self.override.by else ""
        return f"breaker {self.name!r} has changed meanwhile: it is {self.state.prose} now{mode}{by}; nothing was done"


class Order(NamedTuple):
    """What an operator has decided.

    Attributes:
        name: The breaker's.
        action: What is done.
        override: The mode with who, why and until when; of a reset, who and why.
    """

    name: str
    action: Action
    override: Override

    @classmethod
    def of(  # noqa: PLR0917 - as of `Registry.steer`
        cls,
        name: str,
        action: str,
        by: str,
        reason: str,
        until: datetime | float | None,
        wall_clock: Callable[[], float],
    ) -> Order:
        """Check an order; arguments as of `Registry.steer`.

        Raises:
            ValueError: There is no such action, or `until` is naive, past, or given where nothing can end.
        """
        if action not in list(Action):
            known = ", ".join(Action)
            raise ValueError(f"breaker {name!r}: there is no action {action!r} (known: {known})")
        found = Action(action)
        if until is not None and not found.may_end:
            raise ValueError(f"breaker {name!r}: {action} has no end")
        until = end_of_mode(name, until, wall_clock())
        return cls(name, found, Override(MODES.get(found, Mode.AUTO), by, reason, until))


def steer(order: Order, breaker: CircuitBreaker | None, hub: Hub | None, expected: Epoch | None) -> bool:
    """Act on a breaker.

    Args:
        order: What is done.
        breaker: This process's, if it has one.
        hub: Of a registry with a store.
        expected: The epoch that the operator saw; `None`: whatever it is.

    Returns:
        Whether it was done in the whole fleet.

    Raises:
        ConflictError: The epoch is another one.
        StoreError: The store was lost meanwhile.
    """
    reached = hub is not None and (breaker is None or _is_up(hub))
    if hub is not None and reached:
        _in_fleet(order, hub, expected)
    elif breaker is not None:
        _here(breaker, order, expected)
    # What people wrote is escaped: no line of a log can be forged.
    override = order.override
    logger().warning(
        "operator %s: %s %s (%s)%s",
        ascii(override.by),
        order.action.value,
        ascii(order.name),
        ascii(override.why),
        "" if override.until is None else f" until {time.strftime('%FT%TZ', time.gmtime(override.until))}",
    )
    return reached


def _is_up(hub: Hub) -> bool:
    from recloser.stores.health import Connection  # noqa: PLC0415 - most processes have no store

    return hub.health.connection is Connection.UP


def _in_fleet(order: Order, hub: Hub, expected: Epoch | None) -> None:
    from recloser.stores.operations import Chance, Force, new_tag  # noqa: PLC0415

    chance, resets = Chance(new_tag()), order.action is Action.RESET
    answer = hub.force(Force(order.name, hub.worker, chance, order.override, resets, expected))
    if answer.is_conflict:
        record = answer.record
        raise ConflictError(order.name, record.epoch, record.state, record.override)


def _here(breaker: CircuitBreaker, order: Order, expected: Epoch | None) -> None:
    driver = breaker._driver  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    machine = driver.machine
    conflicts: list[ConflictError] = []

    def act(now: float) -> None:
        condition = machine.condition
        if expected is not None and condition.epoch != expected:
            conflict = ConflictError(breaker.name, condition.epoch, condition.state, condition.override)
            conflicts.append(conflict)
        elif order.action is Action.RESET:
            machine.reset(now, order.override.by, order.override.why)
        else:
            machine.override(order.override, now)

    driver.post(act)
    for conflict in conflicts:
        raise conflict
