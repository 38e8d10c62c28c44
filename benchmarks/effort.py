"""How long to measure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Effort:
    """The size of one measurement.

    Attributes:
        rounds: How often each candidate of a timed case has its turn.
        loop: How long one turn takes (seconds).
        calls: Calls after which retained memory is measured.
        breakers: Breakers made to measure the memory of one.
        imports: Interpreters started for each import.
        trips: How often a fleet is tripped.
        hang: How long a fleet is watched (seconds).
        workers: Most processes of a fleet.
    """

    rounds: int
    loop: float
    calls: int
    breakers: int
    imports: int
    trips: int = 60
    hang: float = 3.0
    workers: int = 8


FULL = Effort(rounds=150, loop=0.003, calls=100_000, breakers=1_000, imports=40)
QUICK = Effort(rounds=40, loop=0.002, calls=20_000, breakers=200, imports=20, trips=15, hang=1.0)
