"""`guard` and `breaker`: who is let in, whose outcome counts, what an endpoint keeps of itself."""

import gc
import inspect
from collections.abc import AsyncIterable, Iterable
from typing import Annotated

import anyio
import pytest
from fastapi import BackgroundTasks, Depends, FastAPI, HTTPException, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.responses import EventSourceResponse, StreamingResponse
from pydantic import BaseModel
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response
from starlette.websockets import WebSocketDisconnect

from http_tools import Clock, ask, cache, open_circuit, shop
from recloser import CircuitBreaker, CircuitOpenError
from recloser.core.permit import Permit
from recloser.fastapi import breaker, guard, install
from recloser.http import plans
from recloser.http.exchange import Exchange

pytestmark = pytest.mark.anyio

SUCCESS = {"calls": 1, "failures": 0, "ignored": 0}
FAILURE = {"calls": 1, "failures": 1, "ignored": 0}
IGNORED = {"calls": 0, "failures": 0, "ignored": 1}
NOTHING = {"calls": 0, "failures": 0, "ignored": 0}


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
def app(registry, clock):
    app = FastAPI()
    install(app, registry, cache=cache(clock))
    return app


def counts(registry, name="inventory"):
    seen = registry[name].snapshot()
    return {"calls": seen.calls, "failures": seen.failures, "ignored": seen.ignored}


# -- whose fault ---------------------------------------------------------------------------------------------


class Own(Exception):
    """An exception that the application has a handler for."""


def validation_error():
    return RequestValidationError([{"type": "missing", "loc": ("query", "q"), "msg": "", "input": None}])


RAISED = [
    (lambda: ConnectionError("refused"), FAILURE),
    (lambda: HTTPException(500), FAILURE),
    (lambda: HTTPException(503), FAILURE),
    (lambda: HTTPException(429), FAILURE),
    (lambda: HTTPException(400), IGNORED),
    (lambda: HTTPException(401), IGNORED),
    (lambda: HTTPException(403), IGNORED),
    (lambda: HTTPException(404), IGNORED),
    (lambda: HTTPException(304), SUCCESS),
    (validation_error, IGNORED),
    (ClientDisconnect, IGNORED),
    (WebSocketDisconnect, IGNORED),
    (Own, FAILURE),
    (lambda: ExceptionGroup("", [HTTPException(404)]), IGNORED),
    (lambda: ExceptionGroup("", [HTTPException(404), OSError()]), FAILURE),
]


@pytest.mark.parametrize(("error", "expected"), RAISED, ids=[repr(error()) for error, _ in RAISED])
@pytest.mark.parametrize("is_async", [True, False])
async def test_what_an_endpoint_raises_counts(app, registry, error, expected, is_async):
    """Whatever a handler makes of it."""
    app.add_exception_handler(Own, lambda request, error: JSONResponse("handled"))
    if is_async:

        @guard("inventory")
        async def page():
            raise error()

    else:

        @guard("inventory")
        def page():
            raise error()

    app.get("/page")(page)
    await ask(app)
    assert counts(registry) == expected


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (200, SUCCESS),
        (204, SUCCESS),
        (307, SUCCESS),
        (404, IGNORED),
        (422, IGNORED),
        (429, FAILURE),
        (502, FAILURE),
    ],
)
@pytest.mark.parametrize("way", ["response", "status_code"])
async def test_what_an_endpoint_answers_counts(app, registry, status, expected, way):
    """A returned response, or the status set for a value."""

    @app.get("/page")
    @guard("inventory")
    async def page(response: Response):
        if way == "response":
            return Response(status_code=status)
        response.status_code = status
        return None

    assert (await ask(app)).status == status
    assert counts(registry) == expected


async def test_bad_input_never_reaches_the_guard(app, registry):
    """A guard as a decorator runs after all dependencies and checks."""

    @app.get("/page")
    @guard("inventory")
    async def page(number: int):
        return number

    assert (await ask(app, "/page?number=x")).status == 422
    open_circuit(registry)
    assert (await ask(app, "/page?number=x")).status == 422
    assert counts(registry)["calls"] == 1


async def test_an_answer_that_does_not_fit_its_model_is_a_failure(app, registry):
    """It is a 500, and what does not fit came from the dependency."""

    class Model(BaseModel):
        quantity: int

    @app.get("/page")
    @guard("inventory")
    async def page() -> Model:
        return {"quantity": "many"}  # type: ignore[return-value]

    assert (await ask(app)).status == 500
    assert counts(registry) == FAILURE


async def test_a_refusal_of_another_circuit_is_ignored(app, registry):
    """It says nothing about this one, and the answer that recloser makes of it neither."""

    @app.get("/page")
    @guard("inventory")
    async def page():
        registry["payments"].acquire()

    open_circuit(registry, "payments")
    assert (await ask(app)).status == 503
    assert counts(registry) == IGNORED


async def test_results_that_failure_if_counts_are_failures(clock):
    """Whatever their status, and only if no inner call counts instead."""
    registry = shop(clock, inventory={"failure_if": lambda result: result == "empty", "failure_threshold": 9})
    app = FastAPI()
    install(app, registry)

    @app.get("/sync")
    @guard("inventory")
    def sync():
        return "empty"

    @app.get("/page")
    @guard("inventory")
    async def page(inner: bool = False):
        if inner:
            registry["inventory"].acquire().success()
        return "empty"

    await ask(app)
    assert counts(registry) == FAILURE
    await ask(app, "/sync")
    assert counts(registry) == {"calls": 2, "failures": 2, "ignored": 0}
    await ask(app, "/page?inner=true")
    assert counts(registry) == {"calls": 3, "failures": 2, "ignored": 1}


async def test_background_tasks_are_no_part_of_the_outcome(app, registry):
    """They run when the answer is whole."""

    @app.get("/page")
    @guard("inventory")
    async def page(tasks: BackgroundTasks):
        async def fail():
            raise ConnectionError

        tasks.add_task(fail)
        return "good"

    told = await ask(app)
    assert told.status == 200
    assert isinstance(told.error, ConnectionError)
    assert counts(registry) == SUCCESS


async def test_a_broken_stream_is_a_failure(app, registry):
    """An endpoint's own outcome ends with its body."""

    @app.get("/page")
    @guard("inventory")
    async def page():
        async def body():
            yield b"half"
            raise ConnectionError

        return StreamingResponse(body())

    assert (await ask(app)).status == 200
    assert counts(registry) == FAILURE


async def test_a_late_http_exception_is_judged_as_itself(app, registry):
    """Starlette replaces it by a RuntimeError, since the response has started."""

    @app.get("/page")
    @guard("inventory")
    async def page():
        async def body():
            yield b"half"
            raise HTTPException(404)

        return StreamingResponse(body())

    assert isinstance((await ask(app)).error, RuntimeError)
    assert counts(registry) == IGNORED


# Starlette leaves the rest of such a stream to the garbage collector, of which trio warns whenever that comes.
@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")
async def test_a_client_that_goes_away_during_a_stream_is_ignored(app, registry):
    """By `send` raising, as ASGI 2.4 has it."""

    @app.get("/page")
    @guard("inventory")
    async def page():
        return StreamingResponse(iter([b"half", b"other half"]))

    def gone(message):
        if message["type"] == "http.response.body":
            raise ConnectionResetError

    await ask(app, on_send=gone)
    gc.collect()
    assert counts(registry) == IGNORED


# -- streams of FastAPI's own ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["jsonl", "sse", "sync"])
async def test_generator_endpoints_are_asked_before_their_answer_starts(app, registry, kind):
    """So that their plan can answer; a stream settles at its end."""
    if kind == "sync":

        @app.get("/page")
        @guard("inventory", plan=[plans.json("fixed")])
        def page() -> Iterable[int]:
            yield 1
            yield 2

    else:
        route = app.get("/page", response_class=EventSourceResponse) if kind == "sse" else app.get("/page")

        @route
        @guard("inventory", plan=[plans.json("fixed")])
        async def page() -> AsyncIterable[int]:
            yield 1
            yield 2

    good = await ask(app)
    assert good.body.replace(b"data: ", b"").split() == [b"1", b"2"]
    assert counts(registry) == SUCCESS
    registry["inventory"].force_open(by="ann", reason="test")
    told = await ask(app)
    assert told.status == 200
    assert told.body == b'"fixed"'


async def test_a_refused_stream_is_no_failure_of_another_guard(app, registry):
    """The outer guard let it begin, the inner one refused: the 503 is recloser's own."""

    @app.get("/page")
    @guard("inventory")
    @guard("payments")
    async def page() -> AsyncIterable[int]:
        yield 1

    open_circuit(registry, "payments")
    assert (await ask(app)).status == 503
    assert counts(registry) == IGNORED


async def test_a_generator_endpoint_that_breaks_is_a_failure(app, registry):
    """Half-way through its lines."""

    async def page() -> AsyncIterable[int]:
        yield 1
        raise ConnectionError

    app.get("/page")(guard("inventory")(page))
    await ask(app)
    assert counts(registry) == FAILURE


# -- inner calls -----------------------------------------------------------------------------------------------


async def test_an_inner_call_counts_instead_of_the_endpoint(app, registry):
    """The endpoint's answer to a failed call is its own affair; from then on the guard only refuses."""
    inner = registry["inventory"]

    @app.get("/page")
    @guard("inventory")
    async def page(fails: bool = False):
        permit = inner.acquire()
        if fails:
            permit.failure(ConnectionError())
        else:
            permit.success()
        return "good"

    await ask(app, "/page?fails=true")
    assert counts(registry) == {"calls": 1, "failures": 1, "ignored": 1}
    await ask(app)
    assert counts(registry) == {"calls": 2, "failures": 1, "ignored": 1}
    open_circuit(registry)
    registry["inventory"].force_open(by="ann", reason="test")
    assert (await ask(app)).status == 503


async def test_an_inner_failure_that_escapes_is_counted_once(app, registry):
    """Inside and at the guard it is the same event."""
    inner = registry["inventory"]

    @inner
    async def stock():
        raise ConnectionError

    @app.get("/page")
    @guard("inventory")
    async def page():
        await stock()

    await ask(app)
    assert counts(registry)["failures"] == counts(registry)["calls"] == 1


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (True, {"calls": 2, "failures": 1, "ignored": 0}),
        (False, {"calls": 1, "failures": 1, "ignored": 0}),
    ],
)
async def test_record_says_outright_whether_the_endpoint_counts(app, registry, record, expected):
    """Whatever is seen inside."""

    @app.get("/page")
    @guard("inventory", record=record)
    async def page():
        registry["inventory"].acquire().failure()
        return "good"

    await ask(app)
    assert counts(registry) == expected


async def test_a_guard_does_not_starve_its_own_probe(app, registry, clock):
    """Half-open, the inner call rides on the guard's place, and its verdict closes the circuit."""
    inner = registry["inventory"]

    @app.get("/page")
    @guard("inventory")
    async def page():
        async with inner.calling():
            return "good"

    inner.force_open(by="ann", reason="test")
    inner.auto(by="ann", reason="test")
    for _ in range(100):
        inner.acquire().failure()
    assert inner.state == "open"
    clock.advance(10)
    assert (await ask(app)).status == 200
    assert inner.state == "closed"


async def test_a_probe_is_given_back_for_an_ignored_outcome(app, registry, clock):
    """A 404 neither closes nor re-opens."""
    inner = registry["inventory"]

    @app.get("/page")
    @guard("inventory")
    async def page(found: bool = False):
        if not found:
            raise HTTPException(404)
        return "good"

    for _ in range(100):
        inner.acquire().failure()
    clock.advance(10)
    assert (await ask(app)).status == 404
    assert inner.state == "half_open"
    assert inner.snapshot().probes_in_flight == 0
    assert (await ask(app, "/page?found=true")).status == 200
    assert inner.state == "closed"


async def test_a_guard_that_came_after_the_start_names_its_mistake(app):
    """Where nobody could check it before."""
    await ask(app)

    @app.get("/late")
    @guard("nothing")
    def late():
        pass

    assert "guard('nothing') must name a declared breaker" in str((await ask(app, "/late")).error)


@pytest.mark.parametrize("is_probe", [False, True])
@pytest.mark.parametrize("is_sync", [False, True])
async def test_nested_guards_of_one_breaker_count_a_request_once(app, registry, clock, is_probe, is_sync):
    """Closed and half-open."""

    async def page():
        return "good"

    def sync():
        return "good"

    endpoint = sync if is_sync else page
    app.get("/page")(guard("inventory")(guard("inventory", plan=[plans.json("fixed")])(endpoint)))
    before = 0
    if is_probe:
        for _ in range(100):
            registry["inventory"].acquire().failure()
        before = 100
        clock.advance(10)
    assert (await ask(app)).status == 200
    assert counts(registry)["calls"] == before + 1
    registry["inventory"].force_open(by="ann", reason="test")
    assert (await ask(app)).body == b'"fixed"'


async def test_guards_of_several_breakers_count_for_each(app, registry):
    """One endpoint, two dependencies; the outer one is asked first."""

    @app.get("/page")
    @guard("inventory")
    @guard("payments")
    async def page():
        return "good"

    await ask(app)
    assert counts(registry) == counts(registry, "payments") == SUCCESS
    registry["payments"].force_open(by="ann", reason="test")
    await ask(app)
    assert counts(registry) == {"calls": 1, "failures": 0, "ignored": 1}


async def test_a_guarded_helper_may_be_called_while_the_answer_is_sent(app, registry):
    """Guards are for endpoints, but nothing breaks elsewhere."""

    @guard("inventory")
    async def part():
        return b"part"

    @app.get("/page")
    async def page():
        async def body():
            yield await part()
            yield await part()

        return StreamingResponse(body())

    told = await ask(app)
    assert told.error is None
    assert told.body == b"partpart"
    assert counts(registry)["calls"] == 1


# -- websockets ------------------------------------------------------------------------------------------------


async def test_an_accepted_websocket_is_not_answered_over_http(app, registry):
    """Starlette asks its handlers even then; nothing but a close would still be understood."""

    @app.websocket("/page")
    async def page(websocket: WebSocket, inventory: Annotated[CircuitBreaker, breaker("inventory")]):
        await websocket.accept()
        inventory.call(lambda: "good")

    registry["inventory"].force_open(by="ann", reason="test")
    told = await ask(app, kind="websocket", scope={"extensions": {"websocket.http.response": {}}})
    assert [message["type"] for message in told.messages] == ["websocket.accept"]
    assert isinstance(told.error, CircuitOpenError)
    assert registry.degraded.counts() == {}


async def test_a_guarded_websocket_is_refused_before_it_is_accepted(app, registry):
    """And accepted otherwise."""

    @app.websocket("/page")
    @guard("inventory")
    async def page(websocket: WebSocket):
        await websocket.accept()
        await websocket.close()

    assert [message["type"] for message in (await ask(app, kind="websocket")).messages] == [
        "websocket.accept",
        "websocket.close",
    ]
    assert counts(registry) == SUCCESS
    registry["inventory"].force_open(by="ann", reason="test")
    told = await ask(app, kind="websocket")
    assert told.error is None
    assert told.messages == [{"type": "websocket.close", "code": 1013, "reason": "service unavailable"}]


# -- access first ----------------------------------------------------------------------------------------------


def user(token: str = ""):
    if token != "ann":
        raise HTTPException(403 if token else 401)
    return token


@pytest.mark.parametrize("token", ["", "bob", "ann"])
@pytest.mark.parametrize(
    "plan", [[plans.stale(600)], [plans.json({"secret": 1})], [plans.unavailable()]], ids=repr
)
async def test_an_open_circuit_opens_no_door(app, registry, token, plan):
    """Anonymous and wrong users get the same answer whether the circuit is open or closed."""

    @app.get("/page")
    @guard("inventory", plan=plan)
    async def page(name: Annotated[str, Depends(user)]):
        return {"of": name}

    await ask(app, "/page?token=ann")
    closed = await ask(app, f"/page?token={token}")
    registry["inventory"].force_open(by="ann", reason="test")
    told = await ask(app, f"/page?token={token}")
    if token == "ann":
        assert closed.status == 200
        assert b"detail" not in told.body or told.status == 503
    else:
        assert (told.status, told.body) == (closed.status, closed.body)


async def test_a_refusal_before_access_is_checked_is_answered_by_public_answers_only(app, registry):
    """A dependency that calls out before the user is known must not give the fixed body away."""

    def stock():
        registry["inventory"].acquire().success()

    @app.get("/page")
    @guard("inventory", plan=[plans.stale(600), plans.json({"secret": 1})])
    async def page(stock: Annotated[None, Depends(stock)], name: Annotated[str, Depends(user)]):
        return {"of": name}

    registry["inventory"].force_open(by="ann", reason="test")
    told = await ask(app, "/page?token=ann")
    assert told.status == 503
    assert b"secret" not in told.body


# -- the decorator ---------------------------------------------------------------------------------------------


def test_an_endpoint_keeps_its_signature_and_kind():
    """FastAPI reads both."""

    async def page(number: int, name: str = "x") -> str:
        """Of the page."""
        return name

    guarded = guard("inventory")(page)
    assert inspect.signature(guarded) == inspect.signature(page)
    assert inspect.iscoroutinefunction(guarded)
    assert (guarded.__name__, guarded.__doc__) == ("page", "Of the page.")

    def sync(number: int) -> int:
        return number

    assert not inspect.iscoroutinefunction(guard("inventory")(sync))


async def test_the_documentation_of_a_guarded_endpoint_is_its_own(app):
    """Parameters, description, operation id."""

    @app.get("/page")
    @guard("inventory")
    async def page(number: int) -> int:
        """Of the page."""
        return number

    operation = app.openapi()["paths"]["/page"]["get"]
    assert operation["parameters"][0]["name"] == "number"
    assert operation["description"] == "Of the page."


@pytest.mark.parametrize("target", [object, object(), 5])
def test_only_functions_can_be_guarded(target):
    """Said at decoration."""
    with pytest.raises(TypeError, match=r"guard\('inventory'\) guards functions and methods, not "):
        guard("inventory")(target)


async def test_outside_of_a_request_a_guard_says_what_is_missing():
    """A forgotten `install` is no silent loss of protection."""

    @guard("inventory")
    async def page():
        return "good"

    @guard("inventory")
    def sync():
        return "good"

    with pytest.raises(RuntimeError, match=r"guard\('inventory'\) was used outside .* call install"):
        await page()
    with pytest.raises(RuntimeError, match="outside"):
        sync()
    assert await page.__wrapped__() == "good"


async def test_guards_and_breakers_compare_by_value():
    """So that overrides and repeated declarations find each other."""
    assert guard("a", plan=[{"stale": 5}]) == guard("a", plan=[{"stale": 5}])
    assert guard("a") != guard("b")
    assert guard("a") != guard("a", record=True)
    assert guard("a") != "a"
    assert len({guard("a"), guard("a"), guard("b")}) == 2
    assert breaker("a") == breaker("a")
    assert breaker("a") != breaker("b")
    assert len({breaker("a"), breaker("a")}) == 1
    assert repr(breaker("a")) == "breaker('a')"
    assert repr(guard("a", plan="unavailable", record=True)) == "guard('a', plan='unavailable', record=True)"


async def test_an_injected_breaker_is_the_registrys(app, registry):
    """In endpoints and dependencies, sync and async; it can be overridden by an equal key."""
    Inventory = Annotated[CircuitBreaker, breaker("inventory")]
    seen = []

    def dependency(inventory: Inventory):
        seen.append(inventory)

    @app.get("/page", dependencies=[Depends(dependency)])
    async def page(inventory: Inventory):
        seen.append(inventory)

    await ask(app)
    assert seen == [registry["inventory"]] * 2
    other = CircuitBreaker("other")
    app.dependency_overrides[breaker("inventory")] = lambda: other
    await ask(app)
    assert seen[2:] == [other, other]


async def test_an_injected_breaker_needs_install():
    """And says so."""
    app = FastAPI()

    @app.get("/page")
    async def page(inventory: Annotated[CircuitBreaker, breaker("inventory")]):
        pass

    told = await ask(app)
    assert isinstance(told.error, RuntimeError)
    assert "breaker('inventory') was used outside" in str(told.error)


async def test_one_guard_may_stand_in_two_applications(clock):
    """Each with its own breaker."""

    @guard("inventory", plan=[plans.json("fixed")])
    async def page():
        return "good"

    registries = [shop(clock), shop(clock)]
    apps = []
    for registry in registries:
        app = FastAPI()
        install(app, registry)
        app.get("/page")(page)
        apps.append(app)
    open_circuit(registries[0])
    assert [(await ask(app)).body for app in [*apps, *apps]] == [b'"fixed"', b'"good"'] * 2
    assert counts(registries[1])["calls"] == 2


async def test_concurrent_requests_share_nothing(app, registry):
    """A hundred at once, each settled by its own answer."""

    @app.get("/page")
    @guard("inventory")
    async def page(status: int):
        await anyio.lowlevel.checkpoint()
        return Response(status_code=status)

    async with anyio.create_task_group() as tasks:
        for number in range(99):
            tasks.start_soon(ask, app, f"/page?status={(200, 404, 500)[number % 3]}")
    assert counts(registry) == {"calls": 66, "failures": 33, "ignored": 33}


class Cut:
    """A body that ends badly half-way. No generator: those wait for the event loop to end them."""

    def __init__(self, end):
        self.half = True
        self.end = end

    def __aiter__(self):
        return self

    async def __anext__(self):
        if not self.half:
            await self.end()
        self.half = False
        return b"half"


def left_of(registry):
    """Find what anything still holds of a registry's requests."""
    gc.collect()
    driver = registry["inventory"]._driver
    left = [thing for thing in gc.get_objects() if type(thing) in (Permit, Exchange)]
    return [
        thing
        for thing in left
        if (thing.driver is driver if type(thing) is Permit else thing.responder.registry is registry)
    ]


@pytest.mark.parametrize("policy", [{}, {"max_concurrent_calls": 5}])
@pytest.mark.parametrize("on", [("open",), ("open", "failure")])
async def test_requests_that_are_cut_short_leave_no_permit_and_no_memory(clock, policy, on):
    """Cancelled before or in their answer, hung up on, broken off: nothing of them is held, or to be found."""
    registry = shop(clock, inventory={"failure_threshold": 100, **policy})
    app = FastAPI()
    install(app, registry, cache=cache(clock))
    own = guard("inventory", plan=[plans.stale(600)], on=on)
    scopes = []

    async def cancelled():
        scopes[-1].cancel()
        await anyio.sleep_forever()

    async def broken():
        raise ConnectionError

    def gone(message):
        if message.get("body"):
            raise OSError("gone")

    app.get("/waits")(own(cancelled))
    app.get("/cancelled", dependencies=[own])(lambda: StreamingResponse(Cut(cancelled)))
    app.get("/broken", dependencies=[own])(lambda: StreamingResponse(Cut(broken)))
    for path, on_send in [("/waits", None), ("/cancelled", None), ("/broken", None), ("/broken", gone)]:
        for _ in range(6):  # more than the bulkhead has places
            with anyio.CancelScope() as scope:
                scopes.append(scope)
                await ask(app, path, on_send=on_send)
    assert counts(registry) == {"calls": 6, "failures": 6, "ignored": 18}
    for _ in range(100):  # the event loop, and the threads of sync endpoints, let go of what they did last
        if not left_of(registry):
            break
        await anyio.sleep(0.01)
    assert not left_of(registry)


@pytest.mark.parametrize(
    "policy",
    [
        {"failure_threshold": 9},
        {"failure_rate_threshold": 0.5, "window_seconds": 60, "minimum_calls": 4},
        {"failure_rate_threshold": 0.5, "window_calls": 10, "minimum_calls": 4},
        {
            "slow_call_duration": 5,
            "slow_call_rate_threshold": 0.5,
            "failure_rate_threshold": 0.5,
            "minimum_calls": 4,
        },
        {"max_concurrent_calls": 5, "failure_threshold": 9},
    ],
    ids=["consecutive", "time window", "call window", "slow", "bulkhead"],
)
async def test_every_kind_of_policy_counts_a_guarded_endpoint(clock, policy):
    """Successes and failures, each once; the rates trip at the very call that reaches them."""
    registry = shop(clock, inventory={"failure_threshold": None, **policy})
    app = FastAPI()
    install(app, registry)

    @app.get("/page")
    @guard("inventory")
    async def page(status: int = 200):
        clock.advance(1)
        return Response(status_code=status)

    for status in (200, 200, 500):
        await ask(app, f"/page?status={status}")
    assert counts(registry) == {"calls": 3, "failures": 1, "ignored": 0}
    assert registry["inventory"].state == "closed"
    await ask(app, "/page?status=500")
    expected = "open" if "failure_rate_threshold" in policy else "closed"
    assert registry["inventory"].state == expected
    if expected == "closed":
        assert counts(registry) == {"calls": 4, "failures": 2, "ignored": 0}


async def test_successes_leave_a_time_window_with_their_time(clock):
    """A guard's success is counted when it happened, not whenever the window is next looked at."""
    registry = shop(
        clock, inventory={"failure_rate_threshold": 0.5, "window_seconds": 10, "minimum_calls": 2}
    )
    app = FastAPI()
    install(app, registry)

    @app.get("/page")
    @guard("inventory")
    async def page():
        return "good"

    for _ in range(4):
        await ask(app)
    clock.advance(6)
    await ask(app)
    assert registry["inventory"].snapshot().window.calls == 5
    clock.advance(6)
    assert registry["inventory"].snapshot().window.calls == 1


async def test_a_refused_endpoint_is_not_run(app, registry):
    """Nor is the thread of a sync one occupied for long."""
    ran = []

    @app.get("/page")
    @guard("inventory")
    def page():
        ran.append(1)

    registry["inventory"].force_open(by="ann", reason="test")
    await ask(app)
    assert ran == []


async def test_the_endpoint_may_answer_a_refusal_itself(app, registry):
    """An error of the endpoint's own making never reaches the plan."""

    @app.get("/page")
    async def page():
        try:
            registry["inventory"].acquire()
        except CircuitOpenError as refused:
            return {"wait": refused.retry_after}

    registry["inventory"].force_open(by="ann", reason="test")
    assert (await ask(app)).status == 200
