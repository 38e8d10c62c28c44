"""`ROUTES` guards the endpoints of FastAPI and Starlette applications that it names."""

import functools
from typing import Annotated

import pytest
from fastapi import APIRouter, Depends, FastAPI, HTTPException, WebSocket
from fastapi.responses import StreamingResponse
from starlette.applications import Starlette
from starlette.authentication import requires
from starlette.endpoints import HTTPEndpoint
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route, WebSocketRoute

from http_tools import Clock, ask, cache, open_circuit
from recloser import ConfigurationError
from recloser.asgi import CircuitBreakerMiddleware
from recloser.fastapi import guard, install
from recloser.registry import Registry

pytestmark = pytest.mark.anyio

FIXED = [{"stale": 600}, {"json": {"fixed": True}}]


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param


def shop(routes, clock=None, **defaults):
    clock = clock or Clock()
    declaration = {
        "DEFAULTS": {"failure_threshold": 1, "recovery_timeout": 10, "recovery_jitter": 0, **defaults},
        "BREAKERS": {"inventory": {}, "payments": {}},
        "ROUTES": routes,
    }
    return Registry.from_mapping(declaration, environ={}, clock=clock, wall_clock=clock.of_day)


def guarded(entry, plan=FIXED, breakers=("inventory",), app=None, **more):
    """An application, and the registry whose only route names `entry`."""
    app = FastAPI() if app is None else app
    clock = Clock()
    registry = shop({entry: {"breakers": list(breakers), "plan": plan, **more}}, clock)
    install(app, registry, cache=cache(clock))
    return app, registry


def counts(registry, name="inventory"):
    seen = registry[name].snapshot()
    return seen.calls, seen.failures, seen.ignored


# -- what an entry names -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "named"),
    [
        ("product", True),
        ("/v1/products/{number}", True),
        ("/v1/products/{number:int}", True),
        ("/v1/*", True),
        ("/*/products/*", True),
        ("/products/{number}", False),
        ("/v1/products/", False),
        ("other", False),
    ],
)
async def test_an_entry_is_a_name_or_the_whole_path(entry, named):
    """The path has the prefixes of all routers around, and `*` stands for anything."""
    app, registry = guarded(entry)
    router = APIRouter(prefix="/products")

    @router.get("/{number:int}")
    async def product(number: int) -> int:
        return number

    inner = APIRouter()
    inner.include_router(router)
    app.include_router(inner, prefix="/v1")
    app.get("/decoy")(lambda: 1)

    if not named:
        with pytest.raises(ConfigurationError, match="must be the name or the path of a route"):
            raise (await ask(app, "/v1/products/7")).error
        return
    assert (await ask(app, "/v1/products/7")).body == b"7"
    open_circuit(registry)
    assert (await ask(app, "/v1/products/8")).body == b'{"fixed":true}'
    assert (await ask(app, "/decoy")).body == b"1"


async def test_one_entry_guards_all_endpoints_of_its_name():
    """A router that is included twice has each name twice."""
    app, registry = guarded("product")
    router = APIRouter()

    @router.get("/product")
    def product() -> int:
        return 1

    app.include_router(router, prefix="/v1")
    app.include_router(router, prefix="/v2")

    await ask(app, "/v1/product")
    await ask(app, "/v2/product")
    assert counts(registry) == (2, 0, 0)


async def test_only_the_named_inclusion_is_guarded():
    """The same endpoint elsewhere is another route."""
    app, registry = guarded("/v1/product")
    router = APIRouter()

    @router.get("/product")
    async def product() -> int:
        return 1

    app.include_router(router, prefix="/v1")
    app.include_router(router, prefix="/v2")

    assert (await ask(app, "/v1/product")).status == 200
    open_circuit(registry)
    assert (await ask(app, "/v2/product")).body == b"1"
    assert (await ask(app, "/v1/product")).headers["recloser"] == "degraded"


@pytest.mark.parametrize("entry", ["api:product", "/api/product"])
@pytest.mark.parametrize("inner", [FastAPI, Starlette])
async def test_routes_of_mounted_applications_have_the_mounts_name_or_path(entry, inner):
    """As `url_for` knows them; an application that is mounted twice is guarded once."""
    app, registry = guarded(entry)
    mounted = inner()
    if inner is FastAPI:
        mounted.get("/product", name="product")(lambda: 7)
    else:
        mounted.router.routes.append(Route("/product", lambda _: PlainTextResponse("7"), name="product"))
    app.mount("/api", mounted, name="api")
    app.mount("/old", mounted, name="old")

    assert (await ask(app, "/api/product")).body == b"7"
    assert counts(registry) == (1, 0, 0)


# -- what is wrong with an entry shows at start ----------------------------------------------------------------


async def test_all_that_is_wrong_is_listed_at_once():
    """An entry that names nothing, plans that can never answer, and what is wrong elsewhere."""
    registry = shop(
        {
            "prodct": {"breakers": ["inventory"]},
            "/ordrs": {"breakers": ["inventory"]},
            "order": {"breakers": ["payments"], "plan": [{"stale": 60}]},
            "page": {"breakers": ["payments"], "plan": {"payments": [{"template": "a.html"}]}},
        }
    )
    app = FastAPI()
    install(app, registry)

    @app.get("/products/{number}")
    @guard("stock")
    async def product(number: int) -> int:
        return number

    @app.post("/orders")
    async def order() -> None: ...

    @app.get("/page")
    async def page() -> None: ...

    error = (await ask(app, "/products/7")).error
    assert isinstance(error, ConfigurationError)
    told = str(error)
    assert 'RECLOSER["ROUTES"]["prodct"] must be the name or the path of a route of the application' in told
    assert "(did you mean 'product'?), got 'prodct'" in told
    assert "(did you mean '/orders'?), got '/ordrs'" in told
    assert '["order"]["plan"][0] can never answer: responses are kept for GET routes only' in told
    assert 'RECLOSER["ROUTES"]["page"]: guard(\'payments\').plan[0] needs' in told
    assert "GET /products/{number}: guard('stock') must name a declared breaker" in told
    assert len(error.problems) == 5


async def test_a_plan_that_cannot_be_read_is_told_once():
    """However many breakers it stands for."""
    app, _ = guarded("page", [{"stael": 60}], ["inventory", "payments"])

    @app.get("/page")
    async def page() -> None: ...

    (problem,) = (await ask(app)).error.problems
    assert problem.path == 'RECLOSER["ROUTES"]["page"]["plan"][0]'


def test_the_middleware_alone_refuses_routes_that_it_cannot_tell_apart():
    """A declared guard that never runs would protect nothing."""
    with pytest.raises(ConfigurationError, match=r'\["page"\] needs recloser.fastapi.install'):
        CircuitBreakerMiddleware(Starlette(), shop({"page": {"breakers": ["inventory"]}}))


async def test_starting_twice_guards_once():
    """Each start of the same application, in tests say, finds the guards in place."""
    app, registry = guarded("page")

    @app.get("/page")
    async def page() -> int:
        return 1

    for _ in range(3):
        assert (await ask(app)).status == 200
    assert counts(registry) == (3, 0, 0)


@pytest.mark.parametrize("kind", ["async", "sync", "starlette"])
async def test_an_entry_guards_the_requests_of_its_own_application_only(kind):
    """A mounted application that others mount too stays unguarded there, and when it serves on its own."""
    part = FastAPI()

    async def later() -> str:
        return "good"

    def page() -> str:
        return "good"

    if kind == "starlette":
        part.router.routes.append(Route("/page", lambda _: PlainTextResponse("good")))
    else:
        part.get("/page")(later if kind == "async" else page)
    app, registry = guarded("/part/page", app=FastAPI())
    app.mount("/part", part)
    others = FastAPI()
    install(others, Registry({"BREAKERS": {"payments": {}}}))
    others.mount("/part", part)
    for _ in range(3):
        again, _ = guarded("/part/page", app=FastAPI())
        again.mount("/part", part)
        assert (await ask(again, "/part/page")).status == 200
    assert (await ask(app, "/part/page")).status == 200
    assert counts(registry) == (1, 0, 0)
    open_circuit(registry)
    assert (await ask(app, "/part/page?new")).status == (503 if kind == "starlette" else 200)
    assert b"good" in (await ask(others, "/part/page")).body
    assert b"good" in (await ask(part)).body


# -- whose outcome counts, what answers --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["async", "sync", "stream", "object"])
async def test_the_endpoints_outcome_counts_once_per_breaker(kind):
    """Whatever the endpoint is, and as what its breakers judge it."""
    app, registry = guarded("page", breakers=["inventory", "payments"])
    fails = False

    def broken():
        if fails:
            raise ConnectionError

    async def page_async() -> int:
        broken()
        return 1

    def page_sync() -> int:
        broken()
        return 1

    async def page_stream():
        broken()
        yield 1

    class Page:
        async def __call__(self) -> int:
            broken()
            return 1

    endpoints = {"async": page_async, "sync": page_sync, "stream": page_stream, "object": Page()}
    app.get("/page", name="page")(endpoints[kind])

    assert (await ask(app)).status == 200
    assert counts(registry) == counts(registry, "payments") == (1, 0, 0)
    fails = True
    await ask(app)
    assert [registry[name].state for name in registry] == ["open", "open"]


async def test_a_handled_exception_still_counts():
    """As with the decorator: whatever a handler makes of it."""
    app, registry = guarded("page")
    app.add_exception_handler(ConnectionError, lambda request, error: PlainTextResponse("handled"))

    @app.get("/page")
    async def page() -> None:
        raise ConnectionError

    assert (await ask(app)).body == b"handled"
    assert registry["inventory"].state == "open"


@pytest.mark.parametrize(("record", "state"), [(None, "open"), (True, "open"), (False, "closed")])
async def test_record_says_whether_the_endpoints_outcome_counts(record, state):
    """As for `guard`."""
    app, registry = guarded("page", record=record)

    @app.get("/page")
    async def page() -> None:
        raise ConnectionError

    await ask(app)
    assert registry["inventory"].state == state


async def test_each_breaker_of_a_route_may_have_a_plan_of_its_own():
    """A mapping gives one per breaker; the first breaker of the route that refuses is answered for."""
    plan = {name: [{"json": f"without {name}"}] for name in ("inventory", "payments")}
    app, registry = guarded("page", plan, ["inventory", "payments"])

    @app.get("/page")
    async def page() -> None: ...

    await ask(app)
    open_circuit(registry, "payments")
    assert (await ask(app)).body == b'"without payments"'
    open_circuit(registry, "inventory")
    assert (await ask(app)).body == b'"without inventory"'


async def test_a_declared_plan_outranks_the_codes():
    """Both guards ask the same breaker, once; whoever runs the application has the last word."""
    app, registry = guarded("page", [{"json": "declared"}])

    @app.get("/page")
    @guard("inventory", plan=[{"json": "code"}])
    async def page() -> None: ...

    await ask(app)
    assert counts(registry) == (1, 0, 0)
    open_circuit(registry)
    assert (await ask(app)).body == b'"declared"'


async def test_a_kept_page_answers():
    """The last good one, before anything else of the plan."""
    app, registry = guarded("page")
    served = 0

    @app.get("/page")
    async def page() -> int:
        nonlocal served
        served += 1
        return served

    await ask(app)
    open_circuit(registry)
    kept = await ask(app)
    assert (kept.body, served) == (b"1", 1)
    assert kept.headers["cache-status"].startswith("recloser; hit")


async def test_a_websocket_is_refused_before_it_is_accepted():
    """FastAPI's or Starlette's."""
    registry = shop({"/chat*": {"breakers": ["inventory"]}})
    app = FastAPI()
    install(app, registry)

    @app.websocket("/chat")
    async def chat(socket: WebSocket) -> None:
        await socket.accept()

    async def plain(socket: WebSocket) -> None:
        await socket.accept()

    app.router.routes.append(WebSocketRoute("/chat-plain", plain))

    for path in ("/chat", "/chat-plain"):
        assert (await ask(app, path, kind="websocket")).messages[0]["type"] == "websocket.accept"
    assert counts(registry) == (2, 0, 0)
    open_circuit(registry)
    for path in ("/chat", "/chat-plain"):
        refused = await ask(app, path, kind="websocket")
        assert refused.messages == [
            {"type": "websocket.close", "code": 1013, "reason": "service unavailable"}
        ]


async def test_openapi_lists_the_503():
    """Before the application has started, too."""
    app, _ = guarded("/page")
    mounted = FastAPI()
    app.get("/page")(lambda: 1)
    app.get("/other", response_model=None)(lambda: 1)
    app.mount("/sub", mounted)

    described = app.openapi()["paths"]
    assert "503" in described["/page"]["get"]["responses"]
    assert "503" not in described["/other"]["get"]["responses"]


async def test_openapi_of_a_mounted_application_lists_the_503():
    """Once the outer one has started, which knows its prefix."""
    app, _ = guarded("/sub/page")
    mounted = FastAPI()
    mounted.get("/page")(lambda: 1)
    app.mount("/sub", mounted)

    await ask(app, "/sub/page")
    assert "503" in mounted.openapi()["paths"]["/page"]["get"]["responses"]


# -- access first ------------------------------------------------------------------------------------------------


def signed_in(token: str = "") -> str:
    if token != "ann":
        raise HTTPException(401)
    return token


@pytest.mark.parametrize("circuit", ["open", "closed"])
@pytest.mark.parametrize("plan", [[{"stale": 60}], [{"json": 1}], [{"response": "x"}], ["unavailable"]])
async def test_who_may_not_see_the_page_gets_the_same_401(circuit, plan):
    """The guard runs after all dependencies, whatever its plan."""
    app, registry = guarded("page", plan)

    @app.get("/page")
    async def page(user: Annotated[str, Depends(signed_in)]) -> str:
        return user

    await ask(app, "/page?token=ann")
    if circuit == "open":
        open_circuit(registry)
    assert (await ask(app, "/page")).status == 401
    assert (await ask(app, "/page?token=bob")).status == 401
    assert (await ask(app, "/page?token=ann")).status == (
        503 if plan == ["unavailable"] and circuit == "open" else 200
    )


async def test_invalid_input_is_a_422_with_the_circuit_open():
    """FastAPI has checked the input before the guard is asked."""
    app, registry = guarded("page")

    @app.get("/page")
    async def page(number: int) -> int:
        return number

    await ask(app, "/page?number=1")
    open_circuit(registry)
    assert (await ask(app, "/page?number=x")).status == 422


def signed(function):
    """A decorator that checks access, as applications write them."""

    @functools.wraps(function)
    async def checked(*args, **kwargs):
        if kwargs.get("token") != "ann":
            raise HTTPException(401)
        return await function(*args, **kwargs)

    return checked


async def test_what_a_decorator_checks_is_not_passed_by_a_fixed_answer():
    """A decorated endpoint may check access after its guard: early, only public answers are given."""
    app, registry = guarded("page", [{"json": "secret"}], breakers=["inventory", "payments"])

    @app.get("/page")
    @signed
    async def page(token: str) -> None:
        with registry["payments"].calling():
            pass

    await ask(app, "/page?token=ann")
    open_circuit(registry, "inventory")
    assert (await ask(app, "/page?token=bob")).status == 503
    assert (await ask(app, "/page?token=ann")).status == 503


async def test_what_comes_out_of_a_decorated_endpoint_is_answered_by_the_whole_plan():
    """It has passed the decorator's checks by then."""
    app, registry = guarded("page", [{"json": "secret"}])

    @app.get("/page")
    @signed
    async def page(token: str) -> None:
        with registry["payments"].calling():
            pass

    open_circuit(registry, "payments")
    assert (await ask(app, "/page?token=bob")).status == 401
    assert (await ask(app, "/page?token=ann")).body == b'"secret"'


async def test_a_dependencys_refusal_gets_public_answers_only():
    """It comes before the endpoint, and perhaps before a check of access."""
    app, registry = guarded("page", [{"json": "secret"}])

    async def stock() -> None:
        with registry["payments"].calling():
            pass

    @app.get("/page", dependencies=[Depends(stock)])
    async def page() -> None: ...

    open_circuit(registry, "payments")
    assert (await ask(app)).status == 503


# -- Starlette ---------------------------------------------------------------------------------------------------


class Page(HTTPEndpoint):
    def get(self, request):
        request.app.state.seen.append("class")
        with request.app.state.registry["payments"].calling():
            return PlainTextResponse("page")


async def page(request):
    request.app.state.seen.append("function")
    with request.app.state.registry["payments"].calling():
        return PlainTextResponse("page")


@pytest.mark.parametrize("endpoint", [page, Page], ids=["function", "class"])
async def test_starlettes_own_routes_are_guarded_before_all_else(endpoint):
    """Nobody can tell where they check access: a kept page or a 503; the whole plan once they have run."""
    app, registry = guarded("page", app=Starlette(routes=[Route("/page", endpoint, name="page")]))
    app.state.seen, app.state.registry = [], registry

    assert (await ask(app)).body == b"page"
    assert counts(registry) == (1, 0, 0)
    open_circuit(registry, "payments")
    assert (await ask(app, "/page?new")).body == b'{"fixed":true}'
    assert len(app.state.seen) == 2
    open_circuit(registry, "inventory")
    assert (await ask(app)).headers["cache-status"].startswith("recloser; hit")
    assert (await ask(app, "/page?newer")).status == 503
    assert len(app.state.seen) == 2


async def test_a_starlette_route_inside_an_included_router_is_guarded():
    """FastAPI makes a route of its own of it."""
    app, registry = guarded("/v1/page")
    router = APIRouter()
    router.routes.append(Route("/page", lambda _: PlainTextResponse("page")))
    app.include_router(router, prefix="/v1")

    assert (await ask(app, "/v1/page")).status == 200
    assert counts(registry) == (1, 0, 0)


async def test_requires_is_not_passed():
    """Starlette's own decorator answers 403 to strangers, with the circuit open as well, but for public answers."""

    @requires("authenticated")
    async def private(request):
        return PlainTextResponse("private")

    class Nobody:
        def __init__(self, app):
            self.app = app

        async def __call__(self, scope, receive, send):
            scope["auth"] = type("Auth", (), {"scopes": []})()
            await self.app(scope, receive, send)

    outer = Starlette(routes=[Mount("/", routes=[Route("/page", private)])], middleware=[Middleware(Nobody)])
    app, registry = guarded("/page", [{"json": "secret"}], app=outer)

    assert (await ask(app)).status == 403
    open_circuit(registry)
    assert (await ask(app)).status == 503


async def test_a_stream_that_breaks_off_is_a_failure():
    """A Starlette route's, as any other's."""

    async def body():
        yield b"half"
        raise ConnectionError

    async def stream(request):
        return StreamingResponse(body())

    app, registry = guarded("stream", app=Starlette(routes=[Route("/page", stream)]))

    await ask(app)
    assert registry["inventory"].state == "open"


# -- counted failures --------------------------------------------------------------------------------------------


async def broken(token: str = "") -> None:
    raise ConnectionError


@pytest.mark.parametrize(
    ("endpoint", "query", "expected"),
    [
        (broken, "", b'"fixed"'),
        (signed(broken), "?token=bob", b""),
        (signed(broken), "?token=ann", b'"fixed"'),
    ],
    ids=["bare", "decorated, a stranger", "decorated, past its check"],
)
async def test_a_declared_plan_may_answer_failures(endpoint, query, expected):
    """Of what has passed all checks; a stranger's 401 stays what it is."""
    app, _ = guarded("page", [{"json": "fixed"}], on=["open", "failure"])
    app.get("/page", name="page")(endpoint)

    answer = await ask(app, f"/page{query}")
    assert answer.body == expected or (answer.status, expected) == (401, b"")


async def test_a_starlette_routes_failure_is_answered_once_it_has_come_out_of_the_endpoint():
    """An answer of its own with a 5xx may have come before its checks."""

    async def failing(request):
        if "answer" in request.query_params:
            return PlainTextResponse("own", status_code=502)
        raise ConnectionError

    starlette = Starlette(routes=[Route("/page", failing, name="page")])
    app, _ = guarded("page", [{"json": "fixed"}], app=starlette, on=["open", "failure"])
    assert (await ask(app, "/page?answer")).body == b"own"

    starlette = Starlette(routes=[Route("/page", failing, name="page")])
    app, _ = guarded("page", [{"json": "fixed"}], app=starlette, on=["open", "failure"])
    assert (await ask(app)).body == b'"fixed"'
