"""A kept page ahead of FastAPI: where nothing but guards stands before an endpoint, a stale answer passes nothing over.

The way through the dependencies to the guard, and of its refusal back out, costs more than the endpoint itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import FunctionType
from typing import NamedTuple, cast

from fastapi import params
from fastapi.routing import APIRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from recloser.core.driver import Driver
from recloser.core.errors import CircuitOpenError
from recloser.fastapi.early import Entry, early_guards
from recloser.fastapi.routes import DeclaredRoutes
from recloser.fastapi.walk import Found
from recloser.http.exchange import present_exchange
from recloser.http.guarded import Guarded, guards_of
from recloser.http.messages import Response
from recloser.http.plan import Degraded, Plan
from recloser.http.responder import Responder
from recloser.http.strategy import Strategy
from recloser.http.wire import Answer

_METHODS = frozenset({"GET", "HEAD"})
_OF_FASTAPI = cast("FunctionType", APIRoute("/", lambda: None).app).__code__


class _Guard(NamedTuple):
    driver: Driver
    replaying: Strategy | None  # what its plan asks first, if that serves a response again


class Ahead:
    """Stands before one route, and answers while a guard refuses and the first step of its plan has a page.

    Args:
        app: The route.
        responder: Of the application.
        guards: All of the route's, in the order in which they are asked.
    """

    def __init__(self, app: ASGIApp, responder: Responder, guards: Iterable[Guarded]) -> None:
        self._app = app
        self._responder = responder
        bound = [(guarded.driver(responder), *guarded.met(responder)) for guarded in guards]
        plans = [(name, plan) for _, name, plan in bound if plan is not None]
        self._guards = [
            _Guard(driver, _replaying(_plan_for(name, plans) or responder.plan_of(name)))
            for driver, name, _ in bound
        ]

    @property
    def can_answer(self) -> bool:
        """Whether any plan begins with a page."""
        return any(guard.replaying is not None for guard in self._guards)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        for guard in self._guards:
            if guard.driver.machine.recorder is None:
                answer = await self._answer(guard, scope)
                if answer is not None:
                    await answer.send(send)
                    return
                break
        await self._app(scope, receive, send)

    async def _answer(self, guard: _Guard, scope: Scope) -> Answer | None:
        exchange, driver = present_exchange(), guard.driver
        now, condition = driver.clock(), driver.machine.condition
        if (
            guard.replaying is None
            or exchange is None
            or exchange.responder is not self._responder
            or exchange.met is not None
            or now >= condition.refuse_until
            or scope["method"] not in _METHODS
            or getattr(scope["app"], "dependency_overrides", None)
        ):
            return None
        error = CircuitOpenError(condition.refusal, now)
        try:
            request = exchange.request()
            found = guard.replaying.answer(request, error)
            response = found if found is None or isinstance(found, Response) else await found
        except Exception:
            return None
        if response is None:
            return None
        driver.refusal(now, exchange)  # counts it
        return exchange.replaced_by(request, error, Degraded(response, guard.replaying))


def stand_ahead(found: Iterable[Found], responder: Responder, declared: DeclaredRoutes) -> None:
    """Put `Ahead` before each route that it suits.

    Args:
        found: The routes.
        responder: Of the application.
        declared: The guards that `ROUTES` puts around them.
    """
    for route in found:
        if not isinstance(route.route.app, Ahead) and _suits(route):
            early = [entry.place(route.endpoint).guarded for entry in early_guards(route.dependant)]
            ahead = Ahead(
                route.route.app,
                responder,
                [*early, *declared.guards(route), *guards_of(route.endpoint)],
            )
            if ahead.can_answer:
                route.route.app = ahead


def _suits(route: Found) -> bool:
    original: object = getattr(route.route, "original_route", route.route)
    return (
        route.is_last
        and isinstance(original, APIRoute)
        and type(original).get_route_handler is APIRoute.get_route_handler
        and _is_fastapis(route.route.app)
        and not _METHODS.isdisjoint(route.methods)
        and not route.dependant.body_params
        # Guards and breakers, which check nothing, are what FastAPI calls for themselves.
        and all(isinstance(part.call, Entry | params.Depends) for part in route.dependant.dependencies)
    )


def _is_fastapis(app: ASGIApp) -> bool:
    # A route class, or whoever made the route, may have put checks of its own around it.
    return getattr(app, "__code__", None) is _OF_FASTAPI


def _plan_for(name: str, plans: list[tuple[str, Plan]]) -> Plan | None:
    own = [plan for breaker, plan in plans if breaker == name]
    return own[0] if own else (plans[0][1] if plans else None)


def _replaying(plan: Plan) -> Strategy | None:
    if not plan.strategies or any(keeping.per is not None for keeping in plan.replays):
        return None  # who asks is found out by a dependency
    return plan.strategies[0] if plan.strategies[0].replays else None
