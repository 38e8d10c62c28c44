"""Interleaved timing: the candidates of a case run short loops in turn, and each one's quickest loop counts.

Whatever else the machine does then hits all candidates alike, and the quickest loop is the one it hit least.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from timeit import Timer

from benchmarks.effort import Effort
from benchmarks.rows import Budget, Row


def nothing() -> None:
    """Few candidates need preparation."""


@dataclass(frozen=True)
class Candidate:
    """One way to make the same call.

    Attributes:
        name: As it is shown.
        statement: What is timed.
        names: What the statement refers to.
        bare: The candidate whose time is subtracted: the same calls without protection.
        to: The candidate that the ratio is against.
        budget: What that ratio may be.
        shown: Whether it has a row of its own.
        calls: Protected calls in one statement.
        prepare: Runs before each loop, untimed.
        once: Whether a loop is a single statement, since `prepare` is for one alone.
    """

    name: str
    statement: str
    names: Mapping[str, object]
    bare: str = ""
    to: str = ""
    budget: Budget | None = None
    shown: bool = True
    calls: int = 1
    prepare: Callable[[], object] = nothing
    once: bool = False


@dataclass
class TimedCase:
    """A question answered in nanoseconds per call. Measuring again adds rounds to those before.

    Attributes:
        name: The question, in short.
        candidates: What is timed.
        best: The quickest loop of each so far (ns per call).
        pieces: Turns are so many times shorter and more: long statements need luck to run undisturbed.
    """

    name: str
    candidates: Sequence[Candidate]
    best: dict[str, float] = field(default_factory=dict)
    pieces: int = 1

    def measure(self, effort: Effort) -> None:
        entrants = [_Entrant(candidate, effort.loop / self.pieces) for candidate in self.candidates]
        for turn in range(effort.rounds * self.pieces):
            start = turn % len(entrants)  # nobody always follows the same neighbour
            for entrant in entrants[start:] + entrants[:start]:
                name = entrant.candidate.name
                self.best[name] = min(self.best.get(name, inf), entrant.run())

    def rows(self) -> list[Row]:
        return [self._row(candidate) for candidate in self.candidates if candidate.shown]

    def cost(self, name: str) -> float:
        """The time of one call beyond a bare one (ns)."""
        bare = next(candidate.bare for candidate in self.candidates if candidate.name == name)
        return self.best[name] - (self.best[bare] if bare else 0.0)

    def _row(self, candidate: Candidate) -> Row:
        cost = self.cost(candidate.name)
        ratio = cost / self.cost(candidate.to) if candidate.to else None
        return Row(self.name, candidate.name, cost, "ns", candidate.to, ratio, candidate.budget)


class _Entrant:
    """A candidate, warmed up and with a loop of about the right length."""

    def __init__(self, candidate: Candidate, seconds: float) -> None:
        self.candidate = candidate
        self._timer = Timer(candidate.statement, globals=dict(candidate.names))
        self._number = 1
        candidate.prepare()
        while not candidate.once:
            taken = self._timer.timeit(self._number)
            if taken >= seconds / 4:
                self._number = max(1, round(self._number * seconds / taken))
                break
            self._number *= 4

    def run(self) -> float:
        """Time one loop (ns per call). `timeit` switches the garbage collector off meanwhile."""
        self.candidate.prepare()
        return self._timer.timeit(self._number) / self._number / self.candidate.calls * 1e9
