"""Plans of FastAPI and Starlette applications with functions and templates of their own."""

import threading

import pytest
from fastapi import FastAPI, HTTPException, WebSocket
from starlette.requests import Request
from starlette.templating import Jinja2Templates

from http_tools import Clock, ask, cache, open_circuit, shop
from recloser import ConfigurationError
from recloser.asgi import CircuitBreakerMiddleware
from recloser.fastapi import guard, install
from recloser.http import plans

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param


@pytest.fixture
def templates(tmp_path):
    page = "<p>{{ request.url.path }} without {{ error.breaker }}, {{ shop }}: {{ retry_after }} s</p>"
    (tmp_path / "sorry.html").write_text(page)
    return Jinja2Templates(tmp_path, context_processors=[lambda _: {"shop": "<Ann's>"}])


def guarded(*plan, **options):
    """An application with one route, whose circuit is open."""
    clock = Clock()
    registry = shop(clock)
    app = FastAPI()
    install(app, registry, cache=cache(clock), **options)

    @app.api_route("/items/{number}", methods=["GET", "POST"])
    @guard("inventory", plan=list(plan))
    async def item(number: int) -> int:
        return number

    open_circuit(registry)
    return app


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_function_answers_with_the_frameworks_request_at_hand(is_async):
    """Starlette's, with the path's parameters; a sync function runs in another thread."""
    ran_in = []

    def compute(request, error):
        ran_in.append(threading.get_ident())
        assert isinstance(request.native, Request)
        return {"item": request.native.path_params["number"], "without": error.breaker}

    async def compute_later(request, error):
        return compute(request, error)

    app = guarded(plans.compute(compute_later if is_async else compute))
    answer = await ask(app, "/items/5")
    assert (answer.status, answer.body) == (200, b'{"item":"5","without":"inventory"}')
    assert answer.headers["cache-control"] == "no-store"
    assert (ran_in == [threading.get_ident()]) is is_async


async def test_a_function_of_a_plain_asgi_application_runs_in_a_thread_too():
    """Whatever the event loop; it sees a copy of the ASGI scope."""
    registry = shop()
    open_circuit(registry)

    async def app(scope, receive, send):
        registry["inventory"].acquire()

    middleware = CircuitBreakerMiddleware(app, registry)
    ran_in = []

    def compute(request, error):
        ran_in.append(threading.get_ident())
        return request.native["type"]

    from recloser.http.plan import Plan

    middleware.responder.default = Plan([plans.compute(compute)]).prepared(middleware.responder.means)
    assert (await ask(middleware)).body == b'"http"'
    assert ran_in != [threading.get_ident()]


async def test_a_page_is_rendered_by_starlettes_engine(templates):
    """With its context processors and its escaping; page and header name one time; who prefers JSON gets a document."""
    app = guarded(plans.template("sorry.html"), templates=templates)
    page = await ask(app, "/items/5", "POST", [("accept", "text/html")])
    assert (page.status, page.headers["content-type"]) == (503, "text/html; charset=utf-8")
    told = f"<p>/items/5 without inventory, &lt;Ann&#39;s&gt;: {page.headers['retry-after']} s</p>"
    assert page.body.decode() == told
    problem = await ask(app, "/items/5", headers=[("accept", "application/json")])
    assert problem.headers["content-type"] == "application/problem+json"


async def test_a_template_that_is_missing_lets_the_next_try(templates):
    """The client gets an answer, the log gets the error."""
    app = guarded(plans.template("missing.html"), plans.json("next"), templates=templates)
    assert (await ask(app, "/items/5")).body == b'"next"'


async def test_a_template_without_an_engine_is_an_error_at_start():
    """At the route and the place in its plan."""
    app = guarded(plans.template("sorry.html"))
    told = await ask(app, "/items/5")
    assert isinstance(told.error, ConfigurationError)
    assert "GET,POST /items/{number}: guard('inventory').plan[0]" in str(told.error)
    assert "needs a template engine" in str(told.error)


@pytest.mark.parametrize(("is_open", "seen"), [(True, "inventory"), (False, None)])
async def test_middleware_outside_knows_a_degraded_answer(is_open, seen):
    """By the breaker's name in the request's state."""
    app = guarded(plans.json("next"))
    noted = []

    @app.middleware("http")
    async def note(request, call_next):
        answer = await call_next(request)
        noted.append(getattr(request.state, "degraded", None))
        return answer

    if not is_open:
        app.user_middleware[-1].kwargs["registry"].registry["inventory"].reset(by="ann", reason="test")
    await ask(app, "/items/5")
    assert noted == [seen]


@pytest.mark.parametrize("step", [plans.json({}, status=503), plans.response(b"sorry", unsafe=True)])
async def test_a_plan_of_a_websocket_is_an_error_at_start(step):
    """Nothing but a refusal can answer a handshake."""
    app = FastAPI()
    install(app, shop())

    @app.websocket("/live")
    @guard("inventory", plan=[step, "unavailable"])
    async def live(websocket: WebSocket) -> None: ...

    told = await ask(app)
    assert isinstance(told.error, ConfigurationError)
    [problem] = told.error.problems
    assert problem.fix == "can never answer: a WebSocket is refused with a 503 or closed, so leave it out"


@pytest.mark.parametrize("is_decorator", [True, False])
async def test_an_endpoint_with_a_route_for_head_has_the_plan_of_its_route_for_get(is_decorator):
    """FastAPI adds no HEAD by itself; a plan is wrong only if it fits none of its endpoint's routes."""
    app, registry = FastAPI(), shop(Clock())
    install(app, registry)

    async def page() -> int:
        return 1

    if is_decorator:
        page = guard("inventory", plan=[plans.stale(600)])(page)
    for method in ("GET", "HEAD"):
        own = [] if is_decorator else [guard("inventory", plan=[plans.stale(600)])]
        app.add_api_route("/page", page, methods=[method], dependencies=own)

    @app.head("/check")
    @guard("inventory", plan=[plans.stale(600)])
    async def check() -> None: ...

    told = await ask(app)
    assert isinstance(told.error, ConfigurationError)
    [problem] = told.error.problems
    assert problem.path == "HEAD /check: guard('inventory').plan[0]"
    app.router.routes.pop()
    assert (await ask(app)).body == b"1"
    open_circuit(registry)
    again = await ask(app, method="HEAD")
    assert (again.status, again.headers["content-length"], again.body) == (200, "1", b"")


async def test_a_plan_that_names_404_serves_it_again():
    """That there is no such item is an answer too, where the author says so; by default it is not kept."""
    for statuses, expected in (({200, 404}, 404), ({200}, 503)):
        app = FastAPI()
        clock = Clock()
        registry = shop(clock)
        install(app, registry, cache=cache(clock))

        @app.get("/items/{number}")
        @guard("inventory", plan=[plans.stale(600, statuses=statuses)])
        async def item(number: int) -> None:
            raise HTTPException(404, "no such item")

        first = await ask(app, "/items/5", headers=[("If-None-Match", "*")])
        assert first.status == 404
        open_circuit(registry)
        again = await ask(app, "/items/5", headers=[("If-None-Match", "*")])
        assert again.status == expected


@pytest.mark.parametrize("statuses", [{206}, {500}, [], "200", 200, {200, "404"}, {304}], ids=repr)
def test_statuses_that_cannot_be_kept(statuses):
    """Parts, errors and what has no body are no pages."""
    with pytest.raises(ConfigurationError) as caught:
        plans.stale(600, statuses=statuses)
    assert "must be a list of some of 200, 203, 300, 301, 308, 404, 410" in str(caught.value)
