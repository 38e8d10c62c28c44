"""Server-sent events over real sockets, under uvicorn: readers that take nothing, and a server that is told to end."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

PATIENCE = 30.0
SLOW = 500


class Server:
    def __init__(self, *arguments: str) -> None:
        program = Path(__file__).with_name("streaming_shop.py")
        self.process = subprocess.Popen([sys.executable, program, *arguments], stdout=subprocess.PIPE)
        self.port = int(self.process.stdout.readline())
        self.url = f"http://127.0.0.1:{self.port}"

    def reader(self, buffer: int = 0) -> socket.socket:
        """Ask for events, and take none."""
        client = socket.socket()
        if buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        client.settimeout(PATIENCE)
        client.connect(("127.0.0.1", self.port))
        client.sendall(b"GET /events?rows=1 HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n")
        return client

    def files(self) -> int:
        """How many it has open."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def memory(self) -> int:
        """What it holds (bytes)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) * 1024


@pytest.fixture
def server(request):
    server = Server(*getattr(request, "param", ()))
    try:
        until(lambda: answers(server))
        yield server
    finally:
        server.process.kill()
        server.process.communicate()


def answers(server) -> bool:
    try:
        return httpx.get(f"{server.url}/health", timeout=PATIENCE).status_code == 200
    except httpx.TransportError:
        assert server.process.poll() is None
        return False


def until(condition) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_server_with_open_readers_ends_in_time(server):
    """By itself, on SIGTERM, however long their streams might live; each reader hears the end of its own."""
    with ExitStack() as stack:
        readers = [stack.enter_context(server.reader()) for _ in range(20)]
        for reader in readers:
            assert reader.recv(100).startswith(b"HTTP/1.1 200")
        server.process.send_signal(signal.SIGTERM)
        for reader in readers:
            tail = b""
            while chunk := reader.recv(65536):
                tail = (tail + chunk)[-5:]
            assert tail == b"0\r\n\r\n"
        assert server.process.wait(PATIENCE) == -signal.SIGTERM


@pytest.mark.parametrize("server", [["1"]], indirect=True)
def test_a_server_with_a_reader_that_takes_nothing_ends_when_it_will_wait_no_longer(server):
    """No application can take back what a server has been given to send; uvicorn's own time-out does."""
    with server.reader(buffer=4096) as reader:
        assert reader.recv(12) == b"HTTP/1.1 200"
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(PATIENCE) == -signal.SIGTERM


def test_five_hundred_readers_that_take_nothing(server):
    """They hold a bounded piece of memory, and nobody up; when they hang up, nothing of them is left."""
    files, memory = server.files(), server.memory()
    with ExitStack() as stack:
        for _ in range(SLOW):
            stack.enter_context(server.reader(buffer=4096))
        until(lambda: server.files() >= SLOW)  # the connection that asked how it is may have gone since
        assert answers(server)
        with server.reader() as reader:
            heard = b""
            while b"event: snapshot" not in heard:
                chunk = reader.recv(65536)
                assert chunk
                heard += chunk
        assert server.memory() - memory < SLOW * 500_000
    until(lambda: server.files() <= files)
    assert answers(server)
