"""Django: `RECLOSER` declares the breakers, one middleware answers for them, `guard` protects a view.

Nothing here reads the settings before it is used.
"""

from recloser.django.guards import guard
from recloser.django.lazy import breaker, registry
from recloser.django.middleware import CircuitBreakerMiddleware

__all__ = ["CircuitBreakerMiddleware", "breaker", "guard", "registry"]
