"""Words to a broker, from a thread of their own: no caller waits for a network, whatever the broker does."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable
from queue import Full, Queue
from typing import Final

from recloser.core import fork
from recloser.core.log import logger

MOST: Final = 1000
AT_EXIT: Final = 2.0  # seconds that a process which ends waits for its last words


class Teller:
    """Passes words on in order.

    A word that cannot be passed on is dropped and logged: the job is in the file, where a sweep finds it.

    Args:
        wake: Tells the broker: a job's id, and in how many seconds it is due.
    """

    _thread: threading.Thread | None

    def __init__(self, wake: Callable[[str, float], object]) -> None:
        self._wake = wake
        self._begin()
        fork.watch(self)
        atexit.register(self.flush)

    def tell(self, job: str, delay: float) -> None:
        """Pass a word on, soon."""
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="recloser-tell", daemon=True)
                self._thread.start()
        try:
            self._words.put_nowait((job, delay))
        except Full:
            logger().warning("the broker is slow: nobody is told of job %s before a sweep", job)

    def flush(self, timeout: float = AT_EXIT) -> None:
        """Wait until all words are passed on.

        Args:
            timeout: Seconds at most.
        """
        with self._words.all_tasks_done:
            self._words.all_tasks_done.wait_for(lambda: not self._words.unfinished_tasks, timeout)

    def _work(self) -> None:
        while True:
            job, delay = self._words.get()
            try:
                self._wake(job, delay)
            except Exception as error:
                logger().warning("nobody could be told of job %s, a sweep will: %r", job, error)
            finally:
                self._words.task_done()

    def _begin(self) -> None:
        self._starting = threading.Lock()
        self._words: Queue[tuple[str, float]] = Queue(MOST)
        self._thread = None

    def before_fork(self) -> None:
        """Wait until no thread is starting it."""
        self._starting.acquire()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        self._starting.release()

    def after_fork_in_child(self) -> None:
        """Begin anew: the thread, and what it was to tell, is the parent's."""
        self._begin()
