"""What visitors of the shop got: counts and latencies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from enum import StrEnum
from math import ceil
from typing import NamedTuple

from recloser.demo.script import Phase


class Answer(StrEnum):
    """How a visit ended."""

    FRESH = "fresh"
    STALE = "stale"
    STATIC = "static"
    QUEUED = "queued"  # put off: 202, and where to look
    REFUSED = "refused"  # a clean 503 with Retry-After
    ERROR = "error"  # any other error status, or no answer at all

    @property
    def degraded(self) -> bool:
        """Whether recloser gave it in place of the dependency."""
        return self in {Answer.STALE, Answer.STATIC, Answer.QUEUED, Answer.REFUSED}


class Visit(NamedTuple):
    """One request of one visitor."""

    phase: Phase
    route: str
    answer: Answer
    seconds: float


class Tally:
    """All visits of a drive so far."""

    def __init__(self, visits: Iterable[Visit] = ()) -> None:
        self._visits = list(visits)

    def __len__(self) -> int:
        return len(self._visits)

    def add(self, visit: Visit) -> None:
        """Note one visit."""
        self._visits.append(visit)

    def of(self, *, phase: Phase | None = None, route: str | None = None) -> Tally:
        """The visits of one phase, of one route, or of both."""
        return Tally(
            visit
            for visit in self._visits
            if (phase is None or visit.phase is phase) and (route is None or visit.route == route)
        )

    def visits(self, phase: Phase) -> list[Visit]:
        """The visits of one phase, in the order of their ends."""
        return [visit for visit in self._visits if visit.phase is phase]

    @property
    def answers(self) -> Counter[Answer]:
        """How many visits ended how."""
        return Counter(visit.answer for visit in self._visits)

    def share(self, *answers: Answer) -> float:
        """The ratio 0..1 of visits that ended in one of these ways."""
        return sum(self.answers[answer] for answer in answers) / len(self) if self._visits else 0.0

    def latency(self, share: float) -> float:
        """The seconds within which `share` (ratio 0..1) of the visits were answered."""
        seconds = sorted(visit.seconds for visit in self._visits)
        return seconds[max(0, ceil(share * len(seconds)) - 1)] if seconds else 0.0


def percent(share: float) -> str:
    """A ratio 0..1 as people read it."""
    return f"{share:.1%}"
