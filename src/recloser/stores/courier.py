"""Delivers events that came of the hub's work: a listener may be slow, and the hub must not be (SEMANTICS C12)."""

from __future__ import annotations

import threading

from recloser.core.leading import LedDriver
from recloser.core.log import logger


class Courier:
    """A thread that lives only as long as there is something to deliver."""

    def __init__(self) -> None:
        self._waiting: list[LedDriver] = []
        self._lock = threading.Lock()
        self._is_out = False

    def take(self, driver: LedDriver) -> None:
        """Take up a breaker that has events."""
        if driver.machine.events and driver not in self._waiting:
            self._waiting.append(driver)

    def send(self) -> None:
        """Deliver all that was taken up, on another thread."""
        with self._lock:
            if self._is_out or not self._waiting:
                return
            self._is_out = True
        try:
            threading.Thread(target=self._deliver, name="recloser-courier", daemon=True).start()
        except RuntimeError as error:  # out of threads, or the interpreter ends: the next call delivers
            logger().error("events wait for the next call: %s", error)
            self._is_out = False

    def _deliver(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._is_out = False
                    return
                driver = self._waiting.pop(0)
            driver.deliver()
