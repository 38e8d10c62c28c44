"""A payment service that falls ill on command, honours `Idempotency-Key`, and keeps a journal of what it did."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Payments(ThreadingHTTPServer):
    """The journal is what was done; the log what was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.down = False
        self.journal: list[str] = []
        self.log: list[str] = []
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Payments

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        key = self.headers["idempotency-key"]
        status = 500 if self.server.down else 200
        with self.server.lock:
            self.server.log.append(key)
            if status == 200 and key not in self.server.journal:
                self.server.journal.append(key)
        body = json.dumps({"receipt": key}).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Be quiet."""


@contextmanager
def serving() -> Iterator[Payments]:
    service = Payments()
    thread = threading.Thread(target=service.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield service
    finally:
        service.shutdown()
        thread.join()
        service.server_close()
