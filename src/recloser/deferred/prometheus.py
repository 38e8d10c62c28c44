"""Prometheus: how much a queue holds, and how old it is, read from its file when Prometheus asks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from recloser.core.log import logger
from recloser.deferred.job import JobState
from recloser.deferred.queue import Queue, QueueError

try:
    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import GaugeMetricFamily, Metric
    from prometheus_client.registry import Collector
except ModuleNotFoundError as missing:
    raise ImportError(
        'recloser.deferred.prometheus needs prometheus_client: pip install "recloser[prometheus]"',
        name="prometheus_client",
    ) from missing

from recloser.metrics.prometheus import include

JOBS: Final = "circuit_breaker_queue_jobs"
OLDEST: Final = "circuit_breaker_queue_oldest_seconds"


class QueueCollector(Collector):
    """Reads a queue whenever it is collected.

    Args:
        queue: Whose jobs are counted.
    """

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    def describe(self) -> Iterable[Metric]:
        """Name what is collected, so that nothing is registered twice."""
        return self._families()

    def collect(self) -> Iterable[Metric]:
        """Read the queue's file; nothing is told while it cannot be read."""
        try:
            depth = self._queue.depth()
        except QueueError:
            logger().exception("the depth of a queue cannot be told")
            return []
        jobs, oldest = self._families()
        for state, number in zip(JobState, depth, strict=False):
            jobs.add_metric([str(state)], number)
        oldest.add_metric([], depth.oldest)
        return [jobs, oldest]

    def _families(self) -> tuple[GaugeMetricFamily, GaugeMetricFamily]:
        return (
            GaugeMetricFamily(JOBS, "Jobs that were put off, by state", labels=["state"]),
            GaugeMetricFamily(OLDEST, "Age of the oldest job that waits or runs", labels=[]),
        )


def instrument(queue: Queue, registry: CollectorRegistry | None = None) -> Callable[[], None]:
    """Export a queue's depth and age with everything else that prometheus_client exports.

    The numbers are the file's, so that whichever process is scraped tells them for all, in multiprocess mode too.

    Args:
        queue: Whose jobs are counted; one queue for each registry.
        registry: Of prometheus_client; `None`: the one that is exported by default.

    Returns:
        A function that ends it.

    Raises:
        ValueError: Another queue is exported there already.
    """
    collector = QueueCollector(queue)
    if registry is None:
        return include(collector)
    registry.register(collector)
    return partial(registry.unregister, collector)
