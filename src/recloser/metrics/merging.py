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
        self._series: dict[tuple[str, frozenset[tuple[str, str]]], _Series] = {}

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
        for series, number in self._merged(files).items():
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

    def _merged(self, files: Iterable[Path]) -> dict[_Series, float]:
        """Sum up counters; of gauges keep the one of the highest rank."""
        merged: dict[_Series, float] = {}
        ranks: dict[_Series, float] = {}
        for file in files:
            is_gauge = file.name.startswith("gauge_")
            with suppress(FileNotFoundError):  # a dead worker's gauges may be buried at any moment
                for key, number, rank, _ in _read(file):
                    series = self._known.get(key) or self._learn(key)
                    if not is_gauge:
                        merged[series] = merged.get(series, 0.0) + number
                    elif rank > ranks.get(series, 0.0):
                        merged[series], ranks[series] = number, rank
        return merged

    def _learn(self, key: str) -> _Series:
        metric, name, labels, text = json.loads(key)
        # Workers of two releases may describe one series in different words.
        series = self._series.setdefault(
            (name, frozenset(labels.items())), _Series(metric, name, labels, text)
        )
        self._known[key] = series
        return series


class _Series:
    """What keys in files name, and the sample that was told of it last."""

    __slots__ = ("help", "metric", "sample")

    def __init__(self, metric: str, name: str, labels: dict[str, str], text: str) -> None:
        self.metric = metric
        self.help = text
        self.sample = Sample(name, labels, 0.0)

    def become(self, number: float) -> Sample:
        sample = self.sample  # of two scrapes at once, each tells its own number
        if sample.value != number:
            sample = self.sample = Sample(sample.name, sample.labels, number)
        return sample


_KINDS: Final = {metric.name: metric.kind for metric in METRICS}


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
