"""`install`: where the middleware stands, whose handlers win, what is checked at start, what mounted parts get."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import Annotated

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.middleware.gzip import GZipMiddleware
from fastapi.middleware.trustedhost import TrustedHostMiddleware
from fastapi.testclient import TestClient
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Host, Mount, Route

from http_tools import Clock, ask, cache, open_circuit, shop
from recloser import CallRejectedError, CircuitBreaker, CircuitOpenError, ConfigurationError, RecloserError
from recloser.asgi import CircuitBreakerMiddleware
from recloser.fastapi import breaker, guard, install
from recloser.http import plans
from recloser.registry import Registry

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def registry(clock):
    return shop(clock)


@asynccontextmanager
async def client_of(app, **knobs):
    transport = httpx.ASGITransport(app, **knobs)
    async with httpx.AsyncClient(transport=transport, base_url="https://shop.example") as client:
        yield client


async def get(app, path="/page", **headers):
    async with client_of(app, raise_app_exceptions=False) as client:
        return await client.get(
            path, headers={name.replace("_", "-"): value for name, value in headers.items()}
        )


async def started(app):
    """Run the application's start and end; return the messages it sent."""
    told = await ask_lifespan(app)
    return [message["type"] for message in told.messages], told.error, told.messages


async def ask_lifespan(app):
    return await ask(app, kind="lifespan", scope={"state": {}})


def token(request: Request) -> str:
    request.session["token"] = "secret"
    return "secret"


class Marked:
    """A middleware that marks what passes it."""

    def __init__(self, app, name):
        self.app = app
        self.name = name

    async def __call__(self, scope, receive, send):
        async def mark(message):
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-passed", self.name.encode())]
            await send(message)

        await self.app(scope, receive, mark)


# -- where it stands -----------------------------------------------------------------------------------------


async def test_the_middleware_is_innermost_whatever_is_added_later(registry):
    """All that stands around it wraps its answers."""
    app = FastAPI(middleware=[Middleware(Marked, name="given")])
    app.add_middleware(Marked, name="before")
    install(app, registry)
    app.add_middleware(Marked, name="after")

    @app.get("/page")
    @guard("inventory")
    async def page():
        return "good"

    @app.get("/group")
    async def group():
        try:
            registry["inventory"].acquire()
        except CircuitOpenError as refused:
            raise ExceptionGroup("tasks", [refused]) from None

    open_circuit(registry)
    for path in ("/page", "/group"):
        answer = await get(app, path)
        assert answer.status_code == 503
        assert answer.headers.get_list("x-passed") == ["given", "before", "after"]


async def test_cors_compression_and_sessions_wrap_a_replayed_answer(registry, clock):
    """Each for its own receiver: what the first one got is not kept."""
    app = FastAPI()
    install(app, registry, cache=cache(clock))
    app.add_middleware(GZipMiddleware, minimum_size=100)
    app.add_middleware(SessionMiddleware, secret_key="secret")
    app.add_middleware(CORSMiddleware, allow_origins=["https://a.example", "https://b.example"])
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=["shop.example"])

    @app.get("/page")
    @guard("inventory", plan=[plans.stale(600)])
    async def page():
        return {"text": "good" * 100}

    first = await get(app, origin="https://a.example", accept_encoding="gzip")
    open_circuit(registry)
    zipped = await get(app, origin="https://b.example", accept_encoding="gzip")
    plain = await get(app, accept_encoding="identity")
    assert first.headers["access-control-allow-origin"] == "https://a.example"
    assert zipped.headers["access-control-allow-origin"] == "https://b.example"
    assert zipped.headers["content-encoding"] == "gzip"
    assert zipped.headers["cache-status"] == "recloser; hit; ttl=0; detail=circuit-open"
    assert "access-control-allow-origin" not in plain.headers
    assert "content-encoding" not in plain.headers
    assert first.json() == zipped.json() == plain.json()
    assert (await get(app, host="evil.example")).status_code == 400


async def test_what_a_session_touched_is_not_kept(registry, clock):
    """The cookie is set outside, where nobody here sees it."""
    app = FastAPI()
    install(app, registry, cache=cache(clock))
    app.add_middleware(SessionMiddleware, secret_key="secret")

    @app.get("/page")
    @guard("inventory", plan=[plans.stale(600)])
    async def page(request: Annotated[str, Depends(token)]):
        return request

    first = await get(app)
    assert "set-cookie" in first.headers
    open_circuit(registry)
    assert (await get(app)).status_code == 503


async def test_the_scope_is_seen_behind_middleware_that_starts_tasks(registry):
    """`BaseHTTPMiddleware` runs the application in another task; the endpoint in a thread."""
    app = FastAPI()
    install(app, registry)

    async def pass_on(request, call_next):
        return await call_next(request)

    app.add_middleware(BaseHTTPMiddleware, dispatch=pass_on)

    @app.get("/page")
    @guard("inventory", plan=[plans.json("fixed")])
    def page():
        return "good"

    assert (await get(app)).json() == "good"
    assert registry["inventory"].snapshot().calls == 1
    open_circuit(registry)
    assert (await get(app)).json() == "fixed"


async def test_a_middleware_inside_a_mount_wraps_the_answer(registry):
    """The answer is made where the refusal leaves the route."""

    @guard("inventory")
    async def page(request):
        return PlainTextResponse("good")

    inner = [Route("/page", page)]
    app = FastAPI(routes=[Mount("/part", routes=inner, middleware=[Middleware(Marked, name="mount")])])
    install(app, registry)
    open_circuit(registry)
    answer = await get(app, "/part/page")
    assert answer.status_code == 503
    assert answer.headers["x-passed"] == "mount"


# -- handlers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", [CircuitOpenError, CallRejectedError, RecloserError])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_handler_of_the_users_own_wins(registry, family, when):
    """For the error or any of its bases, added before or after."""
    app = FastAPI()

    async def own(request, error):
        return JSONResponse({"own": error.breaker}, 418)

    if when == "before":
        app.add_exception_handler(family, own)
    install(app, registry)
    if when == "after":
        app.add_exception_handler(family, own)

    @app.get("/page")
    @guard("inventory", plan=[plans.json("fixed")])
    async def page():
        return "good"

    open_circuit(registry)
    answer = await get(app)
    assert answer.status_code == 418
    assert answer.json() == {"own": "inventory"}


async def test_a_handler_for_everything_does_not_hide_the_plan(registry):
    """`Exception` is the last resort, and stands outside."""
    app = FastAPI()
    install(app, registry)
    app.add_exception_handler(Exception, lambda request, error: PlainTextResponse("oops", 500))

    @app.get("/page")
    async def page():
        registry["inventory"].acquire()

    open_circuit(registry)
    assert (await get(app)).status_code == 503


async def test_other_errors_of_the_family_are_errors(registry):
    """The handler answers refusals only."""
    app = FastAPI()
    install(app, registry)

    @app.get("/page")
    async def page():
        raise ConfigurationError([])

    told = await ask(app, "/page")
    assert isinstance(told.error, ConfigurationError)
    assert told.status == 500


# -- refusals from anywhere ------------------------------------------------------------------------------------


async def test_a_refusal_is_answered_wherever_it_comes_from(registry):
    """An endpoint, sync or async, a dependency, a dependency that yields, a task group."""
    import anyio

    app = FastAPI()
    install(app, registry)

    def refuse():
        registry["inventory"].acquire()

    def yielding():
        yield
        registry["inventory"].acquire()

    @app.get("/async")
    async def in_async():
        refuse()

    @app.get("/sync")
    def in_sync():
        refuse()

    @app.get("/dependency", dependencies=[Depends(refuse)])
    async def in_dependency():
        return "good"

    @app.get("/group")
    async def in_group():
        async def task():
            refuse()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(task)

    open_circuit(registry)
    for path in ("/async", "/sync", "/dependency", "/group"):
        assert (await get(app, path)).status_code == 503, path


# -- start -----------------------------------------------------------------------------------------------------


async def test_everything_wrong_with_the_routes_stops_the_start_at_once(registry):
    """Every name and every plan, in included routers and mounted applications too."""
    app = FastAPI()
    install(app, registry)
    router = APIRouter(prefix="/router")
    mounted = FastAPI()

    @app.get("/page")
    @guard("inventroy", plan=[plans.unavailable(), plans.json({})])
    async def page():
        pass

    @app.post("/order")
    @guard("payments", plan=[{"stale": 60}, {"json": {}, "statsu": 1}])
    async def order():
        pass

    @router.post("/order")
    @guard("payments", plan=[plans.stale(60)])
    def included_order(payments: Annotated[CircuitBreaker, breaker("paymnets")]):
        pass

    @mounted.get("/stock")
    @guard("stock")
    async def stock():
        pass

    app.include_router(router)
    app.mount("/mounted", mounted)
    told, error, messages = await started(app)
    assert told == ["lifespan.startup.failed"]
    assert isinstance(error, ConfigurationError)
    assert [str(problem) for problem in error.problems] == [
        (
            "GET /page: guard('inventroy') must name a declared breaker (inventory, payments) "
            "(did you mean 'inventory'?), got 'inventroy'"
        ),
        (
            "GET /page: guard('inventroy').plan[1] can never answer: unavailable, which stands before it, "
            "always does, got json"
        ),
        "POST /order: guard('payments').plan[1].statsu is no option of json (did you mean 'status'?), got 1",
        (
            "POST /router/order: guard('payments').plan[0] can never answer: responses are kept for GET "
            "routes only, got stale"
        ),
        (
            "POST /router/order: breaker('paymnets') must name a declared breaker (inventory, payments) "
            "(did you mean 'payments'?), got 'paymnets'"
        ),
        "GET /mounted/stock: guard('stock') must name a declared breaker (inventory, payments), got 'stock'",
    ]
    assert "6 problems" in messages[0]["message"]


async def test_a_guard_above_the_routes_decorator_is_an_error(registry):
    """It would never run."""
    app = FastAPI()
    install(app, registry)

    @guard("inventory")
    @app.get("/page")
    async def page():
        pass

    _, error, _ = await started(app)
    assert isinstance(error, ConfigurationError)
    assert "GET /page must be guarded below the route's decorator, or the guard never runs" in str(error)


async def test_an_endpoint_may_be_routed_with_and_without_its_guard(registry):
    """On purpose."""
    app = FastAPI()
    install(app, registry)

    async def page():
        return "good"

    app.get("/free")(page)
    app.get("/guarded")(guard("inventory")(page))
    assert (await started(app))[1] is None
    open_circuit(registry)
    assert (await get(app, "/free")).status_code == 200
    assert (await get(app, "/guarded")).status_code == 503


async def test_a_guard_that_nobody_routes_is_no_mistake(registry):
    """Only an endpoint that is served without the guard made of it is."""
    app = FastAPI()
    install(app, registry)

    async def page():
        return "good"

    guard("payments")(page)
    app.get("/page")(guard("inventory")(page))
    assert (await started(app))[1] is None


async def test_without_a_lifespan_the_first_request_finds_the_mistake(registry):
    """Every request does, until it is mended."""
    app = FastAPI()
    install(app, registry)

    @app.get("/page")
    @guard("nothing")
    async def page():
        pass

    for _ in range(2):
        assert isinstance((await ask(app)).error, ConfigurationError)


async def test_the_users_lifespan_runs_and_is_left_when_the_start_is_refused(registry):
    """What it opened is closed."""
    seen = []

    @asynccontextmanager
    async def lifespan(app):
        seen.append("open")
        try:
            yield
        finally:
            seen.append("closed")

    app = FastAPI(lifespan=lifespan)
    install(app, registry)

    @app.get("/page")
    @guard("nothing")
    async def page():
        pass

    await started(app)
    assert seen == ["open", "closed"]


@pytest.fixture
def member(tmp_path) -> Registry:
    """A registry that is a member of a fleet."""
    return Registry({"STORE": f"sqlite://{tmp_path}/fleet/store.db", "BREAKERS": {"inventory": {}}})


async def test_the_registry_is_open_from_before_the_users_lifespan_until_after_it(member):
    """What runs at the start and the end may use its breakers; at a second start it is opened again."""
    told = []

    @asynccontextmanager
    async def lifespan(app):
        told.append(member.ready(30))
        yield
        told.append(str(member.store_health.connection))

    app = FastAPI(lifespan=lifespan)
    install(app, member)
    for _ in range(2):
        messages, error, _ = await started(app)
        assert error is None
        assert messages == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
        told.append(str(member.store_health.connection))
    assert told == [True, "up", "closed"] * 2


def test_applications_that_share_a_registry_leave_the_fleet_with_the_last_of_them(member):
    """Whichever ends first; one of whom the start is refused does not count; a second start joins again."""
    inner, outer, broken = FastAPI(), FastAPI(), FastAPI()
    for app in (inner, outer, broken):
        install(app, member)
    broken.get("/page")(guard("nothing")(token))
    for first, last in [(inner, outer), (outer, inner)]:
        one, other = TestClient(first), TestClient(last)
        with other:
            with one:
                assert member.ready(30)
            with pytest.raises(ConfigurationError), TestClient(broken):
                pass
            assert member.store_health.connection == "up"
        assert member.store_health.connection == "closed"


def test_who_closes_a_registry_closes_it_for_all(member):
    """An explicit `close` waits for no application, and the end of a lifespan after it does no harm."""
    app = FastAPI()
    install(app, member)
    with TestClient(app):
        assert member.ready(30)
        member.close()
        assert member.store_health.connection == "closed"
        with member:
            assert member.ready(30)
        assert member.store_health.connection == "up"
    assert member.store_health.connection == "closed"


async def test_install_is_called_once_and_in_time(registry):
    """Anything else would be silently without effect."""
    app = FastAPI()
    install(app, registry)
    with pytest.raises(RuntimeError, match="once per application"):
        install(app, registry)
    served = FastAPI()
    await get(served)
    with pytest.raises(RuntimeError, match="before the application serves anything"):
        install(served, registry)


def test_wrong_plans_of_breakers_are_found_by_install():
    """Before any route exists."""
    with pytest.raises(ConfigurationError, match="belongs to a route's plan"):
        install(FastAPI(), shop(inventory={"plan": [{"json": {}}]}))


@pytest.mark.parametrize(
    ("debug", "expose", "is_exposed"),
    [(False, None, False), (True, None, True), (True, False, False), (False, True, True)],
)
async def test_names_are_exposed_in_debug_mode_or_on_demand(registry, debug, expose, is_exposed):
    """Never by default in production."""
    app = FastAPI(debug=debug)
    install(app, registry, expose=expose)

    @app.get("/page")
    async def page():
        registry["inventory"].acquire()

    open_circuit(registry)
    assert (b"inventory" in (await get(app)).content) is is_exposed


# -- plans -----------------------------------------------------------------------------------------------------


async def test_the_nearest_plan_answers(clock):
    """The guard's of that breaker, any guard's of the route, the breaker's own, the default."""
    registry = shop(clock, inventory={"plan": [{"stale": 600}]}, third={})
    app = FastAPI()
    install(app, registry, cache=cache(clock))
    calls = []

    @app.get("/both")
    @guard("payments", plan=[plans.json("payments")])
    @guard("inventory", plan=[plans.json("inventory")])
    async def both():
        for name in calls:
            registry[name].acquire()

    @app.get("/own")
    @guard("inventory")
    async def own():
        return "good"

    @app.get("/injected")
    async def injected(inventory: Annotated[CircuitBreaker, breaker("inventory")]):
        inventory.acquire().success()
        return "good"

    await get(app, "/own")
    await get(app, "/injected")
    registry["inventory"].force_open(by="ann", reason="test")
    assert (await get(app, "/both")).json() == "inventory"
    assert (await get(app, "/own")).json() == "good"
    assert (await get(app, "/injected")).json() == "good"
    assert (await get(app, "/own?other")).status_code == 503
    registry["payments"].force_open(by="ann", reason="test")
    assert (await get(app, "/both")).json() == "payments"
    registry["inventory"].auto(by="ann", reason="test")
    registry["payments"].auto(by="ann", reason="test")
    registry["third"].force_open(by="ann", reason="test")
    calls.append("third")
    assert (await get(app, "/both")).json() == "payments"


# -- parts -----------------------------------------------------------------------------------------------------


async def test_included_routers_are_guarded(registry):
    """Nested, with prefixes and dependencies of their own."""
    inner, outer = APIRouter(prefix="/inner"), APIRouter(prefix="/outer")

    @inner.get("/page")
    @guard("inventory", plan=[plans.json("fixed")])
    async def page(number: int = 5):
        return number

    outer.include_router(inner)
    app = FastAPI()
    install(app, registry)
    app.include_router(outer, prefix="/v1")
    assert (await started(app))[1] is None
    assert (await get(app, "/v1/outer/inner/page?number=7")).json() == 7
    open_circuit(registry)
    assert (await get(app, "/v1/outer/inner/page")).json() == "fixed"


@pytest.mark.parametrize("kind", [FastAPI, Starlette])
@pytest.mark.parametrize("is_wrapped", [False, True])
async def test_mounted_applications_are_part_of_it(registry, kind, is_wrapped):
    """A part would make a 500 of a refusal before anybody outside saw it."""
    part = kind()

    @guard("inventory", plan=[plans.json("fixed")])
    async def page(request):
        return PlainTextResponse("good")

    async def group(request):
        try:
            registry["inventory"].acquire()
        except CircuitOpenError as refused:
            raise ExceptionGroup("tasks", [refused]) from None

    part.router.routes.extend([Route("/page", page), Route("/group", group)])
    app = FastAPI()
    install(app, registry)
    app.mount("/part", Marked(part, "part") if is_wrapped else part)
    assert (await started(app))[1] is None
    assert (await get(app, "/part/page")).text == "good"
    open_circuit(registry)
    answer = await get(app, "/part/page")
    assert answer.json() == "fixed"
    assert ("x-passed" in answer.headers) is is_wrapped
    assert (await get(app, "/part/group")).status_code == 503


async def test_an_application_may_be_mounted_in_several(clock):
    """One made at import, say, in an application that each test makes anew: each answers by its own registry."""
    part = FastAPI()

    @part.get("/page")
    @guard("inventory")
    def page():
        return "good"

    @part.get("/failing")
    @guard("inventory", plan=[plans.json("fixed")], on=("open", "failure"))
    def failing():
        raise ConnectionError

    made = []
    for _ in range(3):
        app, registry = FastAPI(), shop(clock)
        install(app, registry)
        app.mount("/part", part)
        assert (await started(app))[1] is None
        made.append((app, registry))
    for app, registry in made:
        assert (await get(app, "/part/page")).text == '"good"'
        assert (await get(app, "/part/failing")).json() == "fixed"
        assert registry["inventory"].state == "open"
        assert "retry-after" in (await get(app, "/part/page")).headers
    assert len(part.user_middleware) == 1
    assert (await get(part)).status_code == 500  # on its own it has no breakers


async def test_an_application_may_be_mounted_after_it_has_served(registry):
    """Tests ask parts on their own, and before or after them the whole."""
    part = FastAPI()

    @part.get("/page")
    def page(inventory: Annotated[CircuitBreaker, breaker("inventory")]):
        return inventory.call(lambda: "good")

    assert (await get(part, "/docs")).status_code == 200
    app = FastAPI()
    install(app, registry)
    app.mount("/part", part)
    assert (await get(app, "/part/page")).json() == "good"
    open_circuit(registry)
    assert (await get(app, "/part/page")).status_code == 503


async def test_a_mounted_applications_own_handler_wins(registry):
    """As in the application itself."""
    part = FastAPI(
        exception_handlers={CircuitOpenError: lambda request, error: PlainTextResponse("own", 418)}
    )

    @part.get("/page")
    @guard("inventory")
    async def page():
        return "good"

    app = FastAPI()
    install(app, registry)
    app.mount("/part", part)
    open_circuit(registry)
    assert (await get(app, "/part/page")).status_code == 418


async def test_a_mounted_application_may_have_breakers_of_its_own(registry, clock):
    """Another registry, another set of names."""
    own = shop(clock, stock={})
    part = FastAPI()
    install(part, own)

    @part.get("/page")
    @guard("stock", plan=[plans.json("fixed")])
    async def page():
        return "good"

    app = FastAPI()
    install(app, registry)
    app.mount("/part", part)
    assert (await started(app))[1] is None
    open_circuit(own, "stock")
    assert (await get(app, "/part/page")).json() == "fixed"


async def test_an_error_of_a_part_that_has_started_its_answer_passes(registry):
    """Nothing is replaced."""
    from starlette.responses import StreamingResponse

    part = FastAPI()

    @part.get("/page")
    async def page():
        async def body():
            yield b"half"
            registry["inventory"].acquire()

        return StreamingResponse(body())

    app = FastAPI()
    install(app, registry)
    app.mount("/part", part)
    open_circuit(registry)
    told = await ask(app, "/part/page")
    assert told.error is not None
    assert told.status == 200
    assert told.body == b"half"


async def test_hosts_are_parts_too(registry):
    """Starlette's `Host` routes."""

    @guard("inventory", plan=[plans.json("fixed")])
    async def page(request):
        return PlainTextResponse("good")

    app = FastAPI(routes=[Host("shop.example", app=Starlette(routes=[Route("/page", page)]))])
    install(app, registry)
    open_circuit(registry)
    assert (await get(app)).json() == "fixed"


async def test_class_based_endpoints_are_looked_at(registry):
    """Their methods carry the guards."""

    class Page(HTTPEndpoint):
        @guard("inventory", plan=[plans.json("fixed")])
        async def get(self, request):
            return PlainTextResponse("good")

    class Wrong(HTTPEndpoint):
        @guard("nothing")
        async def get(self, request):
            pass

    app = Starlette(routes=[Route("/page", Page)])
    install(app, registry)
    open_circuit(registry)
    assert (await get(app)).json() == "fixed"
    wrong = Starlette(routes=[Route("/page", Wrong)])
    install(wrong, registry)
    assert isinstance((await started(wrong))[1], ConfigurationError)


async def test_starlette_works_with_the_middleware_alone(registry):
    """Without `install`, names are looked up when they are needed."""

    @guard("inventory", plan=[plans.json("fixed")])
    async def page(request):
        return PlainTextResponse("good")

    app = Starlette(
        routes=[Route("/page", page)], middleware=[Middleware(CircuitBreakerMiddleware, registry)]
    )
    assert (await get(app)).text == "good"
    open_circuit(registry)
    assert (await get(app)).json() == "fixed"
