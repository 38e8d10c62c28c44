"""A TCP proxy that delays, swallows, splits and cuts what a server answers, and may speak TLS to its clients."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time


class Proxy:
    """Passes connections on to a port of this machine.

    Args:
        port: Of the server.
        tls: To speak with clients.

    Attributes:
        port: Where clients connect.
        delay: Before each part of an answer is passed on (seconds).
        is_deaf: Answers are swallowed, and connections stay.
        swallowed: How many have been.
        cut_after: Of the next answer only so many bytes are passed on, then both connections end.
        piece: Answers are passed on in pieces of at most so many bytes, each after `delay`.
    """

    def __init__(self, port: int, tls: ssl.SSLContext | None = None) -> None:
        self._server = port
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = [self._listener]
        self._threads: list[threading.Thread] = []
        self.port = self._listener.getsockname()[1]
        self.delay = 0.0
        self.is_deaf = False
        self.swallowed = 0
        self.cut_after: int | None = None
        self.piece = 65536
        self._go(self._accept)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def close(self) -> None:
        for sock in self._open:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        for thread in self._threads:
            thread.join(5)

    def _go(self, target, *arguments) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(client)
            self._go(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        try:
            if self._tls is not None:
                client = self._tls.wrap_socket(client, server_side=True)
                self._open.append(client)
            server = socket.create_connection(("127.0.0.1", self._server), 5)
        except OSError:
            client.close()
            return
        server.settimeout(None)
        self._open.append(server)
        self._go(self._answer, server, client)
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                server.sendall(data)
        self._end(client, server)

    def _answer(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                if self.is_deaf:
                    self.swallowed += 1
                    continue
                if self.cut_after is not None:
                    client.sendall(data[: self.cut_after])
                    self.cut_after = None
                    break
                for start in range(0, len(data), self.piece):
                    time.sleep(self.delay)
                    client.sendall(data[start : start + self.piece])
        self._end(client, server)

    @staticmethod
    def _end(*socks: socket.socket) -> None:
        for sock in socks:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
