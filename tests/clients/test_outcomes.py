"""What a request says about the dependency it went to."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Any

import pytest

from clients.callers import HASTE, PATIENCE, Caller, Opener
from clients.conftest import Clock
from clients.counting import Counted, counted
from clients.misbehaving import Misbehaving, refusing_port
from recloser import CircuitOpenError
from recloser.registry import Registry


@pytest.mark.parametrize("status", [200, 206, 302, 304, 400, 401, 404, 499])
def test_a_status_below_500_other_than_429_is_a_success(
    caller: Caller, server: Misbehaving, registry: Registry, status: int
):
    """The dependency answered, if not as hoped."""
    assert caller.get(server.url(f"/status/{status}"))[0] == status
    assert counted(registry.for_origin(server.origin)) == Counted(success=1)


@pytest.mark.parametrize("status", [429, 500, 503, 599])
def test_5xx_and_429_are_failures(caller: Caller, server: Misbehaving, registry: Registry, status: int):
    """The response reaches the caller as it is, and counts as a failure."""
    assert caller.get(server.url(f"/status/{status}?x=secret")) == (status, b"status")
    breaker = registry.for_origin(server.origin)
    assert counted(breaker) == Counted(failure=1)
    assert breaker.snapshot().last_failure == f"{caller.status_error}: {status} Whatever"


def test_a_bad_status_counts_before_its_body_is_read(caller: Caller, server: Misbehaving, registry: Registry):
    """Nobody needs to read an error page for it to count."""
    reply = caller.open(server.url("/status/503"))
    assert counted(registry.for_origin(server.origin)) == Counted(failure=1)
    reply.close()
    assert counted(registry.for_origin(server.origin)) == Counted(failure=1)


@pytest.mark.parametrize("fault", ["hang", "reset", "garbage", "two-lengths"])
def test_a_fault_before_the_headers_is_a_failure(
    caller: Caller, server: Misbehaving, registry: Registry, fault: str
):
    """Time-outs, resets and answers that are not HTTP raise the library's own error, and count."""
    with pytest.raises(caller.timeout_error if fault == "hang" else caller.error):
        caller.get(server.url(f"/{fault}"), timeout=HASTE if fault == "hang" else PATIENCE)
    attempts = caller.attempts if fault == "reset" else 1
    assert counted(registry.for_origin(server.origin)) == Counted(failure=attempts)


def test_a_refused_connection_is_a_failure(caller: Caller, registry: Registry):
    """Nobody listens there."""
    origin = f"127.0.0.1:{refusing_port()}"
    with pytest.raises(caller.error):
        caller.get(f"http://{origin}/")
    assert counted(registry.for_origin(origin)) == Counted(failure=1)


def test_a_certificate_that_nobody_trusts_is_a_failure(caller: Caller, registry: Registry):
    """A dependency that cannot show who it is does not work."""
    server = Misbehaving(tls=True)
    try:
        with pytest.raises(caller.error):
            caller.get(f"https://{server.origin}/status/200")
    finally:
        server.close()
    assert counted(registry.for_origin(server.origin)) == Counted(failure=1)


def test_a_name_that_does_not_resolve_is_a_failure(
    caller: Caller, registry: Registry, monkeypatch: pytest.MonkeyPatch
):
    """To its caller a dependency that cannot be found is one that is down."""

    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(caller.error):
        caller.get("http://api.example/?key=secret")
    breaker = registry.for_origin("api.example:80")
    assert counted(breaker) == Counted(failure=1)
    assert "secret" not in breaker.snapshot().last_failure


@pytest.mark.parametrize(
    "fault", ["/status/500", "/reset", "/garbage", "/two-lengths", "/truncated", "/reset-in-body"]
)
def test_no_secret_of_a_url_is_told_to_operators(
    caller: Caller, server: Misbehaving, registry: Registry, fault: str
):
    """Neither the credentials in it, nor its query: not in names, events, errors and texts of failures."""
    url = f"http://ann:s3cret@{server.origin}{fault}?key=s3cret"
    told: list[object] = []
    registry.add_listener(told.append)
    for _ in range(3):
        with suppress(Exception):
            caller.get(url)
    with pytest.raises(CircuitOpenError) as refusal:
        caller.get(url)
    told += [
        list(registry),
        refusal.value.args,
        str(refusal.value),
        registry.for_origin(server.origin).snapshot(),
    ]
    assert refusal.value.last_failure
    assert "s3cret" not in repr(told)


def test_an_open_circuit_touches_no_connection(caller: Caller, server: Misbehaving, registry: Registry):
    """After three failures the fourth request is refused before anything is sent."""
    for _ in range(3):
        caller.get(server.url("/status/500"))
    connections, seen = server.connections, len(server.seen)
    with pytest.raises(CircuitOpenError) as refusal:
        caller.get(server.url("/status/200"))
    assert refusal.value.breaker == registry.for_origin(server.origin).name
    assert refusal.value.retry_after == 10
    assert (server.connections, len(server.seen)) == (connections, seen)


@pytest.mark.parametrize(
    ("status", "value", "wait"),
    [
        (503, "120", 120),
        (429, "120", 120),
        (503, "Tue, 14 Nov 2023 22:15:20 GMT", 120),  # two minutes after the registry's wall clock
        (503, "1", 10),
        (503, "86400", 600),
        (503, "soon", 10),
        (429, "Tue, 14 Nov 2023 22:00:00 GMT", 10),
    ],
)
def test_retry_after_lengthens_the_open_period(
    caller: Caller, server: Misbehaving, registry: Registry, status: int, value: str, wait: float
):
    """Seconds and dates are understood, capped, and never shorten it (RFC 9110 §10.2.3)."""
    for _ in range(3):
        caller.get(server.url(f"/status/{status}?Retry-After={value.replace(' ', '+')}"))
    with pytest.raises(CircuitOpenError) as refusal:
        caller.get(server.url("/status/200"))
    assert refusal.value.retry_after == wait


@pytest.mark.parametrize(
    "policy", [{"failure_threshold": 1, "honor_retry_after": False, "recovery_jitter": 0}]
)
def test_retry_after_is_not_honoured_where_the_policy_says_so(
    caller: Caller, server: Misbehaving, registry: Registry
):
    """`honor_retry_after` off: the open period is the policy's own."""
    caller.get(server.url("/status/503?Retry-After=120"))
    assert registry.for_origin(server.origin).snapshot().retry_after == 30


@pytest.mark.parametrize("policy", [{"ignore": lambda error: status_of(error) == 501}])
def test_the_policy_judges_statuses_as_the_errors_that_they_are(
    caller: Caller, server: Misbehaving, registry: Registry
):
    """`ignore` and `failure_on` see a bad status as the library's error for it."""
    caller.get(server.url("/status/501"))
    caller.get(server.url("/status/500"))
    assert counted(registry.for_origin(server.origin)) == Counted(failure=1, ignored=1)


def test_a_probe_that_succeeds_closes_the_circuit(
    caller: Caller, server: Misbehaving, registry: Registry, clock: Clock
):
    """A failing probe re-opens, a good one closes; each is one request."""
    for _ in range(3):
        caller.get(server.url("/status/500"))
    breaker = registry.for_origin(server.origin)
    clock.advance(10)
    with pytest.raises(caller.timeout_error):
        caller.get(server.url("/hang"), timeout=HASTE)
    assert breaker.state == "open"
    clock.advance(20)
    assert caller.get(server.url("/status/200"))[0] == 200
    assert breaker.state == "closed"
    assert len(server.seen) == 5


def test_an_error_of_the_callers_own_body_is_no_outcome(
    caller: Caller, server: Misbehaving, registry: Registry
):
    """An upload whose source breaks says nothing about the service that it was sent to."""

    def source():
        yield b"part"
        raise LookupError("the browser went away")

    with pytest.raises(caller.source_error):
        caller.open(server.url("/status/200"), "POST", body=source())
    assert counted(registry.for_origin(server.origin)) == Counted(ignored=1)


def test_another_dependencys_error_inside_an_upload_is_no_outcome(
    caller: Caller, server: Misbehaving, registry: Registry
):
    """Relaying a body that breaks blames its source alone, though the error is of the same kind."""

    def source():
        yield b"part"
        raise caller.error("the source broke")

    with pytest.raises(caller.error, match="the source broke"):
        caller.open(server.url("/status/200"), "POST", body=source())
    assert counted(registry.for_origin(server.origin)) == Counted(ignored=1)


@pytest.mark.parametrize(
    ("path", "outcome"), [("/status/200", Counted(success=1)), ("/reset", Counted(failure=1))]
)
def test_a_streamed_upload_counts_like_any_request(
    caller: Caller, server: Misbehaving, registry: Registry, path: str, outcome: Counted
):
    """A source that is well leaves the outcome to the dependency."""
    try:
        caller.open(server.url(path), "POST", body=iter([b"some", b"parts"])).read()
    except caller.error:
        assert path == "/reset"
    assert counted(registry.for_origin(server.origin)) == outcome


def test_waiting_in_vain_for_the_connection_pool_is_no_outcome(
    opener: Opener, server: Misbehaving, registry: Registry
):
    """It never reached the dependency; and where origins share a pool, another one may have exhausted it."""
    other = Misbehaving()
    try:
        with opener(registry, max_connections=1) as caller:
            target = other if caller.shares_pool else server
            held = caller.open(server.url("/endless"))
            before = counted(registry.for_origin(target.origin))
            with pytest.raises(caller.pool_error):
                caller.get(target.url("/status/200"), timeout=HASTE)
            assert counted(registry.for_origin(target.origin)) == before._replace(ignored=1)
            held.close()
            assert caller.get(target.url("/status/200"))[0] == 200
    finally:
        other.close()
    assert registry.for_origin(target.origin).snapshot().failures == 0


@pytest.mark.parametrize("policy", [{"max_concurrent_calls": 1}])
def test_the_bulkhead_is_held_to_the_end_of_the_body(caller: Caller, server: Misbehaving, registry: Registry):
    """A response that is being read is a call in flight."""
    breaker = registry.for_origin(server.origin)
    reply = caller.open(server.url("/bytes/4"))
    assert breaker.snapshot().in_flight == 1
    assert reply.read() == b"xxxx"
    assert breaker.snapshot().in_flight == 0


@pytest.mark.parametrize("policy", [{"slow_call_duration": 2, "slow_call_rate_threshold": 0.5}])
@pytest.mark.parametrize(("to_headers", "to_the_end", "slow"), [(1, 3, 0), (2, 0, 1)])
def test_slowness_is_measured_up_to_the_headers(
    caller: Caller,
    server: Misbehaving,
    registry: Registry,
    clock: Clock,
    to_headers: float,
    to_the_end: float,
    slow: int,
):
    """A long body is no slow answer."""
    server.before_headers = lambda: clock.advance(to_headers)
    reply = caller.open(server.url("/bytes/4"))
    clock.advance(to_the_end)
    reply.read()
    numbers = registry.for_origin(server.origin).snapshot()
    assert (numbers.calls, numbers.slow) == (1, slow)


def status_of(error: Any) -> int:
    """Read the status off a library's error for it."""
    return error.status if hasattr(error, "status") else error.response.status_code
