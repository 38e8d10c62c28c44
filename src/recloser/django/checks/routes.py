"""E003, W007, W010: what `ROUTES` names, and what is answered there."""

from __future__ import annotations

from collections.abc import Sequence

from django.core.checks import CheckMessage, Error, Warning  # noqa: A004 - Django's name

from recloser.core.policy import nearest
from recloser.django.checks.installed import installed
from recloser.django.urlconf import views
from recloser.http.routed import names
from recloser.http.strategy import Strategy


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
    plans = {plan.path: plan.plan for route in found.routes for plan in route.plans if plan.plan is not None}
    messages += [_too_early(path, late) for path, plan in plans.items() if (late := plan.late())]
    return messages


def _too_early(path: str, late: Sequence[Strategy]) -> Warning:
    return Warning(
        f"{path} is asked before the view, which may check access: while the circuit is open, "
        f"{' and '.join(map(_told, late))} will not answer there.",
        hint='Give such a plan to @guard(...) right above the view\'s own function; public "stale" pages and '
        '"unavailable" answer here too.',
        id="recloser.W010",
    )


def _told(strategy: Strategy) -> str:
    return f"{strategy.name} with per" if strategy.keeping is not None else strategy.name


def without_plan(what: str) -> Warning:
    """Say that a guarded view has no plan."""
    hint = (
        'Say what is answered while the circuit is open, such as plan=[{"stale": 600}]; '
        'plan=["unavailable"] says that a 503 is meant.'
    )
    return Warning(f"{what} has no plan: an open circuit is a 503.", hint=hint, id="recloser.W007")
