"""`ROUTES`: the guards that a declaration puts on routes, known by their names and paths."""

from __future__ import annotations

import re
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from recloser.config.declaration import Declaration, RouteDeclaration
from recloser.core.errors import Problem
from recloser.http.declared import read_plan
from recloser.http.fault import Faults
from recloser.http.guarded import Guarded
from recloser.http.plan import Plan


class RoutePlan(NamedTuple):
    """What answers while one breaker of a route is open.

    Attributes:
        breaker: Its name.
        plan: `None` where the breaker's own answers.
        path: Where the plan was written.
    """

    breaker: str
    plan: Plan | None
    path: str


class Route(NamedTuple):
    """One entry of `ROUTES`.

    Attributes:
        declared: As it was written.
        plans: One for each of its breakers.
    """

    declared: RouteDeclaration
    plans: tuple[RoutePlan, ...]

    def guards(self, faults: Faults) -> tuple[Guarded, ...]:
        """Make the guards of one endpoint that it names: each learns for itself whose outcome counts."""
        record = self.declared.record
        return tuple(
            Guarded(planned.breaker, planned.plan, record=record, faults=faults) for planned in self.plans
        )

    def problems(self, methods: AbstractSet[str]) -> list[Problem]:
        """Find the steps of its plans that can never answer a request with one of `methods`."""
        found = [
            problem
            for _, plan, path in self.plans
            if plan is not None
            for problem in plan.problems(path, methods)
        ]
        return list(dict.fromkeys(found))  # one plan may stand for all breakers


def names(entry: str, name: str, path: str) -> bool:
    """Tell whether an entry of `ROUTES` names a route.

    Args:
        entry: As written: a name, or a path that begins with `/` and in which `*` stands for anything.
        name: The route's, with its namespaces.
        path: The route's as the framework writes it, without the slash that it begins with.
    """
    if not entry.startswith("/"):
        return entry == name
    if "*" not in entry:
        return entry[1:] == path
    return re.fullmatch(".*".join(map(re.escape, entry[1:].split("*"))), path, re.DOTALL) is not None


def read_routes(declaration: Declaration) -> tuple[tuple[Route, ...], list[Problem]]:
    """Make the routes of a declaration.

    Returns:
        The routes, and the problems found (the routes mean nothing if there are any).
    """
    problems: list[Problem] = []
    routes: list[Route] = []
    for declared in declaration.routes.values():
        plans: list[RoutePlan] = []
        for breaker in declared.breakers:
            form = declared.plan or declared.plans.get(breaker)
            plan: Plan | None = None
            if form is not None:
                plan, wrong = read_plan(form.steps, form.path, form.on)
                problems += wrong
            plans.append(RoutePlan(breaker, plan, "" if form is None else form.path))
        routes.append(Route(declared, tuple(plans)))
    return tuple(routes), list(dict.fromkeys(problems))
