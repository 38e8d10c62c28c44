"""One pure ASGI middleware: it turns refusals and failures into their plans' answers, and settles what guards hold.

It belongs innermost, so that CORS, compression and session middleware wrap degraded answers like any other.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from recloser.core.errors import ConfigurationError, Problem
from recloser.core.scope import current
from recloser.http.exchange import Exchange, FactsOf, present_exchange
from recloser.http.messages import ANNOUNCING
from recloser.http.responder import Responder, RouteFacts
from recloser.http.threads import in_thread
from recloser.http.websocket import WebSocketExchange
from recloser.http.wire import ASGIApp, ASGIScope, Message, Receive, Send
from recloser.registry import Registry

_NO_FACTS = RouteFacts()


def _no_facts(_: ASGIScope) -> RouteFacts:
    return _NO_FACTS


class CircuitBreakerMiddleware:
    """Answers the requests that an open circuit refuses, and failures where plans say so.

    Args:
        app: The application inside.
        registry: Its breakers, or the responder made of them.
        expose: Name breakers, strategies and errors in answers; by default as the declaration says, or not.
        on_start: Run once before the first request, or at start-up where the server announces that; what it
            raises stops the start.
        facts: Tells what is known of a request's route, from an ASGI scope that the router has filled.
        native: Makes the framework's own request, which plans may look at, of an ASGI scope.

    Raises:
        ConfigurationError: Lists all that is wrong with the cache and the breakers' plans, and `ROUTES` where
            nothing here could tell one route from another.
    """

    def __init__(
        self,
        app: ASGIApp,
        registry: Registry | Responder,
        *,
        expose: bool | None = None,
        on_start: Callable[[], object] | None = None,
        facts: FactsOf = _no_facts,
        native: Callable[[ASGIScope], object] = dict,
    ) -> None:
        self.app = app
        if not isinstance(registry, Responder):
            _refuse_routes(registry)
            declared = registry.declaration.expose
            registry = Responder(
                registry, expose=bool(declared if expose is None else expose), in_thread=in_thread
            )
        self.responder = registry
        self._native = native
        self._facts = facts
        self._on_start = on_start

    async def __call__(self, scope: ASGIScope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        kind = scope["type"]
        if kind == "http":
            exchange = Exchange(self.responder, self._facts, scope, send, self._native)
        elif kind == "websocket":
            exchange = WebSocketExchange(self.responder, self._facts, scope, send)
        else:
            if kind == "lifespan":
                await self._live(scope, receive, send)
            else:
                await self.app(scope, receive, send)
            return
        if self._on_start is not None:
            self._start()
        token = current.set(exchange)
        try:
            if kind == "http" and (
                self.responder.reads_bodies or scope.get("http_version", "1.1") not in ANNOUNCING
            ):
                receive = exchange.reading(receive)
            await self.app(scope, receive, exchange.send)
            if exchange.met is not None and exchange.holds:
                exchange.broke(None)
        except BaseException as error:
            trouble = exchange.interrupted(error)
            if trouble is None:
                raise
            answer = await exchange.answer(trouble)
            await answer(scope, receive, exchange.send)
        finally:
            current.reset(token)

    async def _live(self, scope: ASGIScope, receive: Receive, send: Send) -> None:
        membership = ExitStack()
        # Where Django's registry stands for another one at times, the one that is entered is left.
        membership.push(self.responder.registry.__enter__())
        has_started = False  # or else the application may know no lifespan, and serve nevertheless

        async def watch(message: Message) -> None:
            nonlocal has_started
            if message["type"] == "lifespan.startup.complete":
                # What this raises takes the way of the application's own errors at start.
                self._start()
                has_started = True
            else:
                membership.close()
            await send(message)

        try:
            await self.app(scope, receive, watch)
        finally:
            if has_started:  # also if it is cancelled, or breaks at its end
                membership.close()

    def _start(self) -> None:
        if self._on_start is not None:
            self._on_start()
            self._on_start = None


def _refuse_routes(registry: Registry) -> None:
    fix = "needs recloser.fastapi.install(app, registry): this middleware alone knows no routes"
    routes = registry.declaration.routes.values()
    if routes:
        raise ConfigurationError(Problem(route.path, repr(route.name), fix) for route in routes)


class MountedMiddleware:
    """Stands innermost in an application mounted inside others, whose middleware does all the rest.

    A mounted application would make a 500 of a refusal or a failure before the outer one saw it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: ASGIScope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        try:
            await self.app(scope, receive, send)
        except Exception as error:
            exchange = present_exchange()
            trouble = None if exchange is None or exchange.started else exchange.interrupted(error)
            if exchange is None or trouble is None:
                raise
            answer = await exchange.answer(trouble)
            await answer(scope, receive, send)
