"""`breakers` in templates, on request: `OPTIONS["context_processors"]`."""

from __future__ import annotations

from collections.abc import Mapping

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from recloser.core.snapshot import Snapshot
from recloser.django.lazy import registry


def breakers(_request: HttpRequest) -> Mapping[str, object]:
    """Give templates the breakers' numbers: `{% if breakers.payments.state == "open" %}`."""
    return {"breakers": SimpleLazyObject(_snapshots)}


def _snapshots() -> Mapping[str, Snapshot]:
    return {name: breaker.snapshot() for name, breaker in registry.items()}
