"""Access first: each strategy, for anonymous, wrong and right users, with the circuit closed, open, and failing."""

from functools import wraps
from typing import Annotated

import pytest
from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException, Request
from fastapi.responses import JSONResponse
from starlette.authentication import AuthCredentials, AuthenticationBackend, SimpleUser, requires
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.templating import Jinja2Templates

from http_tools import Clock, ask, cache, shop
from recloser.fastapi import guard, install
from recloser.http import plans
from recloser.http.messages import Response

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param


@pytest.fixture
def registry():
    return shop(Clock(), inventory={"failure_threshold": 100})


class AuthDown(Exception):
    """The service that knows the users did not answer."""


class World:
    """What the test says of the services behind the application."""

    def __init__(self):
        self.knows_users = True
        self.inventory = "up"
        self.auth_error = AuthDown


@pytest.fixture
def world():
    return World()


async def compute_later(request, error):
    return Response(200, (), b"secret")


STRATEGIES = {
    "stale": plans.stale(600),
    "json": plans.json({"secret": "fixed"}),
    "response": plans.response("secret"),
    "compute": plans.compute(lambda request, error: {"secret": "computed"}),
    "compute later": plans.compute(compute_later),
    "template": plans.template("secret.html", status=200),
    "unavailable": plans.unavailable(),
}
FIXED = [name for name in STRATEGIES if name not in {"stale", "unavailable"}]
WAYS = ["decorator", "dependency", "router"]
ANN, EVE, NOBODY = [("token", "ann")], [("token", "eve")], []
STATES = ["closed", "raises", "answers", "handled", "open"]


@pytest.fixture
def make(registry, world, tmp_path):
    """Make an application with GET /page, guarded in a way, with one strategy, after or before its check of access."""
    (tmp_path / "secret.html").write_text("secret {{ error.breaker }}")

    def check(token: Annotated[str, Header()] = ""):
        if not world.knows_users:
            raise world.auth_error()
        if token != "ann":
            raise HTTPException(403 if token else 401)

    async def page():
        if world.inventory == "raises":
            raise ConnectionError
        if world.inventory == "handled":
            raise HTTPException(502)
        return JSONResponse("page", 502 if world.inventory == "answers" else 200)

    def make(way, strategy, order="after"):
        app = FastAPI()
        install(app, registry, cache=cache(Clock()), templates=Jinja2Templates(tmp_path))
        app.add_exception_handler(AuthDown, lambda request, error: JSONResponse("no users", 503))
        own = guard("inventory", plan=[STRATEGIES[strategy]], on=("open", "failure"))
        listed = [Depends(check), own] if order == "after" else [own, Depends(check)]
        router = APIRouter(dependencies=listed if way == "router" else [])
        router.add_api_route(
            "/page",
            own(page) if way == "decorator" else page,
            dependencies={"router": [], "dependency": listed, "decorator": [Depends(check)]}[way],
        )
        app.include_router(router)
        return app

    return make


@pytest.fixture
def become(registry, world):
    def become(state):
        if state == "open":
            registry["inventory"].force_open(by="ann", reason="test")
        elif state != "closed":
            world.inventory = state

    return become


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("way", WAYS)
async def test_who_may_not_see_a_page_is_told_the_same_in_every_state(make, become, way, strategy):
    """401 for nobody, 403 for the wrong user, to the byte; the right one gets the plan."""
    app = make(way, strategy)
    closed = [await ask(app, headers=who) for who in (EVE, NOBODY)]
    for state in STATES:
        become(state)
        eve, nobody, ann = [await ask(app, headers=who) for who in (EVE, NOBODY, ANN)]
        assert [told.messages for told in (eve, nobody)] == [told.messages for told in closed], state
        assert (eve.status, nobody.status) == (403, 401), state
        assert (b"secret" in ann.body) == (state != "closed" and strategy in FIXED), state


class Tokens(AuthenticationBackend):
    """Knows users by their token."""

    async def authenticate(self, conn):
        token = conn.headers.get("token")
        return token and (AuthCredentials(["staff"] if token == "ann" else []), SimpleUser(token))


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("place", ["above", "below", "dependency"])
async def test_what_a_decorator_checks_is_checked_in_every_state(
    registry, world, become, tmp_path, place, strategy
):
    """`@requires`: only right above the function does a guard come after it, and answer early with its whole plan."""
    (tmp_path / "secret.html").write_text("secret")
    own = guard("inventory", plan=[STRATEGIES[strategy]], on=("open", "failure"))

    async def page(request: Request):
        if world.inventory == "raises":
            raise ConnectionError
        if world.inventory == "handled":
            raise HTTPException(502)
        return JSONResponse("page", 502 if world.inventory == "answers" else 200)

    checked = requires("staff")(own(page) if place == "below" else page)
    app = FastAPI()
    install(app, registry, cache=cache(Clock()), templates=Jinja2Templates(tmp_path))
    app.add_middleware(AuthenticationMiddleware, backend=Tokens())
    app.get("/page", dependencies=[own] if place == "dependency" else [])(
        own(checked) if place == "above" else checked
    )
    in_full = {"raises", "handled"} if place != "below" else {"raises", "handled", "answers", "open"}
    for state in STATES:
        become(state)
        eve, nobody, ann = [await ask(app, headers=who) for who in (EVE, NOBODY, ANN)]
        if state != "open" or place == "below":
            assert (eve.status, nobody.status) == (403, 403), state
        assert b"secret" not in eve.body + nobody.body, state
        assert (b"secret" in ann.body) == (state in in_full and strategy in FIXED), state


@pytest.mark.parametrize("place", ["above", "dependency"])
async def test_a_decorator_whose_own_service_is_out_gives_nothing_away(registry, place):
    """Who asks was never found out: the route's plan answers for that circuit with what is public."""
    own = guard("inventory", plan=[STRATEGIES["json"]])

    def checked(endpoint):
        @wraps(endpoint)
        async def check():
            with registry["payments"].calling():  # it knows the users
                raise HTTPException(401)

        return check

    async def page():
        return "page"

    app = FastAPI()
    install(app, registry)
    early = [own] if place == "dependency" else []
    app.get("/page", dependencies=early)(own(checked(page)) if place == "above" else checked(page))
    assert (await ask(app)).status == 401
    registry["payments"].force_open(by="ann", reason="test")
    told = await ask(app)
    assert (told.status, b"secret" in told.body) == (503, False)


@pytest.mark.parametrize("strategy", FIXED)
@pytest.mark.parametrize("way", ["dependency", "router"])
async def test_a_guard_before_the_check_answers_in_full_only_what_the_endpoint_let_out(
    make, become, registry, way, strategy
):
    """An exception shows where it came from, also one that is handled; an answer of 502 does not: it stays as it is."""
    app = make(way, strategy, order="before")
    seen = {}
    for state in ("raises", "handled", "answers"):
        become(state)
        told = [await ask(app, headers=who) for who in (ANN, EVE, NOBODY)]
        seen[state] = told[0].status, b"secret" in told[0].body
        assert [one.status for one in told[1:]] == [403, 401]
    assert seen == {"raises": (200, True), "handled": (200, True), "answers": (502, False)}


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("order", ["before", "after"])
async def test_a_check_that_fails_gives_nothing_away(make, world, way, order, strategy):
    """Nobody is known to be allowed in: no strategy answers but a public one, whoever asks."""
    app = make(way, strategy, order)
    world.knows_users = False
    for error in (AuthDown, LookupError, lambda: HTTPException(503)):  # handled, a bug, and an answer
        world.auth_error = error
        for who in (ANN, EVE, NOBODY):
            told = await ask(app, headers=who)
            assert b"secret" not in told.body
            assert told.error is None or isinstance(told.error, LookupError)
            assert told.status in {500, 503}


@pytest.mark.parametrize("handled", [False, True])
@pytest.mark.parametrize("strategy", FIXED)
@pytest.mark.parametrize("way", ["decorator", "dependency"])
async def test_a_dependency_that_calls_the_service_before_access_is_known_gives_nothing_away(
    registry, tmp_path, way, strategy, handled
):
    """The breaker counted its failure, but nobody knows yet who asks."""
    (tmp_path / "secret.html").write_text("secret")
    app = FastAPI()
    install(app, registry, cache=cache(Clock()), templates=Jinja2Templates(tmp_path))
    if handled:
        app.add_exception_handler(AuthDown, lambda request, error: JSONResponse("no stock", 502))
    own = guard("inventory", plan=[STRATEGIES[strategy]], on=("open", "failure"))

    def stock():
        with registry["inventory"].calling():
            raise AuthDown

    async def page():
        return "page"

    listed = [Depends(stock)] if way == "decorator" else [own, Depends(stock)]
    app.get("/page", dependencies=listed)(own(page) if way == "decorator" else page)
    told = await ask(app)
    assert (told.error, told.status) == (None, 502 if handled else 503)
    assert b"secret" not in told.body
    assert registry["inventory"].snapshot().failures == 1


@pytest.mark.parametrize("state", ["raises", "answers", "handled"])
async def test_a_failing_page_is_the_last_good_one_to_everybody_if_it_is_public(registry, world, state):
    """As any cache in front of the application would have it."""
    app = FastAPI()
    install(app, registry, cache=cache(Clock()))

    @app.get("/page", dependencies=[guard("inventory", plan=[STRATEGIES["stale"]], on=("open", "failure"))])
    async def page():
        if world.inventory == "raises":
            raise ConnectionError
        if world.inventory == "handled":
            raise HTTPException(502)
        return JSONResponse("good", 502 if world.inventory == "answers" else 200)

    await ask(app)
    world.inventory = state
    assert (await ask(app)).body == b'"good"'
