"""The breakers that live in this process, and what is remembered beside them: for tests, which begin without."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol
from weakref import WeakSet

from recloser.core import fork
from recloser.core.driver import Driver

_hearers: list[Callable[[Driver], object]] = []


class Memory(Protocol):
    """What outlives a call without being a breaker's."""

    def forget(self) -> None:
        """Become as new."""
        ...


memories: Final[WeakSet[Memory]] = WeakSet()


def born(driver: Driver) -> None:
    """Take a new breaker in; it leaves by itself when nothing holds it any more."""
    fork.watch(driver)
    for hear in _hearers:
        hear(driver)


def everyone() -> list[Driver]:
    """Return all that live."""
    return [one for one in fork.alive() if isinstance(one, Driver)]


def hear(hearer: Callable[[Driver], object]) -> Callable[[], None]:
    """Tell `hearer` of every new breaker; the function returned ends that."""
    _hearers.append(hearer)
    return lambda: _hearers.remove(hearer)
