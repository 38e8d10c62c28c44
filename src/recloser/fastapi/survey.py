"""What an application's routes say at start: the breakers that they name, and what their answers depend on."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Sequence
from types import CodeType
from typing import Any, Final, NamedTuple, cast, get_args

import fastapi.routing
from fastapi.security import APIKeyHeader, APIKeyQuery
from fastapi.security.base import SecurityBase
from starlette.applications import Starlette
from starlette.routing import BaseRoute, Host, Mount, WebSocketRoute

from recloser.asgi import CircuitBreakerMiddleware
from recloser.core.errors import Problem
from recloser.fastapi.dependencies import WRAPPERS, Breaker
from recloser.fastapi.early import Entry, before, tree
from recloser.fastapi.partitions import PREFIX
from recloser.http.guarded import Guarded, guards_of, unknown
from recloser.http.responder import Responder, RouteFacts
from recloser.http.wire import ASGIScope

# Since FastAPI 0.137 a route that was included lives on in its router; its context tells what it became.
contexts: Any = getattr(fastapi.routing, "iter_route_contexts", iter)
_UNKNOWN: Final = RouteFacts(personal=True, injects=True)
# A stack that has it left the endpoint; dependencies are run elsewhere.
_RUNNER: Final[CodeType] = fastapi.routing.run_endpoint_function.__code__


class Survey:
    """Looks at all routes of an application, and of those mounted in it.

    Args:
        responder: Of the application.

    Attributes:
        problems: What is wrong with the routes.
        mounted: The applications mounted inside.
    """

    def __init__(self, responder: Responder) -> None:
        self.problems: list[Problem] = []
        self.mounted: list[Starlette] = []
        self._responder = responder
        self._facts: dict[int, tuple[object, RouteFacts]] = {}

    def visit(self, routes: Sequence[BaseRoute]) -> Survey:
        """Look at the routes of an application."""
        found = list(self._walk(routes, ""))
        for route in found:
            self._check(route)
        self._check_early(found)
        for route in found:
            if any(not guards_of(wrapper)[0].is_bound for wrapper in getattr(route.endpoint, WRAPPERS, ())):
                fix = "must be guarded below the route's decorator, or the guard never runs"
                self.problems.append(Problem(route.title, repr(route.endpoint), fix))
            facts = _facts(route.dependant, route.endpoint)
            known = self._facts.get(id(route.endpoint))
            self._facts[id(route.endpoint)] = route.endpoint, _union(facts, known[1]) if known else facts
        return self

    def facts(self, scope: ASGIScope) -> RouteFacts:
        """Tell what is known of a request's route; of one that was added since, nothing good."""
        known = self._facts.get(id(scope.get("endpoint")))
        return known[1] if known is not None else _UNKNOWN

    def _walk(self, routes: Sequence[BaseRoute], prefix: str) -> Iterator[_Route]:
        for context in contexts(routes):
            route: BaseRoute = getattr(context, "original_route", context)
            path = f"{prefix}{getattr(context, 'path', '') or ''}"
            if isinstance(route, Mount | Host):
                app = _unwrapped(route.app)
                if isinstance(app, Starlette):
                    if has_own_breakers(app):
                        continue
                    self.mounted.append(app)
                yield from self._walk(route.routes, path)
            elif (endpoint := getattr(context, "endpoint", None)) is not None:
                is_websocket = isinstance(route, WebSocketRoute)
                methods = frozenset({"WEBSOCKET"} if is_websocket else context.methods or {"GET"})
                yield _Route(path, methods, endpoint, getattr(context, "dependant", None))

    def _check(self, route: _Route) -> None:
        for function in route.functions:
            for guard in guards_of(function):
                problems = guard.bind(self._responder, f"{route.title}: ", route.methods)
                self.problems += problems or _unsolved(route, guard)
        for dependant in tree(route.dependant):
            if isinstance(dependant.call, Breaker):
                name = dependant.call.name
                if name not in self._responder.registry.declared:
                    self.problems.append(unknown(self._responder, f"{route.title}: {dependant.call!r}", name))

    def _check_early(self, routes: list[_Route]) -> None:
        # A router's guard answers for many routes: its plan is wrong only if it fits none of them.
        entries: dict[int, tuple[Entry, list[_Route]]] = {}
        for route in routes:
            for entry in early_guards(route.dependant):
                entries.setdefault(id(entry), (entry, []))[1].append(route)
        for entry, guarded in entries.values():
            where = guarded[0].title + (f" and {len(guarded) - 1} more" if len(guarded) > 1 else "")
            methods = frozenset[str]().union(*(route.methods for route in guarded))
            problems = entry.guarded().bind(self._responder, f"{where}: ", methods)
            self.problems += problems
            if not problems:
                for route in guarded:
                    place = entry.place(route.endpoint)
                    place.guarded.bind(self._responder, methods=methods)
                    self.problems += _unsolved(route, place.guarded)
                    place.stands_after(before(entry, route.dependant))


class _Route(NamedTuple):
    path: str
    methods: frozenset[str]
    endpoint: object
    dependant: Any  # FastAPI's, or None

    @property
    def title(self) -> str:
        return f"{','.join(sorted(self.methods))} {self.path}"

    @property
    def functions(self) -> Iterable[object]:
        return vars(self.endpoint).values() if isinstance(self.endpoint, type) else (self.endpoint,)


def _unsolved(route: _Route, guard: Guarded) -> list[Problem]:
    # Who asks must be known by a dependency of the route, or nothing would ever be kept.
    if route.dependant is None:
        return []
    solved = {part.call for part in tree(route.dependant) if (part.name or "").startswith(PREFIX)}
    fix = "must be a function, or a name that can be imported when guard(...) is called: it becomes a dependency"
    return [
        Problem(f"{route.title}: {guard!r}.plan", f"per={per!r}", fix)
        for per in guard.pers
        if per not in solved
    ]


def early_guards(dependant: Any) -> list[Entry]:
    """Return the guards among a route's dependencies, in order."""
    return [part.call for part in tree(dependant) if isinstance(part.call, Entry)]


def has_own_breakers(app: Starlette) -> bool:
    """Tell whether breakers are installed in this very application."""
    added: list[object] = [middleware.cls for middleware in app.user_middleware]
    return CircuitBreakerMiddleware in added


def _unwrapped(app: Any) -> object:
    # A mount's own middleware stands around the application.
    while not isinstance(app, Starlette) and hasattr(app, "app"):
        app = app.app
    return cast("object", app)


def _facts(dependant: Any, endpoint: object) -> RouteFacts:
    guards: tuple[Guarded, ...] = tuple(entry.place(endpoint).guarded for entry in early_guards(dependant))
    facts = RouteFacts(guards=guards, runner=_RUNNER, injects=dependant is not None)
    for part in tree(dependant):
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
        return RouteFacts(credentials=frozenset({scheme.model.name.lower()}))
    if isinstance(scheme, APIKeyQuery):
        return RouteFacts(query_credentials=frozenset({scheme.model.name}))
    return RouteFacts()  # Authorization and cookies are credentials anyway


def _union(one: RouteFacts, other: RouteFacts) -> RouteFacts:
    return RouteFacts(
        selecting=one.selecting | other.selecting,
        credentials=one.credentials | other.credentials,
        query_credentials=one.query_credentials | other.query_credentials,
        personal=one.personal or other.personal,
        injects=one.injects or other.injects,
        guards=one.guards + tuple(guard for guard in other.guards if guard not in one.guards),
        runner=one.runner or other.runner,
    )
