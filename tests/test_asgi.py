"""The middleware alone, around plain ASGI applications: answers, settlement, streams and copies."""

from __future__ import annotations

import gc
import weakref

import anyio
import pytest

from http_tools import Clock, ask, cache, open_circuit, request, shop
from recloser import CircuitOpenError, ConfigurationError, Registry
from recloser.asgi import CircuitBreakerMiddleware
from recloser.core.scope import current
from recloser.fastapi import guard
from recloser.http import plans
from recloser.http.responder import Responder

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


async def respond(send, body=b"good", status=200, headers=()):
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    await send({"type": "http.response.body", "body": body})


def around(app, registry, **knobs):
    return CircuitBreakerMiddleware(app, registry, **knobs)


def serving(registry, clock, handler, *, plan=(), name="inventory", **knobs):
    """An application whose whole work is one guarded function of (scope, receive, send)."""
    work = guard(name, plan=list(plan), **knobs)(handler)

    async def app(scope, receive, send):
        await work(scope, receive, send)

    responder = Responder(registry, cache=cache(clock), random=lambda: 0.0)
    return CircuitBreakerMiddleware(app, responder)


def counts(registry, name="inventory"):
    seen = registry[name].snapshot()
    return {"calls": seen.calls, "failures": seen.failures, "ignored": seen.ignored}


# -- answers -----------------------------------------------------------------------------------------------


async def test_a_refusal_becomes_the_breakers_answer(registry):
    """Anywhere under the application: 503, `Retry-After`, never stored."""

    async def app(scope, receive, send):
        registry["inventory"].acquire()

    open_circuit(registry)
    told = await ask(around(app, Responder(registry, random=lambda: 0.0)))
    assert told.error is None
    assert told.status == 503
    assert told.headers == {
        "content-type": "application/problem+json",
        "content-length": str(len(told.body)),
        "retry-after": "10",
        "cache-control": "no-store",
        "recloser": "degraded",
    }


async def test_other_errors_pass_unchanged(registry):
    """The very same exception."""
    error = LookupError("a bug")

    async def app(scope, receive, send):
        raise error

    assert (await ask(around(app, registry))).error is error


async def test_a_group_of_nothing_but_refusals_is_one(registry):
    """Task groups wrap what they raise; the longest wait is told."""

    async def app(scope, receive, send):
        async def call(name):
            registry[name].acquire()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call, "inventory")
            tasks.start_soon(call, "payments")

    registry["payments"].force_open(by="ann", reason="test")
    open_circuit(registry)
    told = await ask(around(app, registry, expose=True))
    assert told.error is None
    assert told.status == 503


async def test_a_group_with_anything_else_passes(registry):
    """A bug must not hide behind a refusal."""

    async def app(scope, receive, send):
        try:
            registry["inventory"].acquire()
        except CircuitOpenError as refused:
            raise ExceptionGroup("both", [refused, LookupError("a bug")]) from None

    open_circuit(registry)
    told = await ask(around(app, registry))
    assert isinstance(told.error, ExceptionGroup)
    assert told.messages == []


async def test_a_response_that_has_started_is_never_replaced(registry):
    """The refusal passes on to the server, which ends the connection."""

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        registry["inventory"].acquire()

    open_circuit(registry)
    told = await ask(around(app, registry))
    assert isinstance(told.error, CircuitOpenError)
    assert [message["type"] for message in told.messages] == ["http.response.start", "http.response.body"]
    assert told.status == 200


async def test_exposing_names_breaker_and_strategy(registry):
    """In the header as in the problem document."""

    async def app(scope, receive, send):
        registry["inventory"].acquire()

    open_circuit(registry)
    told = await ask(around(app, registry, expose=True))
    assert told.headers["recloser"] == 'degraded; strategy=unavailable; breaker="inventory"'
    assert b'"breaker": "inventory"' in told.body


async def test_head_gets_the_headers_without_the_body(registry):
    """RFC 9110 §9.3.2."""

    async def app(scope, receive, send):
        registry["inventory"].acquire()

    open_circuit(registry)
    told = await ask(around(app, registry), method="HEAD")
    assert told.body == b""
    assert int(told.headers["content-length"]) > 0


async def test_no_exception_is_kept_alive_by_an_answer(registry):
    """Nor its traceback, whose frames hold the request."""
    seen = []

    async def app(scope, receive, send):
        try:
            registry["inventory"].acquire()
        except CircuitOpenError as refused:
            seen.append(weakref.ref(refused))
            raise

    open_circuit(registry)
    await ask(around(app, registry))
    gc.collect()
    assert seen[0]() is None


async def test_each_request_has_a_scope_of_its_own_and_leaves_none(registry):
    """Set before the application runs, gone after it, also after an error."""
    seen = []

    async def app(scope, receive, send):
        seen.append(current.get())
        if len(seen) == 2:
            raise LookupError
        await respond(send)

    middleware = around(app, registry)
    for _ in range(3):
        await ask(middleware)
        assert current.get() is None
    assert len(set(map(id, seen))) == 3


async def test_wrong_plans_of_breakers_stop_the_construction():
    """All at once."""
    registry = shop(inventory={"plan": [{"json": {}}]}, payments={"plan": [{"stale": -1}]})
    with pytest.raises(ConfigurationError) as raised:
        around(respond, registry)
    assert [str(problem) for problem in raised.value.problems] == [
        (
            'RECLOSER["BREAKERS"]["inventory"]["plan"][0] must be stale or unavailable on a breaker: '
            "any other answer belongs to a route's plan, got json"
        ),
        (
            'RECLOSER["BREAKERS"]["payments"]["plan"][0].stale must be a positive number of seconds '
            "(or a timedelta), got -1"
        ),
    ]


# -- settlement --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (200, {"calls": 1, "failures": 0, "ignored": 0}),
        (302, {"calls": 1, "failures": 0, "ignored": 0}),
        (404, {"calls": 0, "failures": 0, "ignored": 1}),
        (429, {"calls": 1, "failures": 1, "ignored": 0}),
        (503, {"calls": 1, "failures": 1, "ignored": 0}),
    ],
)
async def test_the_status_settles_a_guard(registry, clock, status, expected):
    """At the final body message."""

    async def work(scope, receive, send):
        await respond(send, status=status)

    await ask(serving(registry, clock, work))
    assert counts(registry) == expected


async def test_a_retry_after_of_the_endpoints_own_answer_is_honoured(registry, clock):
    """It lengthens the open period."""

    async def work(scope, receive, send):
        await respond(send, status=503, headers=[(b"retry-after", b"40")])

    await ask(serving(registry, clock, work))
    assert registry["inventory"].snapshot().retry_after == 40


async def test_a_stream_settles_when_it_ends(registry, clock):
    """Not when it begins."""
    during = []

    async def work(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"1", "more_body": True})
        during.append(counts(registry)["calls"])
        await send({"type": "http.response.body", "body": b"2", "more_body": False})

    await ask(serving(registry, clock, work))
    assert during == [0]
    assert counts(registry)["calls"] == 1


async def test_a_stream_that_breaks_is_a_failure(registry, clock):
    """The response can no longer be replaced, but the breaker hears of it."""

    async def app(scope, receive, send):
        await begin(scope, receive, send)
        await send({"type": "http.response.body", "body": b"1", "more_body": True})
        raise ConnectionError("reset by inventory")

    @guard("inventory")
    async def begin(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})

    told = await ask(around(app, registry))
    assert isinstance(told.error, ConnectionError)
    assert counts(registry) == {"calls": 1, "failures": 1, "ignored": 0}


async def test_a_client_that_goes_away_is_ignored(registry, clock):
    """The server's `send` raises `OSError`: nothing is said about the dependency."""

    def gone(message):
        if message["type"] == "http.response.body":
            raise ConnectionResetError

    async def work(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"1", "more_body": True})

    @guard("inventory")
    async def nothing():
        pass

    async def app(scope, receive, send):
        await nothing()
        await work(scope, receive, send)

    told = await ask(around(app, registry), on_send=gone)
    assert isinstance(told.error, ConnectionResetError)
    assert counts(registry) == {"calls": 0, "failures": 0, "ignored": 1}


async def test_an_answer_that_is_never_finished_is_ignored(registry, clock):
    """The application gave up without an error, as Starlette does when the client is gone."""

    async def work(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})

    await ask(serving(registry, clock, work))
    assert counts(registry) == {"calls": 0, "failures": 0, "ignored": 1}


async def test_cancellation_gives_a_probe_back(registry, clock):
    """The next request may probe at once."""

    async def work(scope, receive, send):
        await anyio.sleep_forever()

    middleware = serving(registry, clock, work)
    open_circuit(registry)
    clock.advance(10)
    with anyio.move_on_after(0.01):
        await middleware({"type": "http", "method": "GET", "path": "/", "headers": []}, None, None)
    assert registry["inventory"].snapshot().probes_in_flight == 0
    registry["inventory"].acquire().success()
    assert registry["inventory"].state == "closed"


async def test_what_comes_after_the_answer_is_a_background_task(registry, clock):
    """It neither counts nor changes the answer."""

    async def work(scope, receive, send):
        await respond(send)
        raise ConnectionError("the background task failed")

    told = await ask(serving(registry, clock, work))
    assert isinstance(told.error, ConnectionError)
    assert told.status == 200
    # The guard sees the exception after the answer was settled.
    assert counts(registry) == {"calls": 1, "failures": 0, "ignored": 0}


async def test_trailers_end_an_answer_that_has_some(registry, clock):
    """ASGI's `http.response.trailers`."""
    during = []

    async def work(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [], "trailers": True})
        await send({"type": "http.response.body", "body": b"1"})
        during.append(counts(registry)["calls"])
        await send({"type": "http.response.trailers", "headers": []})

    middleware = serving(registry, clock, work, plan=[plans.stale(60)])
    await ask(middleware)
    assert during == [0]
    assert counts(registry)["calls"] == 1
    assert len(middleware.responder.cache) == 0


async def test_a_file_that_the_server_sends_settles_and_is_not_kept(registry, clock):
    """ASGI's `http.response.pathsend`: nobody here sees the body."""

    async def work(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.pathsend", "path": "/dev/null"})

    middleware = serving(registry, clock, work, plan=[plans.stale(60)])
    await ask(middleware)
    assert counts(registry)["calls"] == 1
    assert len(middleware.responder.cache) == 0


async def test_slowness_is_measured_to_the_start_of_the_answer(clock):
    """A long download of a quick answer is not slow."""
    registry = shop(clock, inventory={"slow_call_duration": 1, "slow_call_rate_threshold": 1.0})

    async def work(scope, receive, send):
        clock.advance(0.5)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        clock.advance(60)
        await send({"type": "http.response.body", "body": b"1"})

    await ask(serving(registry, clock, work))
    assert registry["inventory"].snapshot().slow == 0
    assert counts(registry)["calls"] == 1


async def test_a_bulkhead_slot_is_held_to_the_end_of_the_answer(clock):
    """Others are refused while a body is on its way."""
    registry = shop(clock, inventory={"max_concurrent_calls": 1})
    during = []

    async def work(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        during.append((await ask(middleware)).status)
        await send({"type": "http.response.body", "body": b"1"})

    middleware = serving(registry, clock, work)
    await ask(middleware)
    assert during == [503]
    assert registry["inventory"].snapshot().in_flight == 0


# -- copies ------------------------------------------------------------------------------------------------


def kept(middleware):
    return middleware.responder.cache


async def test_a_good_answer_is_served_again_while_the_circuit_is_open(registry, clock):
    """With its age, and said to be what it is."""

    async def work(scope, receive, send):
        await respond(send, headers=[(b"content-type", b"text/plain"), (b"content-length", b"4")])

    middleware = serving(registry, clock, work, plan=[plans.stale(600)])
    await ask(middleware)
    open_circuit(registry)
    clock.advance(5)
    told = await ask(middleware)
    assert told.status == 200
    assert told.body == b"good"
    assert told.headers == {
        "content-type": "text/plain",
        "content-length": "4",
        "age": "5",
        "cache-status": "recloser; hit; ttl=-5; detail=circuit-open",
        "recloser": "degraded",
    }
    assert (await ask(middleware, method="HEAD")).body == b""
    assert (await ask(middleware, path="/other")).status == 503


async def test_a_body_in_parts_is_kept_whole(registry, clock):
    """Chunks are joined."""

    async def work(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for part in (b"a", bytearray(b"b"), memoryview(b"c")):
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body"})

    middleware = serving(registry, clock, work, plan=[plans.stale(600)])
    await ask(middleware)
    open_circuit(registry)
    assert (await ask(middleware)).body == b"abc"


@pytest.mark.parametrize("declares", [True, False])
async def test_a_long_body_passes_without_being_buffered(registry, clock, declares):
    """10 MB: declared long it is not copied at all; found to be long it is let go of."""
    alive = []

    class Part(bytes):
        pass

    async def work(scope, receive, send):
        headers = [(b"content-length", b"10000000")] if declares else []
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        parts = weakref.WeakSet()
        for _ in range(100):
            part = Part(100_000)
            await send({"type": "http.response.body", "body": bytes(part), "more_body": True})
            holder = current.get()
            tee = holder._tee
            alive.append(0 if tee is None or tee._chunks is None else sum(map(len, tee._chunks)))
        del parts
        await send({"type": "http.response.body", "body": b""})

    middleware = serving(registry, clock, work, plan=[plans.stale(600)])
    told = await ask(middleware)
    assert len(told.body) == 10_000_000
    assert max(alive) <= (0 if declares else 1_000_000)
    assert len(kept(middleware)) == 0


async def test_a_body_shorter_than_declared_is_not_kept(registry, clock):
    """RFC 9111 §3.3: incomplete."""

    async def work(scope, receive, send):
        await respond(send, b"go", headers=[(b"content-length", b"4")])

    middleware = serving(registry, clock, work, plan=[plans.stale(600)])
    await ask(middleware)
    assert len(kept(middleware)) == 0


@pytest.mark.parametrize("version", ["2", "3"])
@pytest.mark.parametrize("reads", ["before", "after", "never"])
async def test_a_get_with_content_that_no_header_announces_leaves_no_page(registry, clock, version, reads):
    """RFC 9110 §9.3.1, RFC 9113 §8.1: in HTTP/2 content needs no header, and must not select what others get."""

    async def work(scope, receive, send):
        if reads == "before":
            await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if reads == "after":
            await receive()
        await send({"type": "http.response.body", "body": b"good"})

    middleware = serving(registry, clock, work, plan=[plans.stale(600)])
    await ask(middleware, content=b"evil", scope={"http_version": version})
    assert len(kept(middleware)) == (reads == "never")
    await ask(middleware, scope={"http_version": version})
    assert len(kept(middleware)) == 1


async def test_a_broken_stream_is_not_kept(registry, clock):
    """Half a page is no good copy."""

    async def work(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise ConnectionError

    middleware = serving(registry, clock, work, plan=[plans.stale(600)])
    await ask(middleware)
    assert len(kept(middleware)) == 0


@pytest.mark.parametrize("trouble", ["refused", "failed", "fell back", "late"])
async def test_a_page_made_in_trouble_is_no_last_good_one(registry, clock, trouble):
    """Not while any breaker refused, failed or fell back during its request, even after its start."""
    other = registry["payments"]

    async def work(scope, receive, send):
        if trouble == "refused":
            with pytest.raises(CircuitOpenError):
                other.acquire()
        if trouble == "failed":
            other.acquire().failure()
        if trouble == "fell back":
            other.protect(fallback=None)(respond_nothing)()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if trouble == "late":
            other.acquire().failure()
        await send({"type": "http.response.body", "body": b"degraded"})

    def respond_nothing():
        raise AssertionError("never called")

    if trouble in {"refused", "fell back"}:
        open_circuit(registry, "payments")
    middleware = serving(registry, clock, work, plan=[plans.stale(600)])
    told = await ask(middleware)
    assert told.body == b"degraded"
    assert len(kept(middleware)) == 0


async def test_nothing_is_copied_without_a_plan_that_serves_it_again(registry, clock):
    """Memory is spent where it was asked for."""

    async def work(scope, receive, send):
        await respond(send)

    middleware = serving(registry, clock, work, plan=[plans.json({})])
    await ask(middleware)
    assert len(kept(middleware)) == 0


async def test_a_change_drops_what_was_kept_of_its_target(registry, clock):
    """RFC 9111 §4.4: a successful unsafe request, guarded or not; a failed one changes nothing."""
    statuses = {"POST": 204, "PUT": 500}

    async def work(scope, receive, send):
        await respond(send)

    guarded = guard("inventory", plan=[plans.stale(600)])(work)

    async def app(scope, receive, send):
        if scope["method"] == "GET":
            await guarded(scope, receive, send)
        else:
            await respond(send, b"", statuses[scope["method"]])

    middleware = CircuitBreakerMiddleware(app, Responder(registry, cache=cache(clock)))
    await ask(middleware)
    await ask(middleware, method="PUT")
    await ask(middleware, method="POST", path="/other")
    assert len(kept(middleware)) == 1
    await ask(middleware, method="POST")
    assert len(kept(middleware)) == 0


async def test_what_the_application_takes_back_is_dropped(registry, clock):
    """A page that became private, or vanished, is not the last good one any more."""
    answers = [
        (200, []),
        (200, [(b"cache-control", b"no-store")]),
        (200, []),
        (404, []),
        (200, []),
        (500, []),
    ]
    sizes = []

    async def work(scope, receive, send):
        status, headers = answers.pop(0)
        await respond(send, status=status, headers=headers)

    middleware = serving(
        shop(clock, inventory={"failure_threshold": 5}), clock, work, plan=[plans.stale(600)]
    )
    for _ in range(6):
        await ask(middleware)
        sizes.append(len(kept(middleware)))
    assert sizes == [1, 0, 1, 0, 1, 1]


async def test_an_answer_made_in_trouble_takes_nothing_back(registry, clock):
    """A 404 from a fallback says nothing about the page."""

    async def work(scope, receive, send):
        if registry["payments"].state == "open":
            with pytest.raises(CircuitOpenError):
                registry["payments"].acquire()
            await respond(send, status=404)
        else:
            await respond(send)

    middleware = serving(registry, clock, work, plan=[plans.stale(600)])
    await ask(middleware)
    open_circuit(registry, "payments")
    assert (await ask(middleware)).status == 404
    assert len(kept(middleware)) == 1


@pytest.mark.parametrize(
    ("headers", "age"),
    [([], "0"), ([("cookie", "a=b")], "100"), ([("authorization", "Basic YQ==")], "100")],
)
async def test_a_304_of_the_application_renews_the_page(registry, clock, headers, age):
    """Unless it may be about the page of the one who asks: RFC 9111 §4.3.4."""

    async def work(scope, receive, send):
        is_known = (b"if-none-match", b'"1"') in scope["headers"]
        await respond(
            send, b"" if is_known else b"good", 304 if is_known else 200, headers=[(b"etag", b'"1"')]
        )

    middleware = serving(registry, clock, work, plan=[plans.stale(600)])
    await ask(middleware)
    clock.advance(100)
    assert (await ask(middleware, headers=[("if-none-match", '"1"'), *headers])).status == 304
    open_circuit(registry)
    told = await ask(middleware)
    assert (told.status, told.body, told.headers["age"]) == (200, b"good", age)


async def test_a_304_that_forbids_storing_drops_the_page(registry, clock):
    """It asks not to be stored any more."""

    async def work(scope, receive, send):
        if (b"if-none-match", b'"1"') in scope["headers"]:
            await respond(send, b"", 304, headers=[(b"etag", b'"1"'), (b"cache-control", b"no-store")])
        else:
            await respond(send, headers=[(b"etag", b'"1"')])

    middleware = serving(registry, clock, work, plan=[plans.stale(600)])
    await ask(middleware)
    await ask(middleware, headers=[("if-none-match", '"1"')])
    assert len(kept(middleware)) == 0


@pytest.mark.parametrize(
    ("scope", "is_kept"),
    [
        ({}, True),
        ({"session": {}}, True),
        ({"session": {"user": 5}}, False),
        ({"session": type("Session", (dict,), {"accessed": True})()}, False),
        ({"user": type("Anonymous", (), {"is_authenticated": False})()}, True),
        ({"user": type("Ann", (), {"is_authenticated": True})()}, False),
        ({"user": "ann"}, False),
        ({"extensions": {"tls": {"client_cert_chain": ["a certificate"]}}}, False),
        ({"extensions": {"tls": {"client_cert_chain": []}}}, True),
    ],
)
async def test_sessions_and_users_make_an_answer_personal(registry, clock, scope, is_kept):
    """As Starlette's middleware leaves them in the scope."""

    async def work(scope, receive, send):
        await respond(send)

    middleware = serving(registry, clock, work, plan=[plans.stale(600)])
    await ask(middleware, scope=scope)
    assert len(kept(middleware)) == is_kept


async def test_a_session_touched_by_the_body_makes_it_personal(registry, clock):
    """Asked again at the end."""

    async def work(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        scope["session"]["token"] = "secret"
        await send({"type": "http.response.body", "body": b"secret"})

    middleware = serving(registry, clock, work, plan=[plans.stale(600)])
    await ask(middleware, scope={"session": {}})
    assert len(kept(middleware)) == 0


async def test_two_host_fields_are_no_host(registry, clock):
    """RFC 9112 §3.2: such a request is malformed, and gives no key."""

    async def work(scope, receive, send):
        await respond(send)

    middleware = serving(registry, clock, work, plan=[plans.stale(600)])
    await ask(middleware, headers=[("host", "other.example")])
    assert len(kept(middleware)) == 0


# -- websockets and lifespan -----------------------------------------------------------------------------------


async def test_a_websocket_passes(registry):
    """And has a scope like any request."""

    async def app(scope, receive, send):
        assert current.get() is not None
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "hello"})

    told = await ask(around(app, registry), kind="websocket")
    assert told.error is None
    assert [message["type"] for message in told.messages] == ["websocket.accept", "websocket.send"]


async def test_a_websocket_is_settled_when_it_is_accepted(registry, clock):
    """Its hours of life say nothing about the dependency."""

    async def work(scope, receive, send):
        await send({"type": "websocket.accept"})
        raise ConnectionError

    await ask(serving(registry, clock, work), kind="websocket")
    assert counts(registry) == {"calls": 1, "failures": 0, "ignored": 0}


async def test_a_websocket_that_fails_before_that_is_a_failure(registry, clock):
    """Nobody was let in."""

    async def work(scope, receive, send):
        raise ConnectionError

    await ask(serving(registry, clock, work), kind="websocket")
    assert counts(registry) == {"calls": 1, "failures": 1, "ignored": 0}


@pytest.mark.parametrize("can_deny", [True, False])
async def test_a_websocket_is_refused_before_it_is_accepted(registry, clock, can_deny):
    """With 503 where the server has the denial extension, else by closing: try again later."""

    async def work(scope, receive, send):
        await send({"type": "websocket.accept"})

    open_circuit(registry)
    extensions = {"websocket.http.response": {}} if can_deny else {}
    told = await ask(
        serving(registry, clock, work, plan=[plans.json("no")]),
        kind="websocket",
        scope={"extensions": extensions},
    )
    assert told.error is None
    if can_deny:
        assert told.messages[0]["type"] == "websocket.http.response.start"
        assert told.messages[1]["type"] == "websocket.http.response.body"
        assert told.status == 503
        assert told.headers["retry-after"] == "10"
    else:
        assert told.messages == [{"type": "websocket.close", "code": 1013, "reason": "service unavailable"}]


async def test_an_accepted_websocket_is_not_refused(registry):
    """The refusal is the application's own affair by then."""

    async def app(scope, receive, send):
        await send({"type": "websocket.accept"})
        registry["inventory"].acquire()

    open_circuit(registry)
    told = await ask(around(app, registry), kind="websocket")
    assert isinstance(told.error, CircuitOpenError)
    assert [message["type"] for message in told.messages] == ["websocket.accept"]


async def test_start_and_end_of_the_application_are_heard(tmp_path):
    """`on_start` before the first request, once; the registry is open meanwhile and closed at the end, each time."""
    registry = Registry({"STORE": f"sqlite://{tmp_path}/fleet/store.db", "BREAKERS": {"inventory": {}}})
    started, heard = [], []

    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            await send({"type": "lifespan.startup.complete"})
            assert started == [1]
            heard.append(registry.ready(30))
            await send({"type": "lifespan.shutdown.complete"})
            heard.append(str(registry.store_health.connection))
        else:
            await respond(send)

    middleware = around(app, registry, on_start=lambda: started.append(1))
    told = await ask(middleware, kind="lifespan")
    assert [message["type"] for message in told.messages] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]
    await ask(middleware)
    await ask(middleware, kind="lifespan")
    assert started == [1]
    assert heard == [True, "closed"] * 2


@pytest.mark.parametrize(("starts", "connection"), [(True, "closed"), (False, "up")])
async def test_an_application_that_breaks_while_it_lives_leaves_and_one_without_a_lifespan_stays(
    tmp_path, starts, connection
):
    """The first was cancelled, or is over without a word; a server goes on serving the other."""
    registry = Registry({"STORE": f"sqlite://{tmp_path}/fleet/store.db", "BREAKERS": {"inventory": {}}})

    async def app(scope, receive, send):
        if starts:
            await send({"type": "lifespan.startup.complete"})
        assert registry.ready(30)
        raise NotImplementedError

    told = await ask(around(app, registry), kind="lifespan")
    assert isinstance(told.error, NotImplementedError)
    assert registry.store_health.connection == connection
    registry.close()


async def test_without_a_lifespan_the_first_request_starts(registry):
    """Servers may be told not to announce it."""
    started = []

    async def app(scope, receive, send):
        await respond(send)

    middleware = around(app, registry, on_start=lambda: started.append(1))
    assert started == []
    await ask(middleware)
    await ask(middleware)
    assert started == [1]


async def test_anything_else_passes_untouched(registry):
    """Kinds of scope that nobody knows yet."""

    async def app(scope, receive, send):
        assert current.get() is None
        await send({"type": "new"})

    assert (await ask(around(app, registry), kind="new")).messages == [{"type": "new"}]


def test_a_request_can_be_described_without_optional_keys(registry, clock):
    """ASGI lets servers leave `raw_path`, `query_string` and `scheme` out."""
    from recloser.http.exchange import Exchange
    from recloser.http.responder import RouteFacts

    scope = {"type": "http", "method": "GET", "path": "/käse", "headers": [(b"Host", b"a.example")]}
    described = Exchange(Responder(registry), lambda _: RouteFacts(), scope, None).request()
    assert described == request().__class__(
        method="GET",
        scheme="http",
        host="a.example",
        path="/käse",
        raw_path="/k\xc3\xa4se",
        query="",
        headers=(("host", "a.example"),),
    )
