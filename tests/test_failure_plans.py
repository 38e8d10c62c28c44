"""Plans that answer counted failures before the circuit opens: `on=("open", "failure")`, over ASGI and in FastAPI."""

import gc
import logging
import weakref

import anyio
import pytest
from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, HTTPException, WebSocket
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.applications import Starlette
from starlette.routing import Mount, Route

from http_tools import Clock, ask, cache, shop
from recloser import CircuitOpenError, ConfigurationError
from recloser.asgi import CircuitBreakerMiddleware
from recloser.fastapi import guard, install
from recloser.http import plans
from recloser.http.failure import CallFailedError
from recloser.http.messages import Response as Given
from recloser.http.responder import Responder
from recloser.http.strategy import Strategy

pytestmark = pytest.mark.anyio

BOTH = ("open", "failure")
FIXED = [plans.json("fixed")]
GOOD, HIDDEN = (200, b'"good"'), (200, b'"fixed"')


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
    def make(registry=registry, **settings):
        app = FastAPI(**settings)
        install(app, registry, cache=cache(clock))
        return app

    return make


@pytest.fixture
def logged(caplog):
    """What the library logs as errors."""
    caplog.set_level(logging.ERROR, "recloser")
    return lambda: [record for record in caplog.records if record.name == "recloser"]


def counts(registry, name="inventory"):
    seen = registry[name].snapshot()
    return seen.calls, seen.failures, seen.ignored


def got(told):
    return told.status, told.body


class Own(Exception):
    """An exception of the application's."""


# -- what is answered ----------------------------------------------------------------------------------------


def raising(error):
    async def page():
        raise error()

    return page


def raising_in_thread(error):
    def page():
        raise error()

    return page


def returning(status):
    async def page():
        return JSONResponse("bad", status)

    return page


def returning_from_thread(status):
    def page():
        return JSONResponse("bad", status)

    return page


def setting(status):
    async def page(response: Response):
        response.status_code = status
        return "bad"

    return page


def streaming(status):
    async def page():
        return StreamingResponse(iter([b"ba", b"d"]), status)

    return page


FAILING = {
    "raises": raising(ConnectionError),
    "raises in a thread": raising_in_thread(ConnectionError),
    "raises a group": raising(lambda: ExceptionGroup("", [ConnectionError(), HTTPException(404)])),
    "raises 503": raising(lambda: HTTPException(503)),
    "raises 429": raising(lambda: HTTPException(429)),
    "raises what is handled with 502": raising(Own),
    "returns 500": returning(500),
    "returns 429 from a thread": returning_from_thread(429),
    "sets 503": setting(503),
    "streams with 502": streaming(502),
}
NOT_FAILING = {
    "raises 404": (raising(lambda: HTTPException(404)), 404),
    "raises 401": (raising(lambda: HTTPException(401)), 401),
    "returns 400": (returning(400), 400),
    "returns 302": (returning(302), 302),
    "sets 422": (setting(422), 422),
}
WAYS = ["decorator", "dependency", "router", "app"]


def guarded(make, way, page, plan=FIXED, on=BOTH):
    own = guard("inventory", plan=plan, on=on)
    listed = [Depends(lambda: None), own]
    app = make(**({"dependencies": listed} if way == "app" else {}))
    app.add_exception_handler(Own, lambda request, error: JSONResponse("handled", 502))
    router = APIRouter(**({"dependencies": listed} if way == "router" else {}))
    router.add_api_route(
        "/page",
        own(page) if way == "decorator" else page,
        methods=["GET", "POST"],
        **({"dependencies": listed} if way == "dependency" else {}),
    )
    app.include_router(router)
    return app


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("page", FAILING.values(), ids=FAILING)
async def test_a_plan_answers_a_counted_failure(make, registry, way, page):
    """An exception, and an answer with 5xx or 429, however it came about; it counts once."""
    told = await ask(guarded(make, way, page))
    assert told.error is None
    assert got(told) == HIDDEN
    assert told.headers["cache-control"] == "no-store"
    assert told.headers["recloser"] == "degraded"
    assert counts(registry) == (1, 1, 0)
    assert registry.degraded.counts() == {("inventory", "json"): 1}
    assert len(told.messages) == 2


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("page", FAILING.values(), ids=FAILING)
async def test_a_plan_answers_no_failure_unless_told_to(make, registry, way, page):
    """By default it answers only for an open circuit."""
    told = await ask(guarded(make, way, page, on=("open",)))
    assert told.status in {429, 500, 502, 503}
    assert b"fixed" not in told.body
    assert counts(registry) == (1, 1, 0)
    assert registry.degraded.counts() == {}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("page", "status"), NOT_FAILING.values(), ids=NOT_FAILING)
async def test_what_counts_as_no_failure_is_never_replaced(make, registry, way, page, status):
    """Not-found, rights, redirects and invalid input are answers."""
    told = await ask(guarded(make, way, page))
    assert told.status == status
    assert counts(registry)[1] == 0
    assert registry.degraded.counts() == {}


async def test_invalid_input_is_told(make):
    """422, not the plan's answer."""

    async def page(number: int):
        return number

    assert (await ask(guarded(make, "decorator", page), "/page?number=x")).status == 422


async def test_ignored_exceptions_are_never_hidden(make, clock):
    """What the breaker's policy ignores goes where it would go without breakers."""
    registry = shop(clock, inventory={"ignore": (Own,), "failure_on": (OSError,)})
    app = make(registry)
    app.get("/ignored")(guard("inventory", plan=FIXED, on=BOTH)(raising(Own)))
    app.get("/bug")(guard("inventory", plan=FIXED, on=BOTH)(raising(LookupError)))
    assert isinstance((await ask(app, "/ignored")).error, Own)
    assert isinstance((await ask(app, "/bug")).error, LookupError)
    assert registry.degraded.counts() == {}


async def test_a_good_answer_of_a_handler_wins(make, registry):
    """It counted as a failure, but what the application makes of it is none."""
    app = guarded(make, "decorator", raising(Own))
    app.exception_handlers[Own] = lambda request, error: PlainTextResponse("handled")
    assert got(await ask(app)) == (200, b"handled")
    assert counts(registry) == (1, 1, 0)


async def test_a_result_that_failure_if_counts_is_answered_too(make, clock):
    """Whatever its status."""
    registry = shop(clock, inventory={"failure_if": lambda result: result == "empty"})
    app = make(registry)

    @app.get("/page")
    @guard("inventory", plan=FIXED, on=BOTH)
    async def page():
        return "empty"

    assert got(await ask(app)) == HIDDEN


async def test_a_last_good_page_answers(make, clock, logged):
    """Marked as what it is; the answer instead is not kept, and the good one stays."""
    registry = shop(clock, inventory={"failure_threshold": 100})
    app = make(registry)
    fails = []

    @app.get("/page")
    @guard("inventory", plan=[plans.stale(600)], on=BOTH)
    async def page():
        if fails:
            raise ConnectionError("down")
        return "good"

    await ask(app)
    fails.append(1)
    clock.advance(5)
    for _ in range(2):
        told = await ask(app)
        assert got(told) == GOOD
        assert told.headers["age"] == "5"
        assert told.headers["cache-status"] == "recloser; hit; ttl=-5; detail=call-failed"
    assert registry["inventory"].state == "closed"
    assert (await ask(app, "/page?other")).status == 503


# -- what is left when nothing in the plan answers -------------------------------------------------------------


def silent(request, error):
    """Leave it to the next."""


EMPTY = [[], [plans.stale(600)], [plans.compute(silent)]]


@pytest.mark.parametrize("plan", EMPTY, ids=repr)
async def test_an_exception_without_an_answer_becomes_a_503(make, registry, plan):
    """The `unavailable` that stands last by itself."""
    told = await ask(guarded(make, "decorator", raising(ConnectionError), plan))
    assert (told.error, told.status) == (None, 503)
    assert told.headers["content-type"] == "application/problem+json"
    assert int(told.headers["retry-after"]) >= 1
    assert registry.degraded.counts() == {("inventory", "unavailable"): 1}


@pytest.mark.parametrize("plan", EMPTY, ids=repr)
@pytest.mark.parametrize("name", ["returns 500", "streams with 502", "raises what is handled with 502"])
async def test_an_answer_without_a_better_one_is_the_applications_own(make, registry, logged, plan, name):
    """Unchanged, with all its headers, and nothing is said to be hidden."""
    bare = await ask(guarded(make, "decorator", FAILING[name], plan, on=("open",)))
    told = await ask(guarded(make, "decorator", FAILING[name], plan))
    assert told.messages == bare.messages
    assert counts(registry) == (2, 2, 0)
    assert (registry.degraded.counts(), logged()) == ({}, [])


async def test_an_unavailable_that_is_written_replaces_the_applications_own(make):
    """The author asked for it."""
    told = await ask(guarded(make, "decorator", returning(500), [plans.unavailable()]))
    assert told.status == 503
    assert told.headers["content-type"] == "application/problem+json"


async def test_a_post_is_not_said_to_have_succeeded(make):
    """As for an open circuit."""
    app = guarded(make, "decorator", raising(ConnectionError))
    assert (await ask(app, method="POST")).status == 503
    assert (await ask(app)).status == 200


async def test_head_gets_no_body(make):
    """RFC 9110 §9.3.2."""
    app = make()
    app.api_route("/page", methods=["GET", "HEAD"])(
        guard("inventory", plan=FIXED, on=BOTH)(raising(ConnectionError))
    )
    assert got(await ask(app, method="HEAD")) == (200, b"")


# -- what the hidden error leaves behind ---------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in FAILING if name.startswith("raises")])
async def test_the_hidden_error_is_logged_with_its_traceback(make, logged, name):
    """As an error, so that reporters that listen to the log see it; also where a handler made an answer of it."""
    await ask(guarded(make, "decorator", FAILING[name]))
    (record,) = logged()
    assert record.exc_info[1] is not None
    assert record.exc_info[2] is not None
    assert "breaker 'inventory' counted a failure: " in record.getMessage()
    assert record.getMessage().endswith("; a plan answered GET /page")


async def test_a_path_cannot_write_lines_of_its_own_into_the_log(make, logged):
    """Line breaks and terminal sequences of a path stay quoted."""
    app = make()

    @app.get("/{path:path}")
    @guard("inventory", plan=FIXED, on=BOTH)
    async def page(path: str):
        raise RuntimeError

    await ask(app, "/a\rERROR forged\x1b[31m/ü")
    (record,) = logged()
    assert record.getMessage().endswith("; a plan answered GET /a%0DERROR%20forged%1B%5B31m/%C3%BC")


async def test_a_hidden_answer_is_logged_by_its_status(make, logged):
    """There is no traceback to show."""
    await ask(guarded(make, "decorator", returning(502)))
    (record,) = logged()
    assert (
        record.getMessage() == "breaker 'inventory' counted a failure: status 502; a plan answered GET /page"
    )
    assert record.exc_info is None


async def test_no_exception_is_kept_alive_by_an_answer(make, monkeypatch):
    """Nor its traceback, whose frames hold the request."""
    monkeypatch.setattr(logging.getLogger("recloser"), "disabled", True)  # pytest keeps what is logged
    seen = []

    class Bug(Exception):
        pass

    def fail():
        error = Bug()
        seen.append(weakref.ref(error))
        return error

    await ask(guarded(make, "decorator", raising(fail)))
    gc.collect()
    assert seen[0]() is None


async def test_middleware_outside_knows_that_the_answer_is_degraded(make):
    """By the request's state, as for an open circuit."""
    noted = []
    for page in (raising(ConnectionError), returning(500)):
        app = guarded(make, "decorator", page)

        @app.middleware("http")
        async def note(request, call_next):
            answer = await call_next(request)
            noted.append(request.state.degraded)
            return answer

        await ask(app)
    assert noted == ["inventory", "inventory"]


@pytest.mark.parametrize("way", ["raises", "returns 500"])
async def test_strategies_are_told_what_happened(make, way):
    """The breaker, the error or the status, and how long to wait."""
    seen = []

    def compute(request, error):
        seen.append(error)
        return {"without": error.breaker}

    told = await ask(guarded(make, "decorator", FAILING[way], [plans.compute(compute)]))
    assert told.body == b'{"without":"inventory"}'
    (error,) = seen
    assert isinstance(error, CallFailedError)
    assert error.breaker == "inventory"
    assert error.retry_after == 0
    if way == "raises":
        assert isinstance(error.error, ConnectionError)
        assert error.status is None
    else:
        assert (error.error, error.status) == (None, 500)


@pytest.mark.parametrize("trips", [False, True])
async def test_a_failure_tells_how_long_to_wait(make, clock, trips):
    """What the failing answer asked for, within the policy's cap, or what is left of the period that it opened."""
    waits = []

    def compute(request, error):
        waits.append(error.retry_after)
        return 1

    registry = shop(
        clock,
        inventory={"failure_threshold": 1 if trips else 100, "recovery_timeout_max": 50 if trips else 60},
    )
    app = make(registry)
    own = guard("inventory", plan=[plans.compute(compute)], on=BOTH)

    @app.get("/asks")
    @own
    async def asks(seconds: int):
        return JSONResponse("bad", 503, {"Retry-After": str(seconds)})

    @app.get("/raises")
    @own
    async def raises(seconds: int):
        raise HTTPException(503, headers={"Retry-After": str(seconds)})

    app.get("/plain")(own(raising(ConnectionError)))
    if trips:
        await ask(app, "/asks?seconds=0")
        registry["inventory"].reset(by="ann", reason="test")
        await ask(app, "/plain")
        assert waits == [10, 10]
    else:
        await ask(app, "/asks?seconds=40")
        await ask(app, "/raises?seconds=30")
        await ask(app, "/asks?seconds=4000")
        assert waits == [40, 30, 60]


# -- inner calls -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["decorator", "dependency"])
async def test_a_failure_of_an_inner_call_is_answered_when_it_surfaces(make, registry, way):
    """Counted inside, once, and not again by the guard; also after the guard has learnt that."""

    async def page():
        with registry["inventory"].calling():
            raise ConnectionError

    app = guarded(make, way, page)
    for number in (1, 2, 3):
        assert got(await ask(app)) == HIDDEN
        assert counts(registry)[:2] == (number, number)


async def test_an_answer_made_of_an_inner_failure_is_answered_too(make, registry):
    """The endpoint's own 502, as a client's user would write it."""

    async def page():
        registry["inventory"].acquire().failure()
        return JSONResponse("bad", 502)

    app = guarded(make, "decorator", page)
    for _ in range(3):
        assert got(await ask(app)) == HIDDEN


async def test_a_good_answer_after_an_inner_failure_stays(make, registry):
    """The endpoint has helped itself."""

    async def page():
        registry["inventory"].acquire().failure()
        return "good"

    app = guarded(make, "decorator", page)
    for _ in range(2):
        assert got(await ask(app)) == GOOD


async def test_a_bug_of_an_endpoint_whose_inner_calls_count_is_not_hidden(make, registry):
    """No breaker counted anything."""

    async def page():
        registry["inventory"].call(lambda: None)
        raise LookupError("a bug")

    app = guarded(make, "decorator", page)
    assert isinstance((await ask(app)).error, LookupError)
    assert isinstance((await ask(app)).error, LookupError)
    assert counts(registry)[1] == 0


async def test_an_endpoint_that_does_not_count_is_not_answered_for(make, registry):
    """`record=False`."""
    app = make()
    app.get("/page")(guard("inventory", plan=FIXED, on=BOTH, record=False)(returning(500)))
    assert (await ask(app)).status == 500
    assert counts(registry) == (0, 0, 0)


async def test_the_plan_of_the_breaker_that_failed_answers(make, registry):
    """Of guards around each other, that of the outermost breaker which counted it and answers failures."""
    app = make()
    silent_one = guard("payments", plan=[plans.json("never")])
    app.get("/page")(silent_one(guard("inventory", plan=FIXED, on=BOTH)(raising(ConnectionError))))
    assert got(await ask(app)) == HIDDEN
    assert counts(registry)[1] == counts(registry, "payments")[1] == 1


async def test_a_breakers_declared_plan_answers_failures_if_it_says_so(make, clock):
    """Where no guard has a plan, and where there is no guard at all."""
    registry = shop(clock, inventory={"plan": [{"stale": 600}], "on": ["open", "failure"]})
    app = make(registry)
    fails = []

    @app.get("/guarded")
    @guard("inventory")
    async def page():
        if fails:
            raise ConnectionError
        return "good"

    @app.get("/unguarded")
    async def unguarded():
        registry["inventory"].call(raising_in_thread(ConnectionError))

    await ask(app, "/guarded")
    fails.append(1)
    assert got(await ask(app, "/guarded")) == GOOD
    registry["inventory"].reset(by="ann", reason="test")
    assert (await ask(app, "/unguarded")).status == 503


@pytest.mark.parametrize("way", ["raises", "returns 500"])
async def test_what_a_plan_calls_is_not_the_endpoint(make, registry, way):
    """A function that asks the same breaker does not make the endpoint's outcome an inner one's."""
    app = guarded(
        make,
        "decorator",
        FAILING[way],
        [plans.compute(lambda request, error: registry["inventory"].call(lambda: "other"))],
    )
    for number in (1, 2):
        assert (await ask(app)).body == b'"other"'
        assert counts(registry) == (2 * number, number, 0)


# -- modes and states ------------------------------------------------------------------------------------------


async def test_a_breaker_in_shadow_changes_no_answer(make, registry):
    """It reports what it would do; `forced_closed` admits all, and its failures are failures."""
    app = guarded(make, "decorator", returning(500))
    registry["inventory"].shadow(by="ann", reason="test")
    assert (await ask(app)).status == 500
    registry["inventory"].force_closed(by="ann", reason="test")
    assert (await ask(app)).status == 200


async def test_a_failed_probe_is_answered(make, clock):
    """And re-opens the circuit; the answer is that of the plan before, during and after."""
    registry = shop(clock)
    app = guarded(lambda **settings: make(registry, **settings), "decorator", raising(ConnectionError))
    states = []
    for seconds in (0, 1, 60):
        clock.advance(seconds)
        assert got(await ask(app)) == HIDDEN
        states.append(registry["inventory"].state)
    assert states == ["open", "open", "open"]
    assert registry["inventory"].snapshot().reopenings == 1


async def test_a_refusal_is_still_a_refusal(make, registry):
    """The same plan, given the refusal."""
    seen = []

    def compute(request, error):
        seen.append(type(error))
        return 1

    app = guarded(make, "decorator", raising(ConnectionError), [plans.compute(compute)])
    registry["inventory"].force_open(by="ann", reason="test")
    await ask(app)
    assert seen == [CircuitOpenError]


# -- streams, tasks, clients that go away ------------------------------------------------------------------------


async def test_a_response_that_has_started_is_never_replaced(make, registry):
    """Whatever happens later."""

    async def page():
        async def body():
            yield b"half"
            raise LookupError

        return StreamingResponse(body())

    told = await ask(guarded(make, "decorator", page))
    assert isinstance(told.error, LookupError)
    assert got(told) == (200, b"half")
    assert counts(registry) == (1, 1, 0)


async def test_background_tasks_of_a_replaced_answer_run(make, registry):
    """The endpoint ordered them; what they raise goes to the server."""
    ran = []

    async def page(tasks: BackgroundTasks):
        tasks.add_task(ran.append, 1)
        return JSONResponse("bad", 500, background=tasks)

    assert got(await ask(guarded(make, "decorator", page))) == HIDDEN
    assert ran == [1]


async def test_the_rest_of_a_replaced_answer_is_dropped(registry):
    """All of its body, its trailers, and a break of it; the failure counts once."""

    @guard("inventory", plan=FIXED, on=BOTH)
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 500, "headers": [], "trailers": True})
        await send({"type": "http.response.body", "body": b"bad", "more_body": True})
        await send({"type": "http.response.body", "body": b"bad"})
        await send({"type": "http.response.trailers", "headers": []})
        raise ConnectionError

    told = await ask(CircuitBreakerMiddleware(app, registry))
    assert isinstance(told.error, ConnectionError)
    assert [message["type"] for message in told.messages] == ["http.response.start", "http.response.body"]
    assert told.body == b'"fixed"'
    assert counts(registry) == (1, 1, 0)


async def test_a_client_that_goes_away_is_no_failure(registry):
    """Nobody is there to be answered."""

    @guard("inventory", plan=FIXED, on=BOTH)
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})

    def gone(message):
        raise ConnectionResetError

    told = await ask(CircuitBreakerMiddleware(app, registry), on_send=gone)
    assert isinstance(told.error, ConnectionResetError)
    assert registry.degraded.counts() == {}


@pytest.mark.parametrize("when", ["in the endpoint", "in its plan"])
async def test_a_cancelled_request_leaves_nothing(make, clock, when):
    """No answer, no permit; a failure that was counted stays so, and its plan holds no place."""
    registry = shop(clock, inventory={"failure_threshold": 100, "max_concurrent_calls": 1})
    waiting = anyio.Event()

    async def wait(*_):
        waiting.set()
        await anyio.sleep_forever()

    async def page():
        if when == "in the endpoint":
            await wait()
        return JSONResponse("bad", 500)

    app = make(registry)
    app.get("/page")(guard("inventory", plan=[plans.compute(wait)], on=BOTH)(page))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask, app)
        await waiting.wait()
        assert registry["inventory"].snapshot().in_flight == (when == "in the endpoint")
        tasks.cancel_scope.cancel()
    gc.collect()
    assert registry["inventory"].snapshot().in_flight == 0
    assert counts(registry)[1] == (when == "in its plan")
    assert registry.degraded.counts() == {}


# -- other applications ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("fails", ["raises", "answers"])
async def test_plain_asgi_applications_take_the_middleware_alone(registry, clock, fails):
    """A guarded function of (scope, receive, send) is enough."""

    @guard("inventory", plan=FIXED, on=BOTH)
    async def app(scope, receive, send):
        if fails == "raises":
            raise ConnectionError
        await send({"type": "http.response.start", "status": 502, "headers": []})
        await send({"type": "http.response.body", "body": b"bad"})

    middleware = CircuitBreakerMiddleware(app, Responder(registry, cache=cache(clock)))
    assert got(await ask(middleware)) == HIDDEN
    assert counts(registry) == (1, 1, 0)


@pytest.mark.parametrize("name", ["raises", "returns 500", "raises 503"])
async def test_mounted_applications_are_answered_too(make, registry, name):
    """FastAPI in FastAPI: the inner one makes no 500 of the failure first."""
    app, inner = make(), FastAPI()
    inner.get("/page")(guard("inventory", plan=FIXED, on=BOTH)(FAILING[name]))
    app.mount("/inner", inner)
    told = await ask(app, "/inner/page")
    assert (told.error, *got(told)) == (None, *HIDDEN)
    assert counts(registry) == (1, 1, 0)


async def test_starlette_applications_are_answered_too(registry, clock):
    """With `install`, at the top and mounted."""

    @guard("inventory", plan=FIXED, on=BOTH)
    async def page(request):
        raise ConnectionError

    inner = Starlette(routes=[Route("/page", page)])
    app = Starlette(routes=[Route("/page", page), Mount("/inner", inner)])
    install(app, registry, cache=cache(clock))
    for path in ("/page", "/inner/page"):
        assert got(await ask(app, path)) == HIDDEN


async def test_starlette_applications_may_add_the_middleware_themselves(registry):
    """Without `install`, and without FastAPI."""

    @guard("inventory", plan=FIXED, on=BOTH)
    async def page(request):
        if "answers" in request.query_params:
            return JSONResponse("bad", 500)
        raise ConnectionError

    app = Starlette(routes=[Route("/page", page)])
    app.add_middleware(CircuitBreakerMiddleware, registry=registry)
    assert got(await ask(app)) == got(await ask(app, "/page?answers")) == HIDDEN


@pytest.mark.parametrize("can_deny", [True, False])
async def test_a_websocket_that_fails_before_it_is_accepted_is_refused(make, registry, logged, can_deny):
    """Cleanly, as for an open circuit; the error is logged."""
    app = make()

    @app.websocket("/page")
    @guard("inventory", plan=[plans.unavailable()], on=BOTH)
    async def talk(socket: WebSocket):
        raise ConnectionError

    extensions = {"websocket.http.response": {}} if can_deny else {}
    told = await ask(app, kind="websocket", scope={"extensions": extensions})
    assert told.error is None
    kinds = [message["type"] for message in told.messages]
    if can_deny:
        assert kinds == ["websocket.http.response.start", "websocket.http.response.body"]
        assert told.status == 503
    else:
        assert kinds == ["websocket.close"]
    assert registry.degraded.counts() == {("inventory", "unavailable"): 1}
    assert counts(registry) == (1, 1, 0)
    assert len(logged()) == 1


class Deferred(Strategy):
    """As a queue of jobs would answer: it waits for the queue, and promises."""

    name = "defer"

    async def answer(self, request, error):
        await anyio.lowlevel.checkpoint()
        assert request.native.method == "POST"
        return Given(202, (("location", "/jobs/1"),))


@pytest.mark.parametrize("is_open", [False, True])
async def test_a_strategy_may_wait_and_promise(make, registry, is_open):
    """202 for a POST, whether refused or failed; counted by its own name."""
    app = guarded(make, "decorator", raising(ConnectionError), [Deferred()])
    if is_open:
        registry["inventory"].force_open(by="ann", reason="test")
    told = await ask(app, method="POST")
    assert (told.status, told.headers["location"]) == (202, "/jobs/1")
    assert registry.degraded.counts() == {("inventory", "defer"): 1}


# -- mistakes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("on", [(), ("failure",), ("open", "closed"), "failure", ("open", 1), 5])
async def test_what_a_plan_answers_is_checked_at_start(make, on):
    """With the words there are."""
    app = make()
    app.get("/page")(guard("inventory", plan=FIXED, on=on)(returning(200)))
    told = await ask(app)
    assert isinstance(told.error, ConfigurationError)
    assert 'guard(\'inventory\').on must be ["open"], or ["open", "failure"]' in str(told.error)


async def test_what_a_plan_answers_needs_a_plan(make):
    """A guard without one leaves it to the breaker's own."""
    app = make()
    app.get("/page")(guard("inventory", on=BOTH)(returning(200)))
    told = await ask(app)
    assert "guard('inventory').on must stand beside the plan that it is about" in str(told.error)


def test_guards_differ_by_what_their_plans_answer():
    """They compare by value, for `dependency_overrides`."""
    assert guard("a", plan=FIXED, on=["open", "failure"]) == guard("a", plan=FIXED, on=BOTH)
    assert guard("a", plan=FIXED, on=BOTH) != guard("a", plan=FIXED)
    assert repr(guard("a", on=BOTH)) == "guard('a', on=('open', 'failure'))"
