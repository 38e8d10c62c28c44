"""Which breaker guards a request: one per origin, the declared one where there is one."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from clients.callers import REDIRECTS, Caller, Opener
from clients.counting import Counted, counted
from clients.misbehaving import Misbehaving
from recloser import CircuitOpenError
from recloser.registry import Registry


@pytest.fixture
def other() -> Iterator[Misbehaving]:
    other = Misbehaving()
    yield other
    other.close()


def test_each_origin_has_its_own_breaker(
    caller: Caller, server: Misbehaving, other: Misbehaving, registry: Registry
):
    """One dependency's outage leaves its neighbour alone."""
    for _ in range(3):
        caller.get(server.url("/status/500"))
    with pytest.raises(CircuitOpenError):
        caller.get(server.url("/status/200"))
    assert caller.get(other.url("/status/200"))[0] == 200
    assert list(registry) == [server.origin, other.origin]


def test_a_declared_origin_has_its_declared_breaker(opener: Opener, server: Misbehaving, other: Misbehaving):
    """`origins` leads requests to a breaker with a name and a policy of its own."""
    declaration = {"BREAKERS": {"payments": {"failure_threshold": 1, "origins": [server.url("")]}}}
    with Registry(declaration) as registry, opener(registry) as caller:
        caller.get(server.url("/status/500"))
        with pytest.raises(CircuitOpenError) as refusal:
            caller.get(server.url("/status/200"))
        caller.get(other.url("/status/200"))
        assert refusal.value.breaker == "payments"
        assert registry["payments"].state == "open"
        assert list(registry) == ["payments", other.origin]


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("API.Example", "api.example:80"),
        ("api.example:80", "api.example:80"),
        ("api.example:", "api.example:80"),
        ("ann:s3cret@api.example", "api.example:80"),
        ("b\u00fccher.example", "xn--bcher-kva.example:80"),
        ("my_service:8000", "my_service:8000"),
        ("[::1]:1", "[::1]:1"),
        ("[0:0:0:0:0:0:0:1]:1", "[::1]:1"),
    ],
)
def test_all_spellings_of_a_host_are_one_origin(
    caller: Caller, registry: Registry, monkeypatch: pytest.MonkeyPatch, host: str, origin: str
):
    """Case, default ports, credentials, international names and addresses: every client says them the same way."""

    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(caller.error):
        caller.get(f"http://{host}/")
    assert list(registry) == [origin]


def test_two_schemes_on_one_port_are_one_origin(caller: Caller, server: Misbehaving, registry: Registry):
    """A port has one listener: that it does not speak TLS is its failure."""
    caller.get(server.url("/status/200"))
    with pytest.raises(caller.error):
        caller.get(f"https://{server.origin}/status/200")
    assert list(registry) == [server.origin]
    assert counted(registry.for_origin(server.origin)) == Counted(success=1, failure=1)


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "http:///nowhere", "nowhere"])
def test_a_url_that_names_no_server_makes_no_breaker(caller: Caller, registry: Registry, url: str):
    """The library says what is wrong with it."""
    with pytest.raises(caller.error):
        caller.get(url)
    assert list(registry) == []


def test_each_hop_of_a_redirect_counts_for_its_own_origin(
    caller: Caller, server: Misbehaving, other: Misbehaving, registry: Registry
):
    """The one that redirects did its work; the one that it leads to did not."""
    hop = server.url(f"/status/302?Location={other.url('/status/500')}")
    assert caller.get(hop, follow=True)[0] == 500
    assert counted(registry.for_origin(server.origin)) == Counted(success=1)
    assert counted(registry.for_origin(other.origin)) == Counted(failure=1)


def test_a_redirect_to_an_open_circuit_is_refused_at_that_hop(
    caller: Caller, server: Misbehaving, other: Misbehaving, registry: Registry
):
    """The first hop was sent and counts; the second one is not sent."""
    registry.for_origin(other.origin).force_open(by="ann", reason="migration")
    with pytest.raises(CircuitOpenError):
        caller.get(server.url(f"/status/302?Location={other.url('/status/200')}"), follow=True)
    assert counted(registry.for_origin(server.origin)) == Counted(success=1)
    assert other.connections == 0


def test_a_streamed_upload_survives_a_redirect_that_keeps_its_method(
    caller: Caller, server: Misbehaving, other: Misbehaving, registry: Registry
):
    """A source that can be read again is sent to both hops, and watched on both."""
    hop = server.url(f"/status/307?Location={other.url('/status/200')}")
    reply = caller.open(hop, "POST", body=[b"some", b"parts"], follow=True)
    assert (reply.status, reply.read()) == (200, b"status")
    assert counted(registry.for_origin(other.origin)) == Counted(success=1)


def test_too_many_redirects_are_no_failure(caller: Caller, server: Misbehaving, registry: Registry):
    """Every hop answered."""
    with pytest.raises(caller.redirects_error):
        caller.get(server.url("/loop"), follow=True)
    assert counted(registry.for_origin(server.origin)) == Counted(success=REDIRECTS + 1)


def test_one_client_serves_many_threads(caller: Caller, server: Misbehaving, registry: Registry):
    """Eight threads share the transport; every outcome is counted once."""
    paths = ["/bytes/4", "/status/404", "/drip"] * 16
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda path: caller.get(server.url(path)), paths))
    assert counted(registry.for_origin(server.origin)) == Counted(success=48)
