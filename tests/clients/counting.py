"""What a breaker has counted, in a form that tests compare."""

from __future__ import annotations

import gc
from typing import NamedTuple

from recloser import CircuitBreaker
from recloser.core.permit import Permit
from recloser.registry import Registry


class Counted(NamedTuple):
    """Outcomes since the breaker was made."""

    success: int = 0
    failure: int = 0
    ignored: int = 0


def counted(breaker: CircuitBreaker) -> Counted:
    numbers = breaker.snapshot()
    return Counted(numbers.calls - numbers.failures, numbers.failures, numbers.ignored)


def permits_left(registry: Registry) -> list[Permit]:
    """Return the permits of a registry's breakers that something still holds; other tests' are no concern."""
    gc.collect()
    drivers = [breaker._driver for breaker in registry.values()]
    return [kept for kept in gc.get_objects() if isinstance(kept, Permit) and kept.driver in drivers]
