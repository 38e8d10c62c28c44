"""prometheus_client's text formats, without writing again what stays as it was.

prometheus_client spells each name and label anew in each scrape: for two hundred breakers that takes a worker tens of
milliseconds, in which it does nothing else. Here the spelling is its work too, but kept, and only numbers that have
changed are written again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from functools import lru_cache
from typing import Any, Final, NamedTuple

from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample
from prometheus_client.utils import floatToGoString  # pyright: ignore[reportUnknownVariableType]

MAX_FORMATS: Final = 4  # whoever scrapes names one; each keeps about 200 bytes of every series


class Rendering:
    """Writes what is collected in one format: byte for byte what prometheus_client writes.

    Args:
        encode: prometheus_client's encoder of that format.
        ours: The names of the families that are kept. Their labels must be bounded, and their samples without time
            stamps and exemplars.
    """

    def __init__(self, encode: Callable[[Any], bytes], ours: Collection[str]) -> None:
        self._encode = encode
        self._end = encode(_Collected())
        self._ours = ours
        self._written: dict[str, _Written] = {}

    def write(self, collector: Collector) -> bytes:
        """Write all families of a collector, or of a registry."""
        return "".join(map(self._write, collector.collect())).encode() + self._end

    def _write(self, family: Family) -> str:
        if family.name not in self._ours:
            return self._by_library(family)
        before = self._written.get(family.name)
        if before is not None and before.samples == family.samples:
            return before.text
        if before is not None and _series(before.samples) == _series(family.samples):
            spelt = before.spelt
        else:
            spelt = self._spelt(family)
        numbers = [_number(sample.value) for sample in family.samples]
        lines = [f"{series}{number}\n" for series, number in zip(spelt[1:], numbers, strict=True)]
        text = "".join([spelt[0], *lines])
        self._written[family.name] = _Written(family.samples, spelt, text)  # of two scrapes at once, the last
        return text

    def _spelt(self, family: Family) -> list[str]:
        """Return what stands before all lines, and each line up to its number."""
        head = self._by_library(_like(family))
        lines = self._by_library(_like(family, *(sample._replace(value=0) for sample in family.samples)))
        zero = _number(0)
        return [head, *(line.removesuffix(zero) for line in lines.removeprefix(head).split("\n")[:-1])]

    def _by_library(self, family: Family) -> str:
        return self._encode(_Collected(family)).removesuffix(self._end).decode()


@lru_cache(MAX_FORMATS)
def rendering(accept: str, ours: tuple[str, ...]) -> tuple[Rendering, str]:
    """Choose the format.

    Args:
        accept: The request's `Accept` field.
        ours: As for `Rendering`.

    Returns:
        What writes it, and its `Content-Type`.
    """
    encode, content_type = choose_encoder(accept)
    return Rendering(encode, ours), content_type


class _Written(NamedTuple):
    """A family as it was written."""

    samples: list[Sample]
    spelt: list[str]
    text: str


class _Collected(Collector):
    def __init__(self, *families: Family) -> None:
        self._families = families

    def collect(self) -> Iterable[Family]:
        return self._families


def _like(family: Family, *samples: Sample) -> Family:
    made = Family(family.name, family.documentation, family.type, family.unit)
    made.samples += samples
    return made


def _series(samples: list[Sample]) -> list[tuple[str, dict[str, str]]]:
    return [(sample.name, sample.labels) for sample in samples]


def _number(value: float) -> str:
    return floatToGoString(value)  # type: ignore[no-untyped-call, no-any-return]
