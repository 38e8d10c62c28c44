"""A response's body is watched to its end."""

from __future__ import annotations

import gc

import pytest

from clients.callers import HASTE, PATIENCE, Caller
from clients.conftest import Clock
from clients.counting import Counted, counted, permits_left
from clients.misbehaving import Misbehaving
from recloser.registry import Registry

# The libraries leave generators of a body closed early to trio's garbage collector, also without breakers.
pytestmark = pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")


@pytest.mark.parametrize("fault", ["hang-in-body", "reset-in-body", "truncated", "cut-chunks"])
def test_a_body_that_breaks_half_way_is_a_failure(
    caller: Caller, server: Misbehaving, registry: Registry, fault: str
):
    """Good headers do not make a good answer."""
    breaker = registry.for_origin(server.origin)
    hangs = fault == "hang-in-body"
    reply = caller.open(server.url(f"/{fault}"), timeout=HASTE if hangs else PATIENCE)
    assert counted(breaker) == Counted()
    with pytest.raises(caller.body_timeout_error if hangs else caller.error):
        reply.read()
    assert counted(breaker) == Counted(failure=1)
    reply.close()
    assert counted(breaker) == Counted(failure=1)


def test_a_body_that_breaks_trips_like_any_failure(caller: Caller, server: Misbehaving, registry: Registry):
    """Three broken bodies open the circuit."""
    for _ in range(3):
        with pytest.raises(caller.error):
            caller.get(server.url("/truncated"))
    assert registry.for_origin(server.origin).state == "open"


@pytest.mark.parametrize(
    ("path", "body"),
    [("/bytes/100000", b"x" * 100_000), ("/drip", b"half" * 5), ("/gzip", b"plain"), ("/bytes/0", b"")],
)
def test_a_body_read_to_its_end_is_a_success(
    caller: Caller, server: Misbehaving, registry: Registry, path: str, body: bytes
):
    """Large, slow, compressed and empty bodies arrive unharmed, and count when they end."""
    breaker = registry.for_origin(server.origin)
    reply = caller.open(server.url(path))
    assert counted(breaker) == Counted()
    assert reply.read() == body
    assert counted(breaker) == Counted(success=1)


def test_a_body_read_in_pieces_is_a_success_at_its_end(
    caller: Caller, server: Misbehaving, registry: Registry
):
    """`stream()` and the raw iterators are watched as well."""
    breaker = registry.for_origin(server.origin)
    reply = caller.open(server.url("/drip"))
    while reply.chunk():
        assert counted(breaker) == Counted()
    assert counted(breaker) == Counted(success=1)
    reply.close()
    assert counted(breaker) == Counted(success=1)


def test_a_connection_is_used_again(caller: Caller, server: Misbehaving):
    """The watcher keeps no connection from its pool."""
    for path in ("/bytes/4", "/drip", "/gzip", "/status/500", "/status/204", "/status/302?Location=/bytes/4"):
        caller.get(server.url(path), follow=True)
    assert server.connections == 1


@pytest.mark.parametrize("chunks", [0, 2])
def test_a_body_closed_early_is_a_success(
    caller: Caller, server: Misbehaving, registry: Registry, chunks: int
):
    """The dependency answered; that the consumer has seen enough is not its failure."""
    reply = caller.open(server.url("/endless"))
    for _ in range(chunks):
        assert reply.chunk()
    reply.close()
    assert counted(registry.for_origin(server.origin)) == Counted(success=1)


def test_answers_that_are_closed_early_keep_failures_apart(
    caller: Caller, server: Misbehaving, registry: Registry
):
    """A client that only looks at the status does not trip on a failure now and then."""
    for _ in range(6):
        caller.open(server.url("/status/500")).close()
        caller.open(server.url("/bytes/4")).close()
    assert registry.for_origin(server.origin).state == "closed"


def test_a_body_that_does_not_decompress_is_no_failure(
    caller: Caller, server: Misbehaving, registry: Registry
):
    """What the bytes mean is the caller's affair."""
    with pytest.raises(caller.decoding_error):
        caller.get(server.url("/bad-gzip"))
    assert counted(registry.for_origin(server.origin)).failure == 0


@pytest.mark.parametrize(
    ("method", "path"),
    [("HEAD", "/bytes/4"), ("GET", "/status/204"), ("GET", "/status/304"), ("HEAD", "/gzip")],
)
def test_a_response_without_body_counts_at_its_headers(
    caller: Caller, server: Misbehaving, registry: Registry, method: str, path: str
):
    """There is nothing left that could break (RFC 9110 §6.4.1)."""
    reply = caller.open(server.url(path), method)
    assert counted(registry.for_origin(server.origin)) == Counted(success=1)
    assert reply.read() == b""
    assert counted(registry.for_origin(server.origin)) == Counted(success=1)


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # the connection left behind is what is tested
def test_a_probe_that_is_dropped_gives_its_place_back(
    caller: Caller, server: Misbehaving, registry: Registry, clock: Clock
):
    """A response that nobody reads, closes or keeps leaves half-open to the next request."""
    breaker = registry.for_origin(server.origin)
    trip(caller, server)
    clock.advance(10)
    reply = caller.open(server.url("/bytes/4"))
    assert breaker.snapshot().probes_in_flight == 1
    del reply
    gc.collect()
    assert breaker.snapshot().probes_in_flight == 0
    assert caller.get(server.url("/bytes/4"))[0] == 200
    assert breaker.state == "closed"


def test_a_probe_that_is_kept_unread_holds_no_place_beyond_its_lease(
    caller: Caller, server: Misbehaving, registry: Registry, clock: Clock
):
    """After `probe_timeout` another request is the probe."""
    trip(caller, server)
    clock.advance(10)
    kept = caller.open(server.url("/bytes/4"))
    clock.advance(30)
    assert caller.get(server.url("/bytes/4"))[0] == 200
    assert registry.for_origin(server.origin).state == "closed"
    kept.close()


def trip(caller: Caller, server: Misbehaving) -> None:
    for _ in range(3):
        caller.get(server.url("/status/500"))


def test_nothing_is_kept_of_failed_requests(caller: Caller, server: Misbehaving, registry: Registry):
    """Failures, refusals and broken bodies leave no permit behind."""
    for path in ("/reset", "/status/503", "/truncated", "/bytes/4", "/status/200"):
        try:
            caller.get(server.url(path))
        except Exception:
            continue
    assert registry.for_origin(server.origin).state == "open"
    assert not permits_left(registry)
