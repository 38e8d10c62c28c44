"""The files of prometheus_client's multiprocess mode that hold our numbers: one set per place (see `presence`)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, Final, NamedTuple

from prometheus_client import values
from prometheus_client.mmap_dict import MmapedDict

from recloser.core.errors import ConfigurationError, Problem
from recloser.metrics.catalogue import OPENED, SERVICE, Metric
from recloser.metrics.presence import Presence

DIRECTORY: Final = "PROMETHEUS_MULTIPROC_DIR"
# Of the values of all living workers, the one with the highest time stamp: ours is a rank.
HIGHEST_RANK: Final = "livemostrecent"


def shares_files() -> bool:
    """Tell whether prometheus_client was imported in multiprocess mode."""
    return values.ValueClass is not values.MutexValue


class Item(NamedTuple):
    """One number to publish: what it is, and its rank where the highest ranking worker's is told."""

    metric: Metric
    sample: str
    labels: tuple[tuple[str, str], ...]
    number: float
    rank: float | None = None

    @property
    def key(self) -> tuple[object, ...]:
        """What tells it from others."""
        return self.sample, self.labels


class Files:
    """What this process has written, for as long as it lives, whatever exports come and go.

    Attributes:
        directory: Where they are.
        presence: Whose they are.
        left: The breakers that processes before this one have left counts of.

    Raises:
        ConfigurationError: The folder that the workers share is none that this process may write to.
    """

    present: ClassVar[Files | None] = None

    def __init__(self) -> None:
        self.directory = _directory()
        self.presence = Presence(self.directory)
        self.left = self._names()
        self._value: Any = values.MultiProcessValue(lambda: self.presence.place)  # type: ignore[no-untyped-call]
        self._written: dict[tuple[object, ...], _Written] = {}

    @classmethod
    def of_this_process(cls) -> Files:
        """Return those of this process, and take a place for them at first."""
        if cls.present is None:
            cls.present = cls()
        return cls.present

    @classmethod
    def forget(cls) -> None:
        """Let go of the parent's, in a fork's child."""
        if cls.present is not None:
            cls.present.presence.leave()
        cls.present = None

    def write(self, items: Iterable[Item]) -> None:
        """Write what has changed of these numbers."""
        for item in items:
            known = self._written.get(item.key)
            if known is None:
                known = self._written[item.key] = _Written(self._value, item)
            known.become(item)

    def _names(self) -> set[str]:
        path = Path(self.directory, f"{OPENED.kind}_{self.presence.place}.db")
        if not path.exists():
            return set()
        keys: Any = MmapedDict.read_all_values_from_file(str(path))  # type: ignore[no-untyped-call]
        begin = f'["{OPENED.name}"'
        return {json.loads(key)[2][SERVICE] for key, *_ in keys if key.startswith(begin)}

    def be_silent(self) -> None:
        """Tell no more of the present."""
        for known in self._written.values():
            known.be_silent()


class _Written:
    """A number in a file, on top of what dead processes have left there."""

    def __init__(self, value: Any, item: Item) -> None:
        labels = dict(item.labels)
        mode = {"multiprocess_mode": HIGHEST_RANK} if item.metric.kind == "gauge" else {}
        self._value = value(
            item.metric.kind,
            item.metric.name,
            item.sample,
            tuple(labels),
            tuple(labels.values()),
            item.metric.help,
            **mode,
        )
        self._is_gauge = item.metric.kind == "gauge"
        self._left: float = 0.0 if self._is_gauge else self._value.get()
        self._last: Item | None = None

    def become(self, item: Item) -> None:
        last = self._last
        if last is not None and not self._is_gauge and item.number <= last.number:
            return  # of two threads that publish, the earlier may come here last
        if item != last:
            self._value.set(self._left + item.number, item.rank)
            self._last = item

    def be_silent(self) -> None:
        if self._is_gauge:
            self._value.set(0.0)  # without a rank, nobody tells it
            self._last = None


def _directory() -> str:
    directory = os.environ.get(DIRECTORY, "")
    if directory and Path(directory).is_dir() and os.access(directory, os.W_OK | os.X_OK):
        return directory
    fix = "must be a folder that exists and that the workers may write to, empty when they start"
    raise ConfigurationError([Problem(DIRECTORY, repr(directory), fix)])
