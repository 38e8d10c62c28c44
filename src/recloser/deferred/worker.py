"""The embedded worker, `recloser work`: threads that look for jobs whose circuit lets them run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from recloser.core.log import logger
from recloser.deferred.attempt import Attempt
from recloser.deferred.queue import Queue, QueueError
from recloser.deferred.sweeping import nothing

POLL: Final = 0.2  # seconds between two looks into a table where nothing is due
HOUSEKEEPING: Final = 5.0  # seconds between two looks for what is too old
AFTER_TROUBLE: Final = 1.0  # seconds
LONGEST_REST: Final = 1.0  # seconds until a breaker is asked again: an operator may have closed it meanwhile


class Worker:
    """Runs the jobs of one queue, in this process.

    Args:
        queue: Its tasks are all that is run.
        threads: Jobs at once.
        clock: Monotonic time (seconds).
        around: Called before and after each job, in its thread.
    """

    def __init__(
        self,
        queue: Queue,
        *,
        threads: int = 4,
        clock: Callable[[], float] = time.monotonic,
        around: Callable[[], object] = nothing,
    ) -> None:
        self._queue = queue
        self._around = around
        self._clock = clock
        self._attempts: dict[str, Attempt] = {}
        self._not_before: dict[str, float] = {}
        self._next_housekeeping = 0.0
        self._trouble = ""
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, name=f"recloser-work-{number}") for number in range(threads)
        ]

    def start(self) -> None:
        """Begin to work."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Begin no more jobs."""
        self._stopping.set()

    def join(self) -> None:
        """Wait for the jobs that run."""
        for thread in self._threads:
            thread.join()

    def step(self) -> float:
        """Try one job at most.

        Returns:
            Seconds until it is worth looking again, 0 after an attempt.

        Raises:
            QueueError: The file cannot be used.
        """
        self._housekeep()
        wait = POLL
        for breaker, due_in in self._queue.waiting():
            now = self._clock()
            held = max(due_in, self._not_before.get(breaker, 0.0) - now)
            if held > 0:
                wait = min(wait, held)
                continue
            attempt = self._attempts.setdefault(breaker, Attempt(self._queue, breaker))
            self._around()
            try:
                again = self._queue.translated(attempt.run)
            finally:
                self._around()
            if again is None:
                return 0.0
            self._not_before[breaker] = now + min(again, LONGEST_REST)
            wait = min(wait, again)
        return wait

    def _housekeep(self) -> None:
        now = self._clock()
        if now >= self._next_housekeeping:
            self._next_housekeeping = now + HOUSEKEEPING
            self._queue.expire()

    def _work(self) -> None:
        while not self._stopping.is_set():
            try:
                wait = self.step()
                self._trouble = ""
            except QueueError as error:
                if str(error) != self._trouble:  # once, rather than every second for as long as it lasts
                    self._trouble = str(error)
                    logger().exception("the worker cannot use its queue; trying again")
                wait = AFTER_TROUBLE
            except BaseException:  # of a thread even SystemExit ends no more than the thread
                logger().exception("the worker met an error; going on")
                wait = AFTER_TROUBLE
            self._stopping.wait(wait)
