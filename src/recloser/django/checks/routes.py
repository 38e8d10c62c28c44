"""E003, W007: what `ROUTES` names, and what is answered there."""

from __future__ import annotations

from django.core.checks import CheckMessage, Error, Warning  # noqa: A004 - Django's name

from recloser.core.policy import nearest
from recloser.django.checks.installed import installed
from recloser.django.urlconf import views
from recloser.http.routed import names


def check_routes(**_: object) -> list[CheckMessage]:
    """Report entries of `ROUTES` that name no view, and those without a plan."""
    found = installed()
    if found is None or not len(found.routes):
        return []
    declaration, messages = found.registry.declaration, list[CheckMessage]()
    known = [(view.name, view.path) for view in views()]
    for route in declaration.routes.values():
        if not any(names(route.name, *view) for view in known):
            spelt = dict.fromkeys(f"/{path}" if route.name.startswith("/") else name for name, path in known)
            hint = f"Name a URL (namespaces and all), or write its path as path() does{nearest(route.name, spelt)}."
            messages.append(Error(f"{route.path} resolves to no view.", hint=hint, id="recloser.E003"))
        for breaker in route.breakers:
            planned = route.plan or route.plans.get(breaker) or declaration.breakers[breaker].plan
            if planned is None:
                messages.append(without_plan(f"{route.path}, where {breaker!r} may be open,"))
    return messages


def without_plan(what: str) -> Warning:
    """Say that a guarded view has no plan."""
    hint = (
        'Say what is answered while the circuit is open, such as plan=[{"stale": 600}]; '
        'plan=["unavailable"] says that a 503 is meant.'
    )
    return Warning(f"{what} has no plan: an open circuit is a 503.", hint=hint, id="recloser.W007")
