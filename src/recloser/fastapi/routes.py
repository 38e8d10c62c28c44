"""`ROUTES`: guards on endpoints that are named by their route's name or path."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from recloser.core.errors import Problem
from recloser.core.policy import nearest
from recloser.fastapi.early import IN_ROUTES, unsolved
from recloser.fastapi.endpoints import around_in
from recloser.fastapi.present import FAULTS
from recloser.fastapi.walk import Found
from recloser.http.exchange import present_exchange
from recloser.http.guarded import Guarded
from recloser.http.responder import Responder, RouteFacts
from recloser.http.routed import names, read_routes


class DeclaredRoutes:
    """Puts the guards of `ROUTES` around the endpoints that it names.

    Args:
        responder: Of the application.
    """

    def __init__(self, responder: Responder) -> None:
        self._responder = responder
        self._routes, self._problems = read_routes(responder.registry.declaration)
        self._guards: dict[int, tuple[Found, tuple[Guarded, ...]]] = {}

    def resolve(self, found: list[Found]) -> list[Problem]:
        """Find the endpoints of each entry.

        Returns:
            All that is wrong with the entries: one that names nothing, a plan that fits none of its endpoints.
        """
        problems = list(self._problems)
        for route in self._routes:
            # An application that is mounted twice has its routes once.
            named = {id(one.route): one for one in found if is_named(route.declared.name, one)}
            methods = frozenset[str]().union(*(one.methods for one in named.values()))
            wrong = [] if self._problems else route.problems(methods)
            if not named:
                wrong = [_nothing(route.declared.path, route.declared.name, found)]
            for key, one in named.items() if not self._problems and not wrong else ():
                _, earlier = self._guards.get(key, (one, ()))
                guards = route.guards(FAULTS)
                for guarded in guards:
                    where = f"{route.declared.path}: "
                    unbound = guarded.bind(self._responder, where, methods)
                    wrong += unbound or unsolved(guarded, where, one.dependant, IN_ROUTES)
                self._guards[key] = one, earlier + guards
            problems += dict.fromkeys(wrong)
        return problems

    def guards(self, route: Found) -> tuple[Guarded, ...]:
        """Return the guards that stand around a route's endpoint."""
        return self._guards.get(id(route.route), (route, ()))[1]

    def facts(self, route: Found) -> RouteFacts:
        """Tell what is known of a route's requests by its guards."""
        return RouteFacts(guards=self.guards(route))

    def apply(self) -> None:
        """Put the guards in place; once."""
        for route, guards in self._guards.values():
            if route.dependant is None:
                if not isinstance(route.route.app, _Guarded):
                    route.route.app = _Guarded(route.route.app)
                route.route.app.guards[self._responder] = guards
            else:
                # What FastAPI runs; its own comments leave wrapping it to integrations.
                route.dependant.call = around_in(
                    self._responder, guards, route.dependant.call, access_checked=route.is_last
                )


class _Guarded:
    """A route of Starlette's own, behind its guards: nobody can tell what it checks, or when."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.guards: dict[Responder, tuple[Guarded, ...]] = {}  # of each application that has mounted it

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        exchange = present_exchange()
        if exchange is not None:
            for guarded in self.guards.get(exchange.responder, ()):
                guarded.enter(exchange, access_checked=False)
        await self._app(scope, receive, send)


def is_named(entry: str, route: Found) -> bool:
    """Tell whether an entry of `ROUTES` names a route, by its name or its path, with or without convertors."""
    return any(names(entry, route.name, path.removeprefix("/")) for path in (route.path, route.plain_path))


def _nothing(path: str, entry: str, found: list[Found]) -> Problem:
    known = dict.fromkeys(one.plain_path if entry.startswith("/") else one.name for one in found)
    fix = f"must be the name or the path of a route of the application{nearest(entry, known)}"
    return Problem(path, repr(entry), fix)
