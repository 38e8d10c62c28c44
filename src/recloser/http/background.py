"""Threads for what must not hold up a response; made when they are needed, and anew after a fork; ended when idle."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import Context
from threading import Condition, Thread
from typing import Final, NamedTuple, TypeVar

from recloser.core.log import logger

T = TypeVar("T")

MAX_WAITING: Final = 256
MAX_WEIGHT: Final = 16_000_000
IDLE: Final = 60.0  # seconds


class _Task(NamedTuple):
    call: Callable[[], None]
    weight: int


class _Waiting:
    """What one process has still to do. A forked child begins with another one."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.changed = Condition()
        self.tasks: OrderedDict[object, _Task] = OrderedDict()
        self.weight = 0
        self.threads = 0

    def put(self, key: object, task: _Task) -> bool:
        with self.changed:
            earlier = self.tasks.pop(key, None)
            self.weight -= earlier.weight if earlier is not None else 0
            if len(self.tasks) >= MAX_WAITING or self.weight + task.weight > MAX_WEIGHT:
                return False
            self.tasks[key] = task
            self.weight += task.weight
            self.changed.notify()
        return True

    def takes_another(self, most: int) -> bool:
        with self.changed:
            takes = self.threads < most
            self.threads += takes
        return takes

    def lost_one(self) -> bool:
        with self.changed:
            self.threads -= 1
            return self.threads > 0

    def work(self) -> None:
        while True:
            with self.changed:
                while not self.tasks:
                    if not self.changed.wait(IDLE) and not self.tasks:
                        self.threads -= 1
                        return
                _, task = self.tasks.popitem(last=False)
                self.weight -= task.weight
            task.call()
            del task


class Background:
    """Runs functions in a few threads; what comes while 256 functions or 16 MB are waiting is dropped.

    The threads are daemons: a cache that never answers must not keep a process from ending.

    Args:
        name: Of the threads.
        threads: How many at most.
    """

    def __init__(self, name: str, threads: int) -> None:
        self._name = name
        self._most = threads
        self._waiting: _Waiting | None = None

    def run(self, function: Callable[[], object], *, key: object = None, weight: int = 0) -> bool:
        """Run a function some time soon; what it raises is logged.

        Args:
            function: What to run.
            key: Takes the place of a function with the same key that is still waiting.
            weight: Bytes that it holds while it waits.

        Returns:
            Whether it will be run.
        """

        def logged() -> None:
            try:
                function()
            except Exception as error:
                logger().warning("%s failed: %s: %s", self._name, type(error).__name__, error)

        return self._put(object() if key is None else key, _Task(logged, weight))

    def begin(self, function: Callable[[], T]) -> Future[T]:
        """Run a function, and let its result be waited for.

        Raises:
            TimeoutError: Too many are waiting.
        """
        future: Future[T] = Future()

        def told() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function())
                except BaseException as error:
                    future.set_exception(error)

        if not self._put(object(), _Task(told, 0)):
            raise TimeoutError(f"{self._name} is busy")
        return future

    def _put(self, key: object, task: _Task) -> bool:
        waiting = self._waiting
        if waiting is None or waiting.pid != os.getpid():
            waiting = self._waiting = _Waiting()
        if not waiting.put(key, task):
            return False
        if waiting.takes_another(self._most):
            # Not in the context of the request that happens to be the first: the thread would keep it for ever.
            thread = Thread(target=waiting.work, name=self._name, daemon=True)
            try:
                Context().run(thread.start)
            except RuntimeError as error:  # the interpreter is ending, or there are too many threads
                logger().warning("%s cannot start: %s", self._name, error)
                return waiting.lost_one()
        return True
