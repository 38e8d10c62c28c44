"""A real HTTP/1.1 server on 127.0.0.1 whose paths say how it misbehaves.

/status/503?Retry-After=7    answers with that status, and the query as headers
/bytes/1000                  answers 200 with so many bytes
/gzip, /bad-gzip             answers with a compressed body, or with one that does not decompress
/loop                        redirects to itself
/drip                        sends its chunks one by one, a few milliseconds apart
/endless                     sends chunks until the client has gone
/hang, /hang-in-body         stops before the headers, or in the middle of the body, until it is closed
/reset, /reset-in-body       resets the connection there
/truncated, /cut-chunks      ends the connection before the announced end, or before the last chunk
/garbage, /two-lengths       answers something that is not HTTP, or contradicts itself
"""

from __future__ import annotations

import gzip
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple
from urllib.parse import parse_qsl, urlsplit

PATIENCE = 5.0
"""The longest that anything here waits, in seconds: only a broken test gets there."""

HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNK = b"4\r\nhalf\r\n"


class Asked(NamedTuple):
    """One request, and what its answer may use."""

    server: Misbehaving
    connection: socket.socket
    method: str
    target: str

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def answer(self, status: str, headers: str = "", body: bytes = b"") -> None:
        length = "" if status in {"101", "204", "304"} else f"Content-Length: {len(body)}\r\n"
        head = f"HTTP/1.1 {status} Whatever\r\n{length}{headers}\r\n".encode()
        self.send(head if self.method == "HEAD" or not length else head + body)


class Misbehaving:
    """The server, and what it saw.

    Args:
        tls: Speak TLS, with a certificate that nobody trusts.

    Attributes:
        connections: How many were accepted.
        seen: `METHOD target` of each request, in order.
        asked: Set once a request has come.
        before_headers: Called by the server's threads before every answer.
        closing: Set when the server is being closed.
    """

    def __init__(self, *, tls: bool = False) -> None:
        self._tls: ssl.SSLContext | None = None
        if tls:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(Path(__file__).with_name("untrusted.pem"))
        self.connections = 0
        self.seen: list[str] = []
        self.asked = threading.Event()
        self.before_headers: Callable[[], object] = lambda: None
        self.closing = threading.Event()
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.origin = f"127.0.0.1:{self.port}"
        self._spawn(self._accept)

    def url(self, path: str) -> str:
        return f"http://{self.origin}{path}"

    def close(self) -> None:
        """End every thread and connection."""
        self.closing.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._sockets):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()

    def _spawn(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self.closing.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets.add(connection)
            self._spawn(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        # ValueError: what came is not HTTP.
        with suppress(OSError, ValueError):
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
        with suppress(OSError, ValueError), connection, connection.makefile("rb") as incoming:
            goes_on = True
            while goes_on and (request := read_request(incoming)):
                self.seen.append(" ".join(request))
                self.asked.set()
                self.before_headers()
                kind = urlsplit(request[1]).path.split("/")[1]
                goes_on = ANSWERS[kind](Asked(self, connection, *request)) is None
        self._sockets.discard(connection)


def read_request(incoming: BinaryIO) -> tuple[str, str] | None:
    """Read one request and its body; `None` once the client has gone."""
    line = incoming.readline().decode()
    if not line.strip():
        return None
    method, target, _ = line.split()
    headers = {}
    while field := incoming.readline().decode().strip():
        name, _, value = field.partition(":")
        headers[name.lower()] = value.strip()
    if headers.get("transfer-encoding") == "chunked":
        while size := int(incoming.readline() or b"0", 16):
            incoming.read(size + 2)
        incoming.readline()
    incoming.read(int(headers.get("content-length", "0")))
    return method, target


# An answer that returns something has spoilt its connection, which then ends.
END = True


def status(asked: Asked) -> None:
    url = urlsplit(asked.target)
    headers = "".join(f"{name}: {value}\r\n" for name, value in parse_qsl(url.query))
    asked.answer(url.path.split("/")[2], headers, b"status")


def some_bytes(asked: Asked) -> None:
    asked.answer("200", body=b"x" * int(asked.target.split("/")[2]))


def compressed(asked: Asked) -> None:
    body = b"not gzip at all" if "bad" in asked.target else gzip.compress(b"plain")
    asked.answer("200", "Content-Encoding: gzip\r\n", body)


def loop(asked: Asked) -> None:
    asked.answer("302", "Location: /loop\r\n")


def drip(asked: Asked) -> None:
    asked.send(CHUNKED)
    for _ in range(5):
        asked.server.closing.wait(0.01)
        asked.send(CHUNK)
    asked.send(b"0\r\n\r\n")


def endless(asked: Asked) -> bool:
    asked.send(CHUNKED)
    while not asked.server.closing.wait(0.002):
        asked.send(CHUNK)
    return END


def hang(asked: Asked) -> bool:
    if "body" in asked.target:
        asked.send(HALF)
    asked.server.closing.wait(PATIENCE)
    return END


def reset(asked: Asked) -> bool:
    if "body" in asked.target:
        asked.send(HALF)
    asked.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return END


def sends(data: bytes) -> Callable[[Asked], bool]:
    def send(asked: Asked) -> bool:
        asked.send(data)
        return END

    return send


ANSWERS: dict[str, Callable[[Asked], bool | None]] = {
    "status": status,
    "bytes": some_bytes,
    "gzip": compressed,
    "bad-gzip": compressed,
    "loop": loop,
    "drip": drip,
    "endless": endless,
    "hang": hang,
    "hang-in-body": hang,
    "reset": reset,
    "reset-in-body": reset,
    "truncated": sends(HALF),
    "cut-chunks": sends(CHUNKED + CHUNK),
    "garbage": sends(b"who goes there?\r\n\r\n"),
    "two-lengths": sends(b"HTTP/1.1 200 OK\r\nContent-Length: 4, 5\r\n\r\nhalf"),
}


def refusing_port() -> int:
    """Find a port of 127.0.0.1 on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]
