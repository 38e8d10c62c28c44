"""`ROUTES`: guards on views that are named by their URL's name or path."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from django.urls import ResolverMatch

from recloser.config.declaration import Declaration, RouteDeclaration
from recloser.core.errors import Problem
from recloser.django.faults import FAULTS
from recloser.http.declared import read_plan
from recloser.http.guarded import Guarded
from recloser.http.plan import Plan

ANY_METHOD: Final = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})


class Route(NamedTuple):
    """One entry of `ROUTES`.

    Attributes:
        declared: As it was written.
        plans: A plan for each of its breakers, `None` where the breaker's own answers.
    """

    declared: RouteDeclaration
    plans: tuple[tuple[str, Plan | None], ...]

    def guards(self) -> tuple[Guarded, ...]:
        """Make the guards of one view that it names."""
        return tuple(Guarded(name, plan, record=None, faults=FAULTS) for name, plan in self.plans)


class Routes:
    """Finds the guards of a request by what its URL resolved to.

    A name with its namespaces (`shop:product`) stands for itself; an entry that begins with `/` is a path as
    `path()` writes it (`/products/<int:id>/`), in which `*` stands for anything (`/api/*`).
    """

    def __init__(self, routes: tuple[Route, ...]) -> None:
        self._routes = routes
        self._found: dict[tuple[str, str], tuple[Guarded, ...]] = {}

    def __len__(self) -> int:
        return len(self._routes)

    def find(self, match: ResolverMatch) -> tuple[Guarded, ...]:
        """Return the guards of a view, in the order of `ROUTES`."""
        key = match.view_name, match.route or ""
        guards = self._found.get(key)
        if guards is None:
            named = [route for route in self._routes if names(route.declared.name, *key)]
            # Each view has its own: whose outcome counts is learnt per view.
            guards = self._found.setdefault(key, tuple(guard for route in named for guard in route.guards()))
        return guards


def names(entry: str, view_name: str, path: str) -> bool:
    """Tell whether an entry of `ROUTES` names a view.

    Args:
        entry: As written.
        view_name: With its namespaces.
        path: The URL pattern, without the slash that it begins with.
    """
    if not entry.startswith("/"):
        return entry == view_name
    if "*" not in entry:
        return entry[1:] == path
    return re.fullmatch(".*".join(map(re.escape, entry[1:].split("*"))), path, re.DOTALL) is not None


def read_routes(declaration: Declaration) -> tuple[Routes, list[Problem]]:
    """Make the routes of a declaration.

    Returns:
        The routes, and the problems found (the routes mean nothing if there are any).
    """
    problems: list[Problem] = []
    routes: list[Route] = []
    for declared in declaration.routes.values():
        read: dict[str, Plan] = {}
        for breaker in declared.breakers:
            form = declared.plan or declared.plans.get(breaker)
            if form is not None:
                plan, wrong = read_plan(form.steps, form.path, form.on)
                problems += wrong or plan.problems(form.path, ANY_METHOD)
                read[breaker] = plan
        routes.append(Route(declared, tuple((name, read.get(name)) for name in declared.breakers)))
    return Routes(tuple(routes)), list(dict.fromkeys(problems))
