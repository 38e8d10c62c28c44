"""What one request (or job) has seen of breakers. Only slow paths look at it, never a closed breaker's calls.

The object is mutable and set before the request's code runs, so that it is the same one in thread pools and
child tasks, whose contexts are copies.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from recloser.core.driver import Driver
    from recloser.core.outcome import Outcome
    from recloser.core.permit import Permit


class Scope:
    """One request's permits and troubles.

    Attributes:
        rejected: Names of breakers that refused a call.
        failed: Names of breakers that counted a failure.
        degraded: Names of breakers for which a call's fallback answered.
    """

    __slots__ = ("_held", "_inner", "degraded", "failed", "rejected")

    def __init__(self) -> None:
        self._held: dict[Driver, Permit] = {}
        self._inner: dict[Driver, Outcome] = {}
        self.rejected: set[str] = set()
        self.failed: set[str] = set()
        self.degraded: set[str] = set()

    @property
    def troubled(self) -> bool:
        """Whether any breaker rejected, failed or fell back: what the request makes is no good copy to keep."""
        return bool(self.rejected or self.failed or self.degraded)

    def hold(self, permit: Permit) -> None:
        """Let inner calls of the permit's breaker ride on it: they take no second place."""
        self._held[permit.driver] = permit

    def held(self, driver: Driver) -> Permit | None:
        """Return the unsettled permit that calls of this breaker may ride on."""
        permit = self._held.get(driver)
        return None if permit is None or permit.settled else permit

    def inner_outcome(self, permit: Permit) -> Outcome | None:
        """Return the first outcome of an inner call of a held permit's breaker, if one was seen."""
        return self._inner.get(permit.driver)

    def note_inner(self, driver: Driver, outcome: Outcome) -> None:
        """Remember the first inner outcome of a breaker whose permit is held."""
        if driver in self._held:
            self._inner.setdefault(driver, outcome)


current: ContextVar[Scope | None] = ContextVar("recloser.scope", default=None)
