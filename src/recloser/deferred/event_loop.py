"""The event loop of a worker process: its jobs share it, so that they may share clients and their connections."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import CancelledError
from contextvars import Context
from typing import Any, Final

from recloser.core import fork
from recloser.core.log import logger


class EventLoop:
    """Runs coroutines for threads, in one thread of its own that is there once it is needed."""

    def __init__(self) -> None:
        self._starting = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        fork.watch(self)

    def run(self, coroutine: Coroutine[Any, Any, object], context: Context) -> object:
        """Wait for a coroutine.

        Args:
            coroutine: What to run.
            context: In a copy of which it runs.

        Returns:
            What it returns.
        """
        future = context.run(asyncio.run_coroutine_threadsafe, coroutine, self._running())
        try:
            return future.result()
        except CancelledError:
            raise asyncio.CancelledError from None  # what the coroutine itself has raised

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._starting:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(
                    target=_run_forever, args=(self._loop,), name="recloser-jobs", daemon=True
                ).start()
            return self._loop

    def before_fork(self) -> None:
        """Wait until no thread is starting it."""
        self._starting.acquire()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        self._starting.release()

    def after_fork_in_child(self) -> None:
        """Begin anew: the thread is the parent's. Its loop is not closed: it still shares the kernel's side of it."""
        self._starting = threading.Lock()
        if self._loop is not None:
            _of_parents.append(self._loop)
            self._loop = None


def _run_forever(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    while True:
        try:
            loop.run_forever()
        except (
            BaseException
        ):  # what a job raised to end a process; it is raised anew where the job is waited for
            logger().debug("a job has raised what ends a loop; going on", exc_info=True)


_of_parents: Final[list[asyncio.AbstractEventLoop]] = []
event_loop: Final = EventLoop()
