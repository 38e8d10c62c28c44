"""W002, W003: the middleware."""

from __future__ import annotations

from contextlib import suppress

from django.conf import settings
from django.core.checks import CheckMessage, Warning  # noqa: A004 - Django's name
from django.utils.module_loading import import_string

from recloser.django.middleware import CircuitBreakerMiddleware


def check_middleware(**_: object) -> list[CheckMessage]:
    """Report a middleware that is missing, or that stands where others cannot wrap its answers."""
    ours = [index for index, path in enumerate(settings.MIDDLEWARE) if _is_ours(path)]
    path = '"recloser.django.CircuitBreakerMiddleware"'
    if not ours:
        hint = f"Add {path} at the end of MIDDLEWARE: without it a refused call is a 500, and guards fail."
        return [Warning("No middleware answers for open circuits.", hint=hint, id="recloser.W002")]
    if len(ours) > 1 or ours[0] != len(settings.MIDDLEWARE) - 1:
        hint = (
            f"Put {path} last and once. What stands behind it sees no degraded answer, and may hide a refusal "
            "or the user from it."
        )
        return [Warning("The circuit breakers' middleware is not innermost.", hint=hint, id="recloser.W003")]
    return []


def _is_ours(path: str) -> bool:
    with suppress(ImportError):  # Django tells of it elsewhere
        middleware: object = import_string(path)
        return isinstance(middleware, type) and issubclass(middleware, CircuitBreakerMiddleware)
    return False
