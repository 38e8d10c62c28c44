"""Goes through all routes of an application, included and mounted ones too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from types import CodeType, FunctionType
from typing import Any, Final, NamedTuple, cast

import fastapi.routing
from starlette.applications import Starlette
from starlette.routing import BaseRoute, Host, Mount, WebSocketRoute

from recloser.asgi import CircuitBreakerMiddleware
from recloser.http.wrapping import is_bare, layers

# Since FastAPI 0.137 a route that was included lives on in its router; its context tells what it became.
contexts: Final[Any] = getattr(fastapi.routing, "iter_route_contexts", iter)


class Found(NamedTuple):
    """One route, as requests find it.

    Attributes:
        name: With the names of the mounts around it, as `url_for` takes it.
        path: With all prefixes, as the application writes it (`/products/{id:int}`).
        plain_path: The same without convertors (`/products/{id}`).
        methods: What it answers to; `WEBSOCKET` for one.
        endpoint: What the author wrote.
        route: Starlette's.
        dependant: FastAPI's; `None` for a route of Starlette's own.
    """

    name: str
    path: str
    plain_path: str
    methods: frozenset[str]
    endpoint: Any
    route: Any
    dependant: Any

    @property
    def title(self) -> str:
        """How problems name it."""
        return f"{','.join(sorted(self.methods))} {self.path}"

    @property
    def functions(self) -> Iterable[object]:
        """What may be guarded: the endpoint, or the methods of its class."""
        return vars(self.endpoint).values() if isinstance(self.endpoint, type) else (self.endpoint,)

    @property
    def is_last(self) -> bool:
        """Whether all checks of access have been made when the endpoint runs: FastAPI solves dependencies before.

        Starlette's own may check access itself, and so may a decorator.
        """
        return self.dependant is not None and is_bare(self.endpoint)

    @property
    def innermost(self) -> frozenset[CodeType]:
        """The code that runs once all decorators have let it."""
        undecorated = (layers(function)[-1] for function in self.functions if callable(function))
        return frozenset(function.__code__ for function in undecorated if isinstance(function, FunctionType))


def walk(
    routes: Sequence[BaseRoute], mounted: list[Starlette], path: str = "", name: str = ""
) -> Iterator[Found]:
    """Go through the routes of an application.

    Args:
        routes: The application's.
        mounted: Takes the applications found inside, but those that have breakers of their own.
        path: Where the application is mounted.
        name: The names of the mounts around it, each with a colon behind it.
    """
    for context in contexts(routes):
        route: BaseRoute = getattr(context, "original_route", context)
        own_path = f"{path}{getattr(context, 'path', '') or ''}"
        if isinstance(route, Mount | Host):
            app = _unwrapped(route.app)
            if isinstance(app, Starlette):
                if has_own_breakers(app):
                    continue
                mounted.append(app)
            yield from walk(route.routes, mounted, own_path, f"{name}{route.name}:" if route.name else name)
        elif (endpoint := getattr(context, "endpoint", None)) is not None:
            is_websocket = isinstance(route, WebSocketRoute)
            yield Found(
                name=f"{name}{context.name or ''}",
                path=own_path,
                plain_path=f"{path}{getattr(context, 'path_format', None) or ''}",
                methods=frozenset({"WEBSOCKET"} if is_websocket else context.methods or {"GET"}),
                endpoint=endpoint,
                route=context.matches.__self__,  # itself, where it is in a context
                dependant=getattr(context, "dependant", None),
            )


def has_own_breakers(app: Starlette) -> bool:
    """Tell whether breakers are installed in this very application."""
    added: list[object] = [middleware.cls for middleware in app.user_middleware]
    return CircuitBreakerMiddleware in added


def _unwrapped(app: Any) -> object:
    # A mount's own middleware stands around the application.
    while not isinstance(app, Starlette) and hasattr(app, "app"):
        app = app.app
    return cast("object", app)
