"""The breakers that caches and mail backends name in their own settings."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from django.conf import settings
from django.utils.module_loading import import_string

from recloser.django.cache import DEFAULT_BREAKER, BreakerCache
from recloser.django.mail import EmailBackend


def named() -> Iterator[tuple[str, object]]:
    """Go through the settings of caches and mail that ask a breaker: where it is named, and what stands there."""
    caches: Mapping[str, Mapping[str, Any]] = settings.CACHES
    options: Mapping[str, Any]
    for alias, cache in caches.items():
        if issubclass(_class_at(cache.get("BACKEND")), BreakerCache):
            options = cache.get("OPTIONS") or {}
            yield f'CACHES["{alias}"]["OPTIONS"]["BREAKER"]', options.get("BREAKER", DEFAULT_BREAKER)
    mailers: Mapping[str, Mapping[str, Any]] = getattr(settings, "MAILERS", None) or {}
    for alias, mailer in mailers.items():
        backend = _class_at(mailer.get("BACKEND"))
        if issubclass(backend, EmailBackend):
            options = mailer.get("OPTIONS") or {}
            yield f'MAILERS["{alias}"]["OPTIONS"]["breaker"]', options.get("breaker") or backend.breaker
    if not mailers and settings.is_overridden("EMAIL_BACKEND"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Django's own, of settings that MAILERS replaces
            path = settings.EMAIL_BACKEND
        backend = _class_at(path)
        if issubclass(backend, EmailBackend):
            yield f"EMAIL_BACKEND: {path}.breaker", backend.breaker


def _class_at(path: object) -> type:
    with suppress(ImportError):  # Django tells of it elsewhere
        found: object = import_string(path) if isinstance(path, str) else None
        if isinstance(found, type):
            return found
    return object
