"""W009: sessions that are lost, at great cost, with their cache."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Warning  # noqa: A004 - Django's name

_CACHED_ONLY = "django.contrib.sessions.backends.cache"


def check_sessions(**_: object) -> list[CheckMessage]:
    """Report sessions that live in a breaker's cache alone: Django tries 10,000 keys before it gives one up."""
    backend: Any = settings.CACHES.get(settings.SESSION_CACHE_ALIAS, {}).get("BACKEND")
    if settings.SESSION_ENGINE != _CACHED_ONLY or backend != "recloser.django.cache.BreakerCache":
        return []
    return [
        Warning(
            f"Sessions live in CACHES[{settings.SESSION_CACHE_ALIAS!r}] alone, whose circuit may open.",
            hint="Set SESSION_ENGINE to 'django.contrib.sessions.backends.cached_db': while the cache is out, beginning "
            "a session would take seconds and fail, and everybody would be signed out.",
            id="recloser.W009",
        )
    ]
