"""prometheus_client's multiprocess mode: each worker writes its numbers into its own files, all workers read all.

A scrape hits one worker, which publishes just before it answers; a thread in each other one has published within the
last second. Nothing here runs on the path of a call.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from itertools import repeat
from multiprocessing.util import Finalize
from typing import Final
from weakref import WeakSet

from prometheus_client.utils import floatToGoString  # pyright: ignore[reportUnknownVariableType]

from recloser.core.durations import Histogram
from recloser.core.log import logger
from recloser.metrics.catalogue import DEGRADED, DURATION, SERIES, SERVICE, Metric
from recloser.metrics.files import DIRECTORY, Files, Item
from recloser.metrics.merging import Merger
from recloser.metrics.readings import Ledger, Reading, Totals, fleet, gauges

PUBLISH_SECONDS: Final = 1.0


class Publisher:
    """Publishes what one process has counted, every second and at its end.

    Args:
        ledger: Reads the breakers.

    Attributes:
        merger: Collects what all processes have published.

    Raises:
        ConfigurationError: The folder that the workers share is none that this process may write to.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._begin()
        self.merger = Merger(self._files.directory)
        _publishers.add(self)

    def publish(self) -> None:
        """Write everything that has changed."""
        if not self._counted:
            self._ledger.inherit(self._files.left)
        readings, degraded = self._ledger.read(), self._ledger.degraded()
        store = [Item(metric, metric.name, (), *told) for metric, *told in fleet(self._ledger)]
        with self._lock:
            for reading in readings:
                self._files.write(_gauges(reading))
                before = self._counted.get(reading.name)
                if before is not reading.totals:
                    self._files.write(_counts(reading, before))
                    self._counted[reading.name] = reading.totals
            self._files.write(
                _counter(DEGRADED, breaker, strategy, number)
                for (breaker, strategy), number in degraded.items()
            )
            self._files.write(store)
            self._files.presence.bury_dead()

    def close(self) -> None:
        """Publish for the last time."""
        _publishers.discard(self)
        self._stop()
        self.publish()
        self._files.be_silent()

    def _begin(self) -> None:
        self._lock = threading.RLock()
        self._counted: dict[str, Totals] = {}  # so far: most breakers are idle most of the time
        self._files = Files.of_this_process()
        # Also run at the end of multiprocessing's children, where `atexit` is not.
        Finalize(None, self._publish_quietly, exitpriority=0)
        self._start()

    def _start(self) -> None:
        self._ending = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(self._ending,), name="recloser-metrics", daemon=True
        )
        self._thread.start()

    def _stop(self) -> None:
        self._ending.set()
        if self._thread is not threading.current_thread():  # a listener may fork while a snapshot is taken
            self._thread.join(PUBLISH_SECONDS)

    def _run(self, ending: threading.Event) -> None:
        while not ending.wait(PUBLISH_SECONDS):
            self._publish_quietly()

    def _publish_quietly(self) -> None:
        try:
            self.publish()
        except Exception:
            logger().exception("metrics were not published to %s", os.environ.get(DIRECTORY))

    def before_fork(self) -> None:
        """Have no thread at work, which might hold a lock of prometheus_client's."""
        self._stop()
        self._lock.acquire()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        self._lock.release()
        self._start()

    def after_fork_in_child(self) -> None:
        """Begin anew, in files of this process's own."""
        self._begin()


def _gauges(reading: Reading) -> Iterator[Item]:
    for metric, number, rank in gauges(reading):
        yield Item(metric, metric.name, ((SERVICE, reading.name),), number, rank)


def _counts(reading: Reading, before: Totals | None) -> Iterator[Item]:
    """Tell what has changed since `before`: at first everything, also what is zero."""
    known = before.counts if before is not None else repeat(None)
    for (metric, own), number, old in zip(SERIES, reading.totals.counts, known, strict=False):
        if number != old:
            yield _counter(metric, reading.name, own, number)
    if reading.totals.durations is not None:
        yield from _buckets(((SERVICE, reading.name),), reading.totals.durations)


def _counter(metric: Metric, breaker: str, own: str, number: int) -> Item:
    labels = ((SERVICE, breaker), (metric.label, own)) if metric.label else ((SERVICE, breaker),)
    return Item(metric, f"{metric.name}_total", labels, number)


def _buckets(service: tuple[tuple[str, str], ...], durations: Histogram) -> Iterator[Item]:
    for bound, number in zip(bounds(durations), durations.counts, strict=True):
        labels = (*service, ("le", bound))
        yield Item(DURATION, f"{DURATION.name}_bucket", labels, number)
    yield Item(DURATION, f"{DURATION.name}_sum", service, durations.seconds)


def bounds(durations: Histogram) -> list[str]:
    """Spell the buckets' upper bounds, as the values of `le`."""
    return [floatToGoString(bound) for bound in (*durations.bounds, float("inf"))]  # type: ignore[no-untyped-call]


_publishers: WeakSet[Publisher] = WeakSet()


def _before_fork() -> None:
    for publisher in list(_publishers):
        publisher.before_fork()


def _after_fork_in_parent() -> None:
    for publisher in list(_publishers):
        publisher.after_fork_in_parent()


def _after_fork_in_child() -> None:
    Files.forget()
    for publisher in list(_publishers):
        publisher.after_fork_in_child()


# Not through `core.fork`: in a child, threads can be started once `threading`, imported above, has begun anew.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child
    )
