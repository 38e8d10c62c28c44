"""What the Django tests do again and again."""

from __future__ import annotations

from recloser import CircuitBreaker
from recloser.django import registry


def trip(name: str = "inventory", error: Exception | None = None) -> CircuitBreaker:
    """Open a circuit by a failure."""
    breaker = registry[name]
    breaker.acquire().failure(error or ConnectionError("refused"))
    assert breaker.state == "open"
    return breaker
