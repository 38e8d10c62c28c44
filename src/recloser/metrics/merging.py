"""All workers' numbers from their files, without parsing again what stays as it was.

prometheus_client's MultiProcessCollector takes the name and labels of each series apart in each scrape, for every
worker. Here that is done once, for our own files; the application's other metrics are merged by prometheus_client.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, cast

from prometheus_client.metrics_core import Metric as Family
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from recloser.metrics.catalogue import METRICS, SERVICE
from recloser.metrics.presence import PLACE


class Merger(Collector):
    """Collects what all processes that share a directory have written.

    Args:
        directory: What they share.
    """

    def __init__(self, directory: str) -> None:
        self._directory = Path(directory)
        self._known: dict[str, _Series] = {}

    def collect(self) -> Iterable[Family]:
        """Merge everything."""
        ours, others = list[Path](), list[str]()
        for file in sorted(self._directory.glob("*.db")):
            if f"_{PLACE}-" in file.name:
                ours.append(file)
            else:
                others.append(str(file))
        return [*MultiProcessCollector.merge(others), *self._families(ours)]  # type: ignore[no-untyped-call]

    def _families(self, files: Iterable[Path]) -> Iterable[Family]:
        families: dict[str, Family] = {}
        for key, number in _merged(files).items():
            series = self._known.get(key)
            if series is None:
                series = self._known[key] = _Series(key)
            family = families.get(series.metric)
            if family is None:
                family = families[series.metric] = Family(
                    series.metric, series.help, _KINDS.get(series.metric, "unknown")
                )
            family.samples.append(series.become(number))
        for family in families.values():
            if family.type == "histogram":
                family.samples = _accumulated(family)
        return families.values()


class _Series:
    """What a key in a file says, and the sample that was told of it last."""

    __slots__ = ("help", "metric", "sample")

    def __init__(self, key: str) -> None:
        self.metric, name, labels, self.help = json.loads(key)
        self.sample = Sample(name, labels, 0.0)

    def become(self, number: float) -> Sample:
        if self.sample.value != number:
            self.sample = Sample(self.sample.name, self.sample.labels, number)
        return self.sample


_KINDS: Final = {metric.name: metric.kind for metric in METRICS}


def _merged(files: Iterable[Path]) -> dict[str, float]:
    """Sum up counters; of gauges keep the one of the highest rank."""
    merged: dict[str, float] = {}
    ranks: dict[str, float] = {}
    for file in files:
        is_gauge = file.name.startswith("gauge_")
        with suppress(FileNotFoundError):  # a dead worker's gauges may be buried at any moment
            for key, number, rank, _ in _read(file):
                if not is_gauge:
                    merged[key] = merged.get(key, 0.0) + number
                elif rank > ranks.get(key, 0.0):
                    merged[key], ranks[key] = number, rank
    return merged


def _read(file: Path) -> Iterable[tuple[str, float, float, int]]:
    values: Any = MmapedDict.read_all_values_from_file(str(file))  # type: ignore[no-untyped-call]
    return cast("Iterable[tuple[str, float, float, int]]", values)


def _accumulated(family: Family) -> list[Sample]:
    """Let each bucket count those below it too, and put each histogram's series together."""
    buckets: dict[str, dict[float, Sample]] = {}
    sums: list[Sample] = []
    for sample in family.samples:
        if "le" in sample.labels:
            buckets.setdefault(sample.labels[SERVICE], {})[float(sample.labels["le"])] = sample
        else:
            sums.append(sample)
    told: list[Sample] = []
    for seconds in sums:
        total = 0.0
        for _, sample in sorted(buckets.get(seconds.labels[SERVICE], {}).items()):
            total += sample.value
            told.append(sample._replace(value=total))
        told += [seconds._replace(name=f"{family.name}_count", value=total), seconds]
    return told
