"""A look, now and then, for jobs that nobody was told of: beside a worker whose broker may lose messages."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from recloser.core.log import logger
from recloser.deferred.queue import Queue

EVERY: Final = 10.0


def nothing() -> None:
    """Few brokers need it."""


class Sweeper:
    """Sweeps a queue from a thread of its own.

    Args:
        queue: Whose jobs.
        around: Called before and after each look.
    """

    def __init__(self, queue: Queue, around: Callable[[], object] = nothing) -> None:
        self._queue = queue
        self._around = around
        self._starting = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, unless somebody has in this process: each of a consumer's workers may call this."""
        with self._starting:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._sweep, name="recloser-sweep", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """End; waits for the look that is under way."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def _sweep(self) -> None:
        while True:
            try:
                self._around()
                self._queue.sweep()
                self._around()
            except Exception:  # also of a broker; the next look may do better
                logger().exception("queue %s cannot be swept", self._queue.table.path)
            if self._stopping.wait(EVERY):
                return
