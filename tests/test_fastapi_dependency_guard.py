"""`guard` as a dependency: of an endpoint, a router, an application; whom it lets see what, and how it counts."""

from typing import Annotated

import pytest
from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException, WebSocket
from fastapi.openapi.utils import get_openapi
from fastapi.responses import PlainTextResponse
from fastapi.security import HTTPBasic

from http_tools import Clock, ask, cache, open_circuit, shop
from recloser.fastapi import breaker, guard, install
from recloser.http import plans

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def registry(clock):
    return shop(clock, inventory={"failure_threshold": 100})


@pytest.fixture
def make(registry, clock):
    def make(**settings):
        app = FastAPI(**settings)
        install(app, registry, cache=cache(clock))
        return app

    return make


def counts(registry, name="inventory"):
    seen = registry[name].snapshot()
    return seen.calls, seen.failures, seen.ignored


def force_open(registry, name="inventory"):
    registry[name].force_open(by="ann", reason="test")


def current_user(token: Annotated[str, Header()] = ""):
    if not token:
        raise HTTPException(401)
    if token != "ann":
        raise HTTPException(403)
    return token


def strict_user(token: Annotated[str, Header()]):
    return current_user(token)


def strict_inner(user: Annotated[str, Depends(strict_user)]):
    return user


def no_check():
    """Check nothing."""


PLANS = {
    "stale": [plans.stale(600)],
    "json": [plans.json({"secret": "fixed"})],
    "response": [plans.response(b"secret", unsafe=True)],
    "compute": [plans.compute(lambda request, error: {"secret": "computed"})],
    "unavailable": [plans.unavailable()],
    "none": None,
}
ANN, EVE, NOBODY = [("token", "ann")], [("token", "eve")], []


def place(app, level, dependencies):
    """Add GET and POST /page, guarded at a level."""
    own = {"dependencies": dependencies}
    router = APIRouter(**(own if level == "router" else {}))

    async def page():
        return "secret"

    for method in ("GET", "POST"):
        router.add_api_route("/page", page, methods=[method], **(own if level == "endpoint" else {}))
    outer = APIRouter()
    outer.include_router(router, **(own if level == "include" else {}))
    app.include_router(outer)


LEVELS = ["app", "router", "include", "endpoint"]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
@pytest.mark.parametrize("check", [current_user, strict_user, strict_inner])
async def test_whoever_may_not_see_a_page_is_told_the_same_with_the_circuit_open(
    make, registry, level, plan, check
):
    """Access first, for every strategy, also where missing input stops the check itself."""
    own = [Depends(check), guard("inventory", plan=plan)]
    app = make(**({"dependencies": own} if level == "app" else {}))
    place(app, level, own)
    closed = [(await ask(app, headers=who)).status for who in (ANN, EVE, NOBODY)]
    force_open(registry)
    ann, eve, nobody = [await ask(app, headers=who) for who in (ANN, EVE, NOBODY)]
    assert closed == [200, 403, 401 if check is current_user else 422]
    assert eve.status == 403
    assert b"secret" not in eve.body + nobody.body
    if check is current_user:
        assert nobody.status == 401
    else:
        assert nobody.status == 503  # FastAPI asks the next dependency when the input of one was invalid
    assert (b"secret" in ann.body) == (plan is not None and plan != [plans.unavailable()])


@pytest.mark.parametrize(
    "before",
    [[], [breaker("payments")], [guard("payments")]],
    ids=["nothing", "breaker", "guard"],
)
@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
async def test_with_no_check_before_it_a_guard_answers_what_is_public_only(make, registry, before, plan):
    """A guard or a breaker is no check; anything but a public answer of the past is a 503."""
    app = make(dependencies=[*before, guard("inventory", plan=plan)])

    @app.get("/page")
    async def page(user: Annotated[str, Depends(current_user)]):
        return "secret"

    assert [(await ask(app, headers=who)).status for who in (EVE, NOBODY)] == [403, 401]
    force_open(registry)
    for who in (ANN, EVE, NOBODY):
        told = await ask(app, headers=who)
        assert (told.status, b"secret" in told.body) == (503, False)


async def test_a_public_page_of_the_past_needs_no_check(make, registry):
    """It may be served before anything was checked, as any cache in front of the application would."""
    app = make(dependencies=[guard("inventory", plan=[plans.stale(600)])])
    app.get("/page")(lambda: "good")
    await ask(app)
    force_open(registry)
    assert (await ask(app)).body == b'"good"'


async def test_a_security_scheme_still_to_come_keeps_the_plan_back(make, registry):
    """The dependency listed before the guard is not the one that checks access."""
    app = make(dependencies=[Depends(no_check), guard("inventory", plan=[plans.json("secret")])])

    @app.get("/page")
    async def page(user: Annotated[object, Depends(HTTPBasic())]):
        return "secret"

    force_open(registry)
    assert (await ask(app)).status == 503


@pytest.mark.parametrize("is_async", [True, False])
async def test_a_refusal_out_of_the_endpoint_itself_gets_the_whole_plan(make, registry, is_async):
    """All that the route checks has been checked by then; a later dependency's refusal comes too early for that."""
    app = make(dependencies=[guard("inventory", plan=[plans.json("secret")])])

    def pay():
        registry["payments"].call(lambda: None)

    async def pay_async():
        pay()

    app.get("/page")(pay_async if is_async else pay)
    app.get("/early", dependencies=[Depends(pay)])(no_check)
    force_open(registry, "payments")
    assert (await ask(app)).body == b'"secret"'
    assert (await ask(app, "/early")).status == 503


async def test_a_refusal_out_of_a_dependency_is_told_from_one_out_of_the_endpoint(make, registry):
    """Even if one decorator has wrapped both, so that they share their code."""
    app = make(dependencies=[guard("inventory", plan=[plans.json("secret")])])

    def bare(function):
        def wrapper():
            return function()

        return wrapper

    @bare
    def pay():
        registry["payments"].call(no_check)

    app.get("/page", dependencies=[Depends(pay), Depends(current_user)])(bare(no_check))
    force_open(registry, "payments")
    assert (await ask(app)).status == 503


async def test_an_overridden_check_counts_as_one(make, registry):
    """In tests the plan answers as it would for a known user."""
    app = make(dependencies=[Depends(strict_user), guard("inventory", plan=[plans.json("fixed")])])
    app.dependency_overrides[strict_user] = lambda: "ann"
    app.get("/page")(no_check)
    force_open(registry)
    assert (await ask(app)).body == b'"fixed"'


@pytest.mark.parametrize("is_open", [False, True])
async def test_a_guard_is_overridden_by_an_equal_one(make, registry, is_open):
    """Name, plan and record make it equal, whichever object it is."""
    app = make(dependencies=[guard("inventory", plan=[plans.json(1)])])
    app.get("/page")(lambda: "good")
    app.dependency_overrides[guard("inventory", plan=[plans.json(1)])] = no_check
    if is_open:
        force_open(registry)
    assert (await ask(app)).body == b'"good"'
    assert counts(registry) == (0, 0, 0)


def test_guards_compare_by_value():
    """Equal guards hash alike."""
    assert guard("a", plan=[plans.json(1)]) == guard("a", plan=[plans.json(1)])
    assert hash(guard("a", record=True)) == hash(guard("a", record=True))
    assert len({guard("a"), guard("b"), guard("a", record=True), guard("a", plan=[plans.json(1)])}) == 4
    assert guard("a") != "a"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        # Made anew by each test: a raised exception keeps its frames, and pytest keeps parameters to the end.
        (None, (1, 0, 0)),
        (lambda: HTTPException(404), (0, 0, 1)),
        (lambda: HTTPException(502), (1, 1, 0)),
        (ConnectionError, (1, 1, 0)),
    ],
)
@pytest.mark.parametrize("decorated", [False, True])
async def test_one_request_counts_once(make, registry, error, expected, decorated):
    """However many guards of one breaker stand around it, equal or not."""
    guards = [guard("inventory"), guard("inventory", plan=[plans.json(1)])]
    app = make(dependencies=guards)
    router = APIRouter(dependencies=guards)

    async def page():
        if error is not None:
            raise error()

    router.get("/page", dependencies=guards)(guard("inventory")(page) if decorated else page)
    app.include_router(router)
    await ask(app)
    assert counts(registry) == expected


async def test_a_decorator_within_sees_what_a_handler_hides(make, registry):
    """The exception counts, not the answer that the application makes of it."""
    app = make(dependencies=[guard("inventory")])
    app.add_exception_handler(ConnectionError, lambda request, error: PlainTextResponse("handled"))

    @app.get("/page")
    @guard("inventory")
    async def page():
        raise ConnectionError

    assert (await ask(app)).status == 200
    assert counts(registry) == (1, 1, 0)


@pytest.mark.parametrize("who", [NOBODY, EVE])
async def test_a_probe_that_a_later_check_stops_gives_its_place_back(make, registry, clock, who):
    """Half open, a stranger does not use up what is left for those who may come in."""
    open_circuit(registry, "payments")
    app = make(dependencies=[guard("payments")])
    app.get("/page", dependencies=[Depends(current_user)])(no_check)
    clock.advance(60)
    assert (await ask(app, headers=who)).status in {401, 403}
    assert (await ask(app, headers=ANN)).status == 200
    assert registry["payments"].state == "closed"


async def test_each_endpoint_of_a_router_learns_for_itself_whose_outcome_counts(make, registry):
    """One uses the breaker inside, the other does not."""
    app = make(dependencies=[guard("inventory")])

    @app.get("/inside")
    async def inside():
        registry["inventory"].call(lambda: None)

    @app.get("/page")
    async def page():
        raise HTTPException(502)

    await ask(app, "/inside")
    await ask(app, "/inside")
    await ask(app, "/page")
    assert counts(registry)[:2] == (3, 1)


async def test_a_websocket_is_refused_by_its_routers_guard(make, registry):
    """Before it is accepted."""
    app = make()
    router = APIRouter(dependencies=[guard("inventory")])

    @router.websocket("/page")
    async def talk(socket: WebSocket):
        await socket.accept()
        await socket.close()

    app.include_router(router)
    told = await ask(app, kind="websocket")
    assert told.messages[0]["type"] == "websocket.accept"
    assert counts(registry) == (1, 0, 0)
    force_open(registry)
    assert (await ask(app, kind="websocket")).messages[0]["type"] == "websocket.close"


async def test_a_routers_plan_is_wrong_only_if_it_fits_none_of_its_routes(make):
    """One problem for all of them."""
    mixed = make()
    place(mixed, "router", [guard("inventory", plan=[plans.stale(600)])])
    assert (await ask(mixed)).status == 200
    wrong = make(dependencies=[guard("inventroy", plan=[plans.stale(600)])])
    wrong.post("/a")(no_check)
    wrong.post("/b")(no_check)
    problems = str((await ask(wrong, "/a")).error)
    assert problems.count("did you mean 'inventory'?") == 1
    assert problems.count("GET routes only") == 1
    assert "POST /a and 1 more" in problems


# -- OpenAPI -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [*LEVELS, "decorator"])
async def test_openapi_lists_the_503_of_guarded_routes(make, level):
    """However they are guarded, under whatever prefix, before the application has started."""
    own = [guard("inventory")]
    app = make(**({"dependencies": own} if level == "app" else {}))
    place(app, level, own)
    app.get("/decorated/{number}")(guard("inventory")(no_check))
    if level != "app":
        app.get("/free")(no_check)
    paths = app.openapi()["paths"]
    guarded = paths["/decorated/{number}"]["get"] if level == "decorator" else paths["/page"]["post"]
    told = guarded["responses"]["503"]
    assert told["headers"]["Retry-After"]["schema"]["type"] == "integer"
    assert told["content"]["application/problem+json"]["schema"]["properties"]["status"] == {
        "type": "integer"
    }
    assert "200" in guarded["responses"]
    if level != "app":
        assert "503" not in paths["/free"]["get"]["responses"]
    assert app.openapi() == app.openapi()


async def test_openapi_keeps_the_503_that_a_route_describes_itself(make):
    """Also one that its router describes; a route that is hidden stays so."""
    app = make()
    router = APIRouter(prefix="/v1", responses={503: {"description": "Own"}})
    router.get("/page")(guard("inventory")(no_check))
    router.get("/hidden", include_in_schema=False)(guard("inventory")(no_check))
    app.include_router(router)
    assert app.openapi()["paths"]["/v1/page"]["get"]["responses"]["503"] == {"description": "Own"}
    assert list(app.openapi()["paths"]) == ["/v1/page"]


async def test_a_success_that_a_handler_makes_of_an_exception_is_no_page_to_serve_again(make, registry):
    """A dependency's guard sees no exception; a 404 is what it says, whatever raised it."""

    class MissingError(Exception):
        pass

    app = make()
    app.add_exception_handler(MissingError, lambda _, error: PlainTextResponse("sorry", int(str(error))))

    @app.get("/{status}", dependencies=[guard("inventory", plan=[plans.stale(600, statuses={200, 404})])])
    async def page(status: str):
        raise MissingError(status)

    assert [(await ask(app, path)).status for path in ("/200", "/404")] == [200, 404]
    force_open(registry)
    assert [(await ask(app, path)).status for path in ("/200", "/404")] == [503, 404]


async def test_openapi_that_is_replaced_later_lists_the_503_once_the_application_has_started(make):
    """As FastAPI's own documentation extends it."""
    app = make()
    app.get("/page")(guard("inventory")(no_check))
    app.openapi = lambda: get_openapi(title="own", version="1", routes=app.routes)
    await ask(app)
    told = app.openapi()
    assert told["info"]["title"] == "own"
    assert "503" in told["paths"]["/page"]["get"]["responses"]


async def test_openapi_describes_each_route_by_itself(make):
    """What an owner changes of one route is of that one, and YAML needs no aliases."""
    app = make()
    for path in ("/one", "/two"):
        app.get(path)(guard("inventory")(no_check))
    one, two = (path["get"]["responses"]["503"] for path in app.openapi()["paths"].values())
    one["headers"]["Retry-After"]["schema"]["maximum"] = 60
    assert "maximum" not in two["headers"]["Retry-After"]["schema"]


async def test_openapi_of_a_mounted_application_lists_the_503_too(make):
    """Once the outer application has started."""
    app, inner = make(), FastAPI()
    inner.get("/page")(guard("inventory")(no_check))
    app.mount("/inner", inner)
    assert b"problem+json" in (await ask(app, "/inner/openapi.json")).body
