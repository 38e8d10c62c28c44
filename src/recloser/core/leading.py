"""What drives a led machine: it starts the hub with the first call, and wakes it when there is something to tell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from recloser.core.driver import Driver
from recloser.core.led import LedMachine
from recloser.core.machine import Admission
from recloser.core.policy import Policy
from recloser.core.scope import Scope


class Lead(Protocol):
    """What brings a fleet's word to its members: the hub, as the core knows it.

    Attributes:
        begun: It needs no start: it runs, or never will again.
    """

    begun: bool

    def begin(self) -> None:
        """Start, if need be. Neither waits nor raises."""
        ...

    def wake(self, name: str) -> None:
        """Look after the breaker `name` now. Neither waits nor raises."""
        ...


class LedDriver(Driver):
    """Runs one led machine for all threads and tasks of this process; further arguments as of `Driver`.

    Args:
        lead: Brings the fleet's word.
    """

    __slots__ = ("_lead",)

    machine: LedMachine

    def __init__(
        self,
        name: str,
        policy: Policy,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        random: Callable[[], float],
        *,
        lead: Lead,
    ) -> None:
        self._lead = lead
        super().__init__(name, policy, clock, wall_clock, random)

    def _made(self, clock: Callable[[], float], random: Callable[[], float]) -> LedMachine:
        return LedMachine(self.name, self.policy, clock=clock, random=random, now=clock())

    def admit(self, now: float, scope: Scope | None) -> Admission:
        """Ask for one call where no recorder stands for the answer; the first one of a process starts the hub."""
        if not self._lead.begun:
            self._lead.begin()
        return super().admit(now, scope)

    def _publish(self) -> None:
        Driver._publish(self)  # noqa: SLF001 - each failure comes through here, and `super()` would cost it a fiftieth
        machine = self.machine
        if not self._lead.begun:
            machine.ask_for_each_call()
        elif machine.urgent:
            machine.urgent = False
            self._lead.wake(self.name)
