"""What an application's routes say at start: the breakers that they name, and what their answers depend on."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from types import CodeType
from typing import Any, Final, get_args

import fastapi.routing
from fastapi.security import APIKeyCookie, APIKeyHeader, APIKeyQuery
from fastapi.security.base import SecurityBase
from starlette.applications import Starlette
from starlette.routing import BaseRoute

from recloser.core.errors import Problem
from recloser.fastapi.dependencies import WRAPPERS, Breaker
from recloser.fastapi.early import IN_CODE, Entry, before, early_guards, tree, unsolved
from recloser.fastapi.routes import DeclaredRoutes
from recloser.fastapi.walk import Found, walk
from recloser.http.guarded import Guarded, guards_of, unknown
from recloser.http.responder import Responder, RouteFacts
from recloser.http.wire import ASGIScope

_UNKNOWN: Final = RouteFacts(personal=True, secured=True, injects=True)
# A stack that has it left the endpoint; dependencies are run elsewhere.
_RUNNERS: Final[frozenset[CodeType]] = frozenset({fastapi.routing.run_endpoint_function.__code__})


class Survey:
    """Looks at all routes of an application, and of those mounted in it.

    Args:
        responder: Of the application.

    Attributes:
        routes: All that were found.
        problems: What is wrong with them.
        mounted: The applications mounted inside.
        declared: What `ROUTES` says of the routes.
    """

    def __init__(self, responder: Responder) -> None:
        self.routes: list[Found] = []
        self.problems: list[Problem] = []
        self.mounted: list[Starlette] = []
        self.declared = DeclaredRoutes(responder)
        self._responder = responder
        self._facts: dict[int, tuple[object, RouteFacts]] = {}

    def visit(self, routes: Sequence[BaseRoute]) -> Survey:
        """Look at the routes of an application."""
        found = self.routes = list(walk(routes, self.mounted))
        methods = _methods(found)
        for route in found:
            self._check(route, methods)
        self._check_early(found, methods)
        self.problems += self.declared.resolve(found)
        for route in found:
            if any(not guards_of(wrapper)[0].is_bound for wrapper in getattr(route.endpoint, WRAPPERS, ())):
                fix = "must be guarded below the route's decorator, or the guard never runs"
                self.problems.append(Problem(route.title, repr(route.endpoint), fix))
            facts = _union(self.declared.facts(route), _facts(route))
            known = self._facts.get(id(route.endpoint))
            self._facts[id(route.endpoint)] = route.endpoint, _union(facts, known[1]) if known else facts
        return self

    def facts(self, scope: ASGIScope) -> RouteFacts:
        """Tell what is known of a request's route; of one that was added since, nothing good."""
        known = self._facts.get(id(scope.get("endpoint")))
        return known[1] if known is not None else _UNKNOWN

    def _check(self, route: Found, methods: Mapping[int, AbstractSet[str]]) -> None:
        for function in route.functions:
            for guard in guards_of(function):
                problems = guard.bind(self._responder, f"{route.title}: ", methods[id(route.endpoint)])
                self.problems += problems or unsolved(guard, f"{route.title}: ", route.dependant, IN_CODE)
        for dependant in tree(route.dependant):
            if isinstance(dependant.call, Breaker):
                name = dependant.call.name
                if name not in self._responder.registry.declared:
                    self.problems.append(unknown(self._responder, f"{route.title}: {dependant.call!r}", name))

    def _check_early(self, routes: list[Found], of_endpoint: Mapping[int, AbstractSet[str]]) -> None:
        # A router's guard answers for many routes: its plan is wrong only if it fits none of them.
        entries: dict[int, tuple[Entry, list[Found]]] = {}
        for route in routes:
            for entry in early_guards(route.dependant):
                entries.setdefault(id(entry), (entry, []))[1].append(route)
        for entry, guarded in entries.values():
            where = guarded[0].title + (f" and {len(guarded) - 1} more" if len(guarded) > 1 else "")
            methods = frozenset[str]().union(*(of_endpoint[id(route.endpoint)] for route in guarded))
            problems = entry.guarded().bind(self._responder, f"{where}: ", methods)
            self.problems += problems
            if not problems:
                for route in guarded:
                    place = entry.place(route.endpoint)
                    place.guarded.bind(self._responder, methods=methods)
                    self.problems += unsolved(place.guarded, f"{route.title}: ", route.dependant, IN_CODE)
                    place.stands_after(before(entry, route.dependant))


def _methods(routes: list[Found]) -> Mapping[int, AbstractSet[str]]:
    # An endpoint may have several routes, for GET and for HEAD say: its plan is wrong only if it fits none of them.
    found: dict[int, set[str]] = {}
    for route in routes:
        found.setdefault(id(route.endpoint), set()).update(route.methods)
    return found


def _facts(route: Found) -> RouteFacts:
    guards: tuple[Guarded, ...] = tuple(
        entry.place(route.endpoint).guarded for entry in early_guards(route.dependant)
    )
    # Where a decorator may check access, only what comes out of the innermost part has passed that.
    runners = _RUNNERS if route.is_last else route.innermost
    facts = RouteFacts(guards=guards, runners=runners, injects=route.dependant is not None)
    for part in tree(route.dependant):
        for parameter in part.header_params:
            facts = _union(facts, _facts_of_header(parameter))
        call = inspect.unwrap(part.call)
        if isinstance(call, SecurityBase):
            facts = _union(facts, _facts_of_scheme(call))
    return facts


def _facts_of_header(parameter: Any) -> RouteFacts:
    info = parameter.field_info
    names = {parameter.alias, parameter.name.replace("_", "-"), info.alias, info.validation_alias} - {None}
    if _is_model(info.annotation) or not all(isinstance(name, str) for name in names):
        return _UNKNOWN  # it may read any header
    return RouteFacts(selecting=frozenset(name.lower() for name in names))


def _is_model(annotation: Any) -> bool:
    return hasattr(annotation, "model_fields") or any(_is_model(part) for part in get_args(annotation))


def _facts_of_scheme(scheme: SecurityBase) -> RouteFacts:
    if not type(scheme).__module__.startswith("fastapi.security."):
        return _UNKNOWN  # a scheme of the application's own may look anywhere
    if isinstance(scheme, APIKeyHeader):
        return RouteFacts(secured=True, credentials=frozenset({scheme.model.name.lower()}))
    if isinstance(scheme, APIKeyQuery):
        return RouteFacts(secured=True, query_credentials=frozenset({scheme.model.name}))
    if isinstance(scheme, APIKeyCookie):
        return RouteFacts(secured=True, cookie_credentials=frozenset({scheme.model.name}))
    return RouteFacts(secured=True)  # Authorization is a credential anyway


def _union(one: RouteFacts, other: RouteFacts) -> RouteFacts:
    return RouteFacts(
        selecting=one.selecting | other.selecting,
        credentials=one.credentials | other.credentials,
        query_credentials=one.query_credentials | other.query_credentials,
        cookie_credentials=one.cookie_credentials | other.cookie_credentials,
        personal=one.personal or other.personal,
        secured=one.secured or other.secured,
        injects=one.injects or other.injects,
        guards=one.guards + tuple(guard for guard in other.guards if guard not in one.guards),
        runners=one.runners or other.runners,
    )
