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
    """One request's permits and troubles."""

    __slots__ = ("_held", "_inner", "_troubles")

    def __init__(self) -> None:
        self._held: dict[Driver, Permit] = {}
        self._inner: dict[Driver, Outcome] = {}
        self._troubles: dict[tuple[str, str], None] = {}  # every request pays for what is made here

    @property
    def troubled(self) -> bool:
        """Whether any breaker rejected, failed or fell back: what the request makes is no good copy to keep."""
        return bool(self._troubles)

    @property
    def rejected(self) -> frozenset[str]:
        """Names of breakers that refused a call."""
        return self._noted("rejected")

    @property
    def failed(self) -> frozenset[str]:
        """Names of breakers that counted a failure."""
        return self._noted("failed")

    @property
    def degraded(self) -> frozenset[str]:
        """Names of breakers for which a call's fallback answered."""
        return self._noted("degraded")

    def note_rejected(self, breaker: str) -> None:
        """Remember that a breaker refused a call."""
        self._troubles["rejected", breaker] = None

    def note_failed(self, breaker: str) -> None:
        """Remember that a breaker counted a failure."""
        self._troubles["failed", breaker] = None

    def note_degraded(self, breaker: str) -> None:
        """Remember that a fallback answered."""
        self._troubles["degraded", breaker] = None

    def _noted(self, kind: str) -> frozenset[str]:
        return frozenset(breaker for noted, breaker in tuple(self._troubles) if noted == kind)

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
