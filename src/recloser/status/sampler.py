"""What happens per second: two looks at the same counters, a moment apart; and one look for many readers."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from operator import add
from typing import Any, Final, NamedTuple

from recloser.core import fork
from recloser.registry import Registry
from recloser.status.sight import Sight, look

INTERVAL: Final = 1.0  # seconds
OVER: Final = 6.0  # seconds that a rate is taken over: workers tell their counts every two
KEPT: Final = 60  # samples
COUNTED: Final = ("calls", "failures", "slow", "rejected", "degraded")

Counts = tuple[int, ...]
NOTHING: Final[Counts] = (0,) * len(COUNTED)


class Sample(NamedTuple):
    """What was counted between two looks.

    Attributes:
        at: When the second one was (monotonic seconds).
        wall: The same in seconds of the wall clock.
        grown: By breaker, in the order of `COUNTED`.
    """

    at: float
    wall: float
    grown: Mapping[str, Counts]


class Rates:
    """What happened per second, by breaker.

    Args:
        samples: Oldest first; the first one only says when it was.
    """

    def __init__(self, samples: Sequence[Sample]) -> None:
        self._samples = samples
        self._sums: dict[str, Counts] = {}
        self._over = 0.0
        if len(samples) > 1:
            latest = samples[-1].at
            base = next(
                each.at for each in reversed(samples) if latest - each.at >= OVER or each is samples[0]
            )
            self._over = latest - base
            for sample in samples:
                if sample.at > base:
                    for name, grown in sample.grown.items():
                        self._sums[name] = _sum(self._sums.get(name, NOTHING), grown)

    def of(self, name: str) -> dict[str, Any] | None:
        """Tell a breaker's rates; `None` before there are two samples."""
        if not self._over:
            return None
        grown = self._sums.get(name, NOTHING)
        rates = {what: round(number / self._over, 3) for what, number in zip(COUNTED, grown, strict=True)}
        return {"over": round(self._over, 3), **rates}

    def history(self, name: str) -> list[dict[str, Any]]:
        """Tell what was counted between samples, oldest first."""
        return [
            {
                "at": round(sample.wall, 3),
                **dict(zip(COUNTED, sample.grown.get(name, NOTHING), strict=True)),
            }
            for sample in self._samples[1:]
        ]


def _sum(one: Counts, other: Counts) -> Counts:
    return tuple(map(add, one, other))


def _counted(sight: Sight) -> dict[tuple[str, str], Counts]:
    return {
        (heard.worker.id, name): (
            belief.calls,
            belief.failures,
            belief.slow,
            belief.rejected,
            belief.degraded,
        )
        for heard in sight.workers
        for name, belief in heard.worker.beliefs.items()
    }


def _grown(old: Mapping[tuple[str, str], Counts], new: Mapping[tuple[str, str], Counts]) -> dict[str, Counts]:
    grown: dict[str, Counts] = {}
    for key, counts in new.items():
        before = old.get(key)
        if before is None or before == counts:  # of a worker that has come, nothing is of this time
            continue
        more = tuple(max(0, number - past) for number, past in zip(counts, before, strict=True))
        grown[key[1]] = _sum(grown.get(key[1], NOTHING), more)
    return grown


class Sampler:
    """Looks at a registry at most once per interval, whoever asks, and remembers for a minute.

    Args:
        registry: The breakers.
        interval: Seconds.
        clock: Monotonic time (seconds).
    """

    def __init__(
        self,
        registry: Registry,
        *,
        interval: float = INTERVAL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.registry = registry
        self.interval = interval
        self._clock = clock
        self.looks = 0
        self._begin()
        fork.watch(self)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._samples: deque[Sample] = deque(maxlen=KEPT)
        self._counts: dict[tuple[str, str], Counts] = {}
        self._seen: tuple[float, Sight, Rates] | None = None

    def take(self, *, fresh: bool = False) -> tuple[Sight, Rates]:
        """Look, unless somebody has done so within this interval.

        Args:
            fresh: Look in any case.
        """
        asked = self._clock()
        with self._lock:
            seen = self._seen
            if seen is not None and (
                seen[0] >= asked or (not fresh and asked - seen[0] < self.interval * 0.9)
            ):
                return seen[1], seen[2]
            began = self._clock()
            sight = look(self.registry)
            self.looks += 1
            now = self._clock()
            if not self._samples or now - self._samples[-1].at >= self.interval * 0.5:
                counts = _counted(sight)
                self._samples.append(Sample(now, sight.at, _grown(self._counts, counts)))
                self._counts = counts
            rates = Rates(tuple(self._samples))
            self._seen = began, sight, rates
            return sight, rates

    def before_fork(self) -> None:
        """Do not wait: a child looks for itself."""

    def after_fork_in_parent(self) -> None:
        """Go on."""

    def after_fork_in_child(self) -> None:
        """Know nothing."""
        self._begin()
