"""What a breaker has counted, in a form that tests compare."""

from __future__ import annotations

from typing import NamedTuple

from recloser import CircuitBreaker


class Counted(NamedTuple):
    """Outcomes since the breaker was made."""

    success: int = 0
    failure: int = 0
    ignored: int = 0


def counted(breaker: CircuitBreaker) -> Counted:
    numbers = breaker.snapshot()
    return Counted(numbers.calls - numbers.failures, numbers.failures, numbers.ignored)
