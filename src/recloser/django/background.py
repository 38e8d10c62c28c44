"""Threads for what must not hold up a response; made when they are needed, and anew after a fork."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Thread
from typing import Final, TypeVar

from recloser.core.log import logger

T = TypeVar("T")

MAX_WAITING: Final = 256


class Background:
    """Runs functions in a few threads; what comes while 256 are waiting is dropped.

    The threads are daemons: a cache that never answers must not keep a process from ending.

    Args:
        name: Of the threads.
        threads: How many at most.
    """

    def __init__(self, name: str, threads: int) -> None:
        self._name = name
        self._most = threads
        self._pid = 0
        self._threads = 0
        self._queue: SimpleQueue[Callable[[], None]] = SimpleQueue()

    def run(self, function: Callable[[], object]) -> None:
        """Run a function some time soon; what it raises is logged."""

        def logged() -> None:
            try:
                function()
            except Exception as error:
                logger().warning("%s failed: %s: %s", self._name, type(error).__name__, error)

        self._put(logged)

    def result(self, function: Callable[[], T], timeout: float) -> T:
        """Run a function and wait for it.

        Args:
            function: What to run.
            timeout: Seconds to wait.

        Raises:
            TimeoutError: It was not done in time, or too many are waiting.
        """
        future: Future[T] = Future()

        def told() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function())
                except BaseException as error:
                    future.set_exception(error)

        if not self._put(told):
            raise TimeoutError(f"{self._name} is busy")
        try:
            return future.result(timeout)
        finally:
            future.cancel()

    def _put(self, task: Callable[[], None]) -> bool:
        if self._pid != os.getpid():
            self._queue = SimpleQueue()
            self._threads = 0
            self._pid = os.getpid()
        if self._queue.qsize() >= MAX_WAITING:
            return False
        self._queue.put(task)
        if self._threads < self._most:
            self._threads += 1
            Thread(target=_work, args=(self._queue,), name=self._name, daemon=True).start()
        return True


def _work(queue: SimpleQueue[Callable[[], None]]) -> None:
    while True:
        queue.get()()
