"""HTTP/2 through the transports for httpx and httpx2, and a server that misbehaves in its frames."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import ModuleType

import httpx
import httpx2
import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import RequestReceived
from h2.exceptions import ProtocolError

from clients.callers import ADAPTERS, PATIENCE, TRUST
from clients.counting import Counted, counted
from recloser.registry import Registry

Answer = Callable[[H2Connection, int], object]


def answer(status: str) -> Answer:
    def send(connection: H2Connection, stream: int) -> None:
        connection.send_headers(stream, [(":status", status), ("retry-after", "120")])
        connection.send_data(stream, b"half")
        connection.send_data(stream, b"half", end_stream=True)

    return send


def reset(connection: H2Connection, stream: int) -> None:
    connection.reset_stream(stream)


def reset_in_body(connection: H2Connection, stream: int) -> None:
    connection.send_headers(stream, [(":status", "200")])
    connection.send_data(stream, b"half")
    connection.reset_stream(stream)


def go_away(connection: H2Connection, stream: int) -> None:
    connection.close_connection(last_stream_id=0)


def data_of_no_stream(connection: H2Connection, stream: int) -> bytes:
    return b"\x00\x00\x04\x00\x00\x00\x00\x00\x00data"


@contextmanager
def serving(answer: Answer) -> Iterator[str]:
    """Serve one connection; gives its origin."""

    def serve() -> None:
        with suppress(OSError, ProtocolError):
            peer, _ = listener.accept()
            with peer:
                peer.settimeout(PATIENCE)
                connection = H2Connection(H2Configuration(client_side=False))
                connection.initiate_connection()
                while received := peer.recv(65536):
                    extra = b""
                    for event in connection.receive_data(received):
                        if isinstance(event, RequestReceived):
                            extra = answer(connection, event.stream_id) or b""
                    peer.sendall(connection.data_to_send() + extra)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        thread.join(PATIENCE)
    assert not thread.is_alive()


@pytest.fixture(params=[httpx, httpx2], ids=lambda library: library.__name__)
def library(request: pytest.FixtureRequest) -> ModuleType:
    return request.param


def get(library: ModuleType, registry: Registry, origin: str, **request: object) -> bytes:
    inner = library.HTTPTransport(http1=False, http2=True, verify=TRUST)
    with library.Client(transport=ADAPTERS[library].BreakerTransport(registry, inner)) as client:
        return client.get(f"http://{origin}/", **request).content


@pytest.mark.parametrize(
    ("status", "outcome"),
    [("200", Counted(success=1)), ("404", Counted(success=1)), ("503", Counted(failure=1))],
)
def test_an_answer_is_judged_by_its_status(
    library: ModuleType, registry: Registry, status: str, outcome: Counted
):
    """As in HTTP/1.1."""
    with serving(answer(status)) as origin:
        assert get(library, registry, origin) == b"halfhalf"
    assert counted(registry.for_origin(origin)) == outcome


@pytest.mark.parametrize("fault", [reset, reset_in_body, go_away, data_of_no_stream])
def test_a_broken_stream_or_connection_is_a_failure(library: ModuleType, registry: Registry, fault: Answer):
    """Also one that breaks the rules of HTTP/2, which the library takes for its own mistake."""
    with serving(fault) as origin, pytest.raises(library.ProtocolError):
        get(library, registry, origin)
    assert counted(registry.for_origin(origin)) == Counted(failure=1)


def test_a_header_that_cannot_be_sent_is_no_outcome(library: ModuleType, registry: Registry):
    """What only HTTP/1.1 knows is the caller's mistake."""
    with serving(answer("200")) as origin, pytest.raises(library.LocalProtocolError):
        get(library, registry, origin, headers={"TE": "gzip"})
    assert counted(registry.for_origin(origin)) == Counted(ignored=1)
