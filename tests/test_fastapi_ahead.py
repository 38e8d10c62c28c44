"""A kept page is served ahead of FastAPI where that passes nothing over, and nowhere else."""

from typing import Annotated

import fastapi.routing
import pytest
from fastapi import APIRouter, Depends, FastAPI, Header
from fastapi.responses import PlainTextResponse
from fastapi.routing import APIRoute

from http_tools import Clock, ask, cache, open_circuit, shop
from recloser import CircuitOpenError
from recloser.core.events import CallRejected
from recloser.fastapi import breaker, guard, install
from recloser.http import plans
from recloser.http.plans import Stale

pytestmark = pytest.mark.anyio

PLAN = [plans.stale(600), plans.json("fixed")]


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def registry(clock):
    return shop(clock)


@pytest.fixture
def app(registry, clock):
    app = FastAPI()
    install(app, registry, cache=cache(clock))
    return app


@pytest.fixture
def solved(monkeypatch):
    """How often FastAPI has solved the dependencies of a route."""
    calls = []
    solve = fastapi.routing.solve_dependencies

    async def counting(**arguments):
        calls.append(arguments)
        return await solve(**arguments)

    monkeypatch.setattr(fastapi.routing, "solve_dependencies", counting)
    return calls


async def page() -> int:
    return 1


def signed(function):
    async def checked():
        return await function()

    checked.__wrapped__ = function
    return checked


class Own(APIRoute):
    def get_route_handler(self):
        return super().get_route_handler()


async def nothing() -> None: ...


def decorated(app):
    app.get("/page")(guard("inventory", plan=PLAN)(page))


def depended(app):
    app.get("/page", dependencies=[guard("inventory", plan=PLAN), breaker("payments")])(page)


def second_of_two(app):
    app.get("/page")(guard("payments")(guard("inventory", plan=PLAN)(page)))


def included(app):
    router = APIRouter()
    decorated(router)
    app.include_router(router)


def mounted(app):
    inner = FastAPI()
    decorated(inner)
    app.mount("/", inner)


def after_another(app):
    app.get("/page", dependencies=[Depends(nothing), guard("inventory", plan=PLAN)])(page)


def with_a_parameter(app):
    async def asking(value: Annotated[None, Depends(nothing)]) -> int:
        return 1

    app.get("/page")(guard("inventory", plan=PLAN)(asking))


def with_another_decorator(app):
    app.get("/page")(signed(guard("inventory", plan=PLAN)(page)))


def with_another_first_step(app):
    app.get("/page")(guard("inventory", plan=[plans.compute(lambda request, error: None), *PLAN])(page))


def in_a_route_class(app):
    router = APIRouter(route_class=Own)
    decorated(router)
    app.include_router(router)


class Checking(APIRoute):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        route = self.app

        async def app(scope, receive, send):
            if (b"x-key", b"right") in scope["headers"]:
                await route(scope, receive, send)
            else:
                await PlainTextResponse("who?", 401)(scope, receive, send)

        self.app = app


def with_a_body(app):
    async def asking(value: dict[str, int] | None = None) -> int:
        return 1

    app.api_route("/page", methods=["GET", "POST"])(guard("inventory", plan=PLAN)(asking))


@pytest.mark.parametrize("route", [decorated, depended, second_of_two, included, mounted])
async def test_where_only_guards_stand_before_an_endpoint_nothing_is_passed_over(
    app, registry, solved, route
):
    """A kept page is served, and the refusal is counted and told once, without any work of FastAPI's."""
    route(app)
    told = []
    registry.add_listener(told.append)
    await ask(app)
    solved.clear()
    open_circuit(registry)

    kept = await ask(app)
    assert (kept.status, kept.body, solved) == (200, b"1", [])
    assert kept.headers["recloser"] == "degraded"
    assert kept.headers["cache-status"].startswith("recloser; hit")
    assert registry["inventory"].snapshot().rejected == {"open": 1}
    assert sum(isinstance(event, CallRejected) for event in told) == 1


@pytest.mark.parametrize(
    "route",
    [
        after_another,
        with_a_parameter,
        with_another_decorator,
        with_another_first_step,
        in_a_route_class,
        with_a_body,
    ],
)
async def test_whatever_else_stands_there_is_asked_first(app, registry, solved, route):
    """The page is the same one, after all that FastAPI does."""
    route(app)
    await ask(app)
    solved.clear()
    open_circuit(registry)

    kept = await ask(app)
    assert (kept.status, kept.body) == (200, b"1")
    assert solved
    assert registry["inventory"].snapshot().rejected == {"open": 1}


async def test_checks_that_a_route_class_puts_around_its_application_come_first(app, registry):
    """No page is served to whom the route would not have let in."""
    app.router.route_class = Checking
    decorated(app)
    assert (await ask(app, headers=[("x-key", "right")])).status == 200
    open_circuit(registry)
    assert (await ask(app)).status == 401
    assert (await ask(app, headers=[("x-key", "right")])).body == b"1"


async def test_an_overridden_guard_is_not_asked(app, registry):
    """Tests may take the guard out of the way."""
    depended(app)
    await ask(app)
    open_circuit(registry)
    assert "age" in (await ask(app)).headers
    app.dependency_overrides[guard("inventory", plan=PLAN)] = nothing
    assert "age" not in (await ask(app)).headers


@pytest.mark.parametrize("handled", [CircuitOpenError, ValueError])
async def test_a_handler_of_the_applications_own_still_wins(app, registry, handled):
    """Only one that would be asked for the refusal."""
    app.add_exception_handler(handled, lambda request, error: PlainTextResponse("own"))
    decorated(app)
    await ask(app)
    open_circuit(registry)
    assert (await ask(app)).body == (b"own" if handled is CircuitOpenError else b"1")


async def test_without_a_page_the_rest_of_the_plan_answers(app, registry, clock):
    """None was kept, it is too old, or the request is for something else; the refusal counts once."""
    app.api_route("/page", methods=["GET", "POST"])(
        guard("inventory", plan=[plans.stale(5), "unavailable"])(page)
    )
    await ask(app)
    open_circuit(registry)
    assert (await ask(app, "/page?other")).status == 503
    assert (await ask(app, method="POST")).status == 503
    assert (await ask(app, headers=[("range", "bytes=0-1")])).status == 503
    assert registry["inventory"].snapshot().rejected == {"open": 3}
    clock.advance(6)
    assert (await ask(app)).status == 503


async def test_a_probe_goes_to_the_endpoint(app, registry, clock, solved):
    """Once the circuit is due, the next request finds out."""
    decorated(app)
    await ask(app)
    open_circuit(registry)
    clock.advance(10)
    assert "age" not in (await ask(app)).headers
    assert registry["inventory"].state == "closed"


async def test_a_strategy_that_raises_is_asked_again_and_logged(app, registry, monkeypatch, caplog):
    """The rest of the plan answers."""
    decorated(app)
    await ask(app)
    open_circuit(registry)

    def broken(self, request, error):
        raise OSError

    monkeypatch.setattr(Stale, "answer", broken)
    assert (await ask(app)).body == b'"fixed"'
    assert "the strategy stale raised" in caplog.text


async def test_headers_that_the_endpoint_reads_select_the_page(app, registry):
    """A page kept for another language is no answer."""

    @app.get("/page")
    @guard("inventory", plan=[plans.stale(600)])
    async def greeting(accept_language: Annotated[str, Header()]) -> str:
        return accept_language

    await ask(app, headers=[("accept-language", "de")])
    open_circuit(registry)
    assert (await ask(app, headers=[("accept-language", "de")])).body == b'"de"'
    assert (await ask(app, headers=[("accept-language", "fr")])).status == 503


async def test_middleware_outside_can_tell_the_answer(app, registry):
    """By the request's state, as of any degraded answer."""
    decorated(app)
    await ask(app)
    open_circuit(registry)
    state = {}
    await ask(app, scope={"state": state})
    assert state == {"degraded": "inventory"}
