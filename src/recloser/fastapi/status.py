"""The admin endpoint in FastAPI: `install(..., status="/breakers")`, or `status_router` where you want it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Annotated, Any, Final, TypeAlias, cast

from fastapi import APIRouter, Depends, FastAPI, Path
from fastapi.params import Depends as Dependency
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from recloser.registry import Registry
from recloser.status.access import Authorize
from recloser.status.actions import LONGEST_REASON, MOST_AT_ONCE
from recloser.status.app import StatusApp
from recloser.status.entry import EPOCH
from recloser.status.messages import KINDS
from recloser.status.query import MAX_LIMIT, MAX_OFFSET, MAX_SEARCH, SHOWN
from recloser.steering import Action

_TAGS: Final[list[Any]] = ["breakers"]
_DENIED: Final[dict[int | str, dict[str, Any]]] = {
    400: {"description": "The query is wrong."},
    403: {"description": "Not allowed."},
    404: {"description": "Unknown, or not public."},
}
_ACTED: Final[dict[int | str, dict[str, Any]]] = {
    **_DENIED,
    303: {"description": "Done, for a browser's form."},
    405: {"description": "An action is done by POST."},
    409: {"description": "The breaker has changed meanwhile; nothing was done."},
    413: {"description": "Too large."},
    415: {"description": "Neither a form nor JSON."},
    503: {"description": "The store was lost."},
}
_DOCUMENT: Final[dict[str, Any]] = {"application/json": {"schema": {"type": "object"}}}
_FORMATS: Final[dict[str, Any]] = {**_DOCUMENT, "text/html": {}, "text/plain": {}}
_BODY: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "reason": {"type": "string", "minLength": 1, "maxLength": LONGEST_REASON},
        "for": {
            "type": ["string", "number", "null"],
            "description": "such as 90 (seconds), 10m, 2h; empty: until somebody ends it",
        },
        "token": {"type": "string", "description": "of the form; none for clients with `Authorization`"},
    },
}
_QUERY: Final[Mapping[str, dict[str, Any]]] = {
    "search": {"type": "string", "maxLength": MAX_SEARCH, "description": "a part of the breaker's name"},
    "show": {"type": "string", "enum": ["", *SHOWN], "description": "only these"},
    "offset": {"type": "integer", "minimum": 0, "maximum": MAX_OFFSET, "default": 0},
    "limit": {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": 200},
}
_FORMAT: Final[Mapping[str, dict[str, Any]]] = {
    "format": {"type": "string", "enum": KINDS, "description": "instead of what `Accept` asks for"}
}
_ActionName: TypeAlias = Annotated[str, Path(json_schema_extra={"enum": list(Action)})]
_EPOCH: Final[dict[str, Any]] = {
    "epoch": {"type": "string", "pattern": f"^{EPOCH}$", "description": "that the operator saw"}
}
_BREAKERS: Final[dict[str, Any]] = {
    "breaker": {
        "type": "array",
        "items": {"type": "string", "pattern": f"^[^ ]+ {EPOCH}$"},
        "minItems": 1,
        "maxItems": MOST_AT_ONCE,
        "description": "name, space, epoch that the operator saw",
    }
}


def status_router(
    registry: Registry,
    *,
    authorize: Authorize | Dependency | None = None,
    public: bool = False,
    trusted_origins: Collection[str] = (),
) -> APIRouter:
    """Make a router of the admin endpoint: `app.include_router(status_router(...), prefix="/breakers")`.

    Args:
        registry: The breakers.
        authorize: Given the request and `"read"` or `"control"`, returns the actor's name to permit or `None` to
            deny; may be async. Or `Depends(...)` that yields the name, for both. Without it there are no actions.
        public: Without `authorize`, anybody may look.
        trusted_origins: Origins besides our own that may send actions, such as `https://ops.example`.
    """
    asks: Callable[..., Any] | None = authorize.dependency if isinstance(authorize, Dependency) else None
    plain = _never if asks is not None else cast("Authorize | None", authorize)
    status = StatusApp(registry, authorize=plain, public=public, trusted_origins=trusted_origins)
    router = APIRouter(tags=_TAGS)

    async def unasked() -> object:
        return ...

    asked: Any = Depends(asks or unasked)

    async def read(request: Request, actor: object = asked) -> Response:
        return _Delegated(status, actor, request)

    async def read_one(request: Request, name: str, actor: object = asked) -> Response:  # noqa: ARG001 - for OpenAPI
        return _Delegated(status, actor, request)

    async def act(request: Request, name: str, action: _ActionName, actor: object = asked) -> Response:  # noqa: ARG001
        return _Delegated(status, actor, request)

    async def act_on_many(request: Request, action: _ActionName, actor: object = asked) -> Response:  # noqa: ARG001
        return _Delegated(status, actor, request)

    def get(
        path: str,
        endpoint: Callable[..., Awaitable[Response]],
        summary: str,
        content: dict[str, Any],
        query: Mapping[str, dict[str, Any]] = {},
    ) -> None:
        told = [{"name": name, "in": "query", "schema": schema} for name, schema in query.items()]
        router.add_api_route(
            path,
            endpoint,
            summary=summary,
            responses={200: {"description": "OK", "content": content}, **_DENIED},
            response_class=Response,
            response_model=None,
            openapi_extra={"parameters": told} if told else None,
        )

    def post(
        path: str, endpoint: Callable[..., Awaitable[Response]], summary: str, more: dict[str, Any]
    ) -> None:
        required = ["reason", *more]
        schema = {**_BODY, "properties": {**_BODY["properties"], **more}, "required": required}
        kinds = ("application/json", "application/x-www-form-urlencoded")
        body = {"requestBody": {"required": True, "content": {kind: {"schema": schema} for kind in kinds}}}
        router.add_api_route(
            path,
            endpoint,
            methods=["POST"],
            summary=summary,
            responses={200: {"description": "Done.", "content": _DOCUMENT}, **_ACTED},
            response_class=Response,
            response_model=None,
            openapi_extra=body,
        )

    get("/", read, "All breakers, worst first", _FORMATS, {**_QUERY, **_FORMAT})
    get("/events", read, "What changes, as server-sent events", {"text/event-stream": {}}, _QUERY)
    get("/health", read, "ok or degraded, never down", _DOCUMENT)
    get("/schema", read, "The documents' JSON Schema", {"application/schema+json": {}})
    get("/b/{name}", read_one, "One breaker", _FORMATS, _FORMAT)
    post("/b/{name}/{action}", act, f"Act on a breaker: {', '.join(Action)}", _EPOCH)
    post("/bulk/{action}", act_on_many, "Act on several breakers", _BREAKERS)
    for path, endpoint in (("/b/{name}/{action}", act), ("/bulk/{action}", act_on_many)):
        router.add_api_route(path, endpoint, methods=["GET"], include_in_schema=False, response_model=None)
    router.add_api_route("/static/{name}", read_one, include_in_schema=False, response_model=None)
    return router


def add_status(  # noqa: PLR0917
    app: Any,
    registry: Registry,
    path: str,
    authorize: Authorize | Dependency | None,
    public: bool,
    trusted_origins: Collection[str],
) -> None:
    """Mount the admin endpoint outside the application's own dependencies, and tell of it in its OpenAPI.

    Raises:
        ValueError: The path is none.
    """
    if not path.startswith("/") or path.endswith("/"):
        raise ValueError(f"install(status={path!r}): must begin with / and not end with one")
    if not isinstance(app, FastAPI):
        if isinstance(authorize, Dependency):
            raise TypeError("install(authorize=Depends(...)) needs a FastAPI application")
        app.mount(
            path, StatusApp(registry, authorize=authorize, public=public, trusted_origins=trusted_origins)
        )
        return
    inner = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, title="breakers")
    inner.debug = app.debug
    inner.router.dependency_overrides_provider = app
    inner.include_router(
        status_router(registry, authorize=authorize, public=public, trusted_origins=trusted_origins)
    )
    app.mount(path, inner)
    describe = app.openapi

    def openapi() -> dict[str, Any]:
        told = describe()
        own = inner.openapi()
        for below, operations in own["paths"].items():
            told["paths"].setdefault(f"{path}{below}", operations)
        for kind, parts in own.get("components", {}).items():
            for name, part in parts.items():
                told.setdefault("components", {}).setdefault(kind, {}).setdefault(name, part)
        return told

    vars(app)["openapi"] = openapi


class _Delegated(Response):
    """Lets the ASGI application answer, once the framework has asked who the request is."""

    def __init__(self, status: StatusApp, actor: object, request: Request) -> None:
        super().__init__()
        self._status = status
        self._actor = actor
        # The router may be included below a prefix: what its routes do not say is the endpoint's own path.
        path: str = request.scope["path"]
        template: str = request.scope["route"].path
        root: str = request.scope.get("root_path", "")
        self._below = _endpoint_path(path, template, root)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._status.respond(scope, receive, send, actor=self._actor, below=self._below)


def _endpoint_path(path: str, template: str, root: str) -> str:
    inside = path.removeprefix(root)
    for own in ("/events", "/health", "/schema", "/"):
        if template.endswith(own) and inside.endswith(own):
            return root + inside[: -len(own)]
    pieces = 3 if template.endswith("/b/{name}/{action}") else 2
    return root + "/".join(inside.split("/")[:-pieces])


def _never(_request: object, _action: str) -> None:
    """Stand where a dependency has been asked."""
