"""`install`: the breakers of one application, all in one place."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.params import Depends as Dependency
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection, Request
from starlette.routing import Route

from recloser.asgi import CircuitBreakerMiddleware, MountedMiddleware
from recloser.core.errors import (
    CallRejectedError,
    CircuitOpenError,
    ConfigurationError,
    Problem,
    RecloserError,
)
from recloser.fastapi.ahead import stand_ahead
from recloser.fastapi.openapi import document
from recloser.fastapi.present import FAULTS
from recloser.fastapi.status import add_status
from recloser.fastapi.survey import Survey
from recloser.fastapi.walk import has_own_breakers
from recloser.http import messages
from recloser.http.exchange import present_exchange
from recloser.http.kept import Cache
from recloser.http.responder import Responder, RouteFacts
from recloser.http.wire import ASGIScope
from recloser.metrics.logging import log_events
from recloser.registry import Registry
from recloser.status.access import Authorize

if TYPE_CHECKING:  # Jinja need not be installed
    from starlette.templating import Jinja2Templates


def install(
    app: Starlette,
    registry: Registry,
    *,
    expose: bool | None = None,
    cache: Cache | None = None,
    templates: Jinja2Templates | None = None,
    metrics: str | None = None,
    status: str | None = None,
    authorize: Authorize | Dependency | None = None,
    public: bool = False,
    trusted_origins: Collection[str] = (),
) -> None:
    """Let an application answer for its open circuits, and log what happens to them.

    Adds one middleware, which stays innermost whatever is added later, and a handler for refusals, which an
    exception handler of your own outranks; both also in mounted applications. OpenAPI lists their 503. At start every
    breaker that a route names is looked up; at shutdown the registry is closed, by the last application that shares it.

    Args:
        app: A FastAPI or Starlette application that has not served anything yet.
        registry: Its breakers.
        expose: Name breakers, strategies and errors in answers; by default as the declaration says, or in debug
            mode only.
        cache: Where responses are kept for `plans.stale`; by default where the declaration says.
        templates: The engine of `plans.template`.
        metrics: The path at which Prometheus finds its metrics, such as `"/metrics"`; by default nowhere. It is open
            to whoever can reach it, as is usual.
        status: Where the admin endpoint is, such as `/breakers`; without it there is none.
        authorize: Who may look and act there: see `status_router`.
        public: Without `authorize`, anybody may look there; else only in debug mode.
        trusted_origins: Origins besides our own that may send actions.

    Raises:
        ConfigurationError: Lists all that is wrong with the cache and the breakers' plans.
        ImportError: `metrics` needs the extra `prometheus`.
        RuntimeError: The application has served already, or has breakers already.
    """
    if app.middleware_stack is not None:
        raise RuntimeError("install(app, registry) must be called before the application serves anything")
    if has_own_breakers(app):
        raise RuntimeError("install(app, registry) must be called once per application")
    if expose is None:
        expose = registry.declaration.expose
    responder = Responder(
        registry,
        expose=app.debug if expose is None else expose,
        cache=cache,
        in_thread=run_in_threadpool,
        render=None if templates is None else partial(_render, templates),
        faults=FAULTS,
    )
    if isinstance(app, FastAPI):
        _refuse_pers_of_breakers(responder)
    installation = _Installation(app, responder)
    app.user_middleware.append(
        Middleware(
            CircuitBreakerMiddleware,
            registry=responder,
            on_start=installation.start,
            facts=installation.facts,
            native=Request,
        )
    )
    _add_handler(app)
    if isinstance(app, FastAPI):
        document(app, registry.declaration.routes)
    if metrics is not None:
        from recloser.metrics.prometheus import MetricsApp  # noqa: PLC0415 - only metrics need their extra

        app.router.routes.append(Route(metrics, MetricsApp(registry), include_in_schema=False))
    if status is not None:
        add_status(app, registry, status, authorize, public, trusted_origins)
    log_events(registry)


def _refuse_pers_of_breakers(responder: Responder) -> None:
    fix = (
        "must stand in the plan of a guard, guard(..., plan=...): FastAPI solves dependencies for routes only"
    )
    problems = [
        Problem(declared.plan.path, f"per={keeping.per!r}", fix)
        for name, declared in responder.registry.declaration.breakers.items()
        if declared.plan is not None
        for keeping in responder.plan_of(name).replays
        if keeping.per is not None
    ]
    if problems:
        raise ConfigurationError(problems)


def _render(
    templates: Jinja2Templates, name: str, request: messages.Request, context: dict[str, object]
) -> str:
    native: Any = request.native
    return bytes(templates.TemplateResponse(native, name, context).body).decode()


class _Installation:
    def __init__(self, app: Starlette, responder: Responder) -> None:
        self._app = app
        self._responder = responder
        self._survey = Survey(responder)

    def start(self) -> None:
        """Look at the routes, which are complete by now.

        Raises:
            ConfigurationError: Lists all that is wrong with them.
        """
        survey = Survey(self._responder).visit(self._app.routes)
        if survey.problems:
            raise ConfigurationError(survey.problems)
        survey.declared.apply()
        routes = self._responder.registry.declaration.routes
        if isinstance(self._app, FastAPI):
            # Once more: its `openapi` may have been replaced since `install`.
            document(self._app, routes)
        for mounted in survey.mounted:
            added: list[object] = [middleware.cls for middleware in mounted.user_middleware]
            if MountedMiddleware not in added:  # other applications may have mounted it too
                mounted.user_middleware.append(Middleware(MountedMiddleware))
                mounted.middleware_stack = None  # made anew, if it has served on its own before
                _add_handler(mounted)
                if isinstance(mounted, FastAPI):
                    document(mounted, routes)
        if all(_answers_refusals(app) for app in (self._app, *survey.mounted)):
            stand_ahead(survey.routes, self._responder, survey.declared)
        self._survey = survey

    def facts(self, scope: ASGIScope) -> RouteFacts:
        return self._survey.facts(scope)


class _Handler:
    async def __call__(self, _: HTTPConnection, error: Exception) -> Any:  # an ASGI application will do
        exchange = present_exchange()
        if exchange is None or exchange.started or not isinstance(error, CallRejectedError):
            raise error  # Starlette asks also for a WebSocket that was accepted
        return await exchange.answer(error)


def _add_handler(app: Starlette) -> None:
    # For the base of the family, so that a handler for any of its members is nearer and wins, also a later one.
    app.exception_handlers.setdefault(RecloserError, _Handler())


def _answers_refusals(app: Starlette) -> bool:
    handlers = app.exception_handlers
    return isinstance(
        next((handlers[base] for base in CircuitOpenError.__mro__ if base in handlers), None), _Handler
    )
