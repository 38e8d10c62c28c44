"""One line of the result: what was measured, against what, and whether that keeps the budget."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Final

RELATIONS: Final = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt}
DECIMALS: Final = {"ms": 1, "% cpu": 2}


@dataclass(frozen=True)
class Budget:
    """A bound for a row's ratio, or for its value where it has none."""

    relation: str
    limit: float

    def keeps(self, number: float) -> bool:
        return RELATIONS[self.relation](number, self.limit)


@dataclass(frozen=True)
class Row:
    """A candidate's result.

    Attributes:
        case: The question.
        candidate: Who answers it.
        value: The cost over a bare call, or an amount.
        unit: The value's unit.
        to: The candidate that the ratio is against.
        ratio: The value in multiples of that candidate's; `None` where there is none to compare with.
        budget: What is allowed; `None` for a row that is shown for comparison.
    """

    case: str
    candidate: str
    value: float
    unit: str
    to: str = ""
    ratio: float | None = None
    budget: Budget | None = None

    @property
    def missed(self) -> bool:
        number = self.value if self.ratio is None else self.ratio
        return self.budget is not None and not self.budget.keeps(number)

    @property
    def verdict(self) -> str:
        if self.budget is None:
            return ""
        return "MISSED" if self.missed else "ok"

    def cells(self) -> tuple[str, ...]:
        number = f"{self.value:,.{DECIMALS.get(self.unit, 0)}f} {self.unit}"
        ratio = "" if self.ratio is None else f"{self.ratio:.2f} of {self.to}"
        return self.case, self.candidate, number, ratio, self._allowed(), self.verdict

    def _allowed(self) -> str:
        if self.budget is None:
            return ""
        unit = "x" if self.ratio is not None else f" {self.unit}"
        return f"{self.budget.relation} {self.budget.limit:,g}{unit}"

    def record(self) -> dict[str, object]:
        budget = None if self.budget is None else [self.budget.relation, self.budget.limit]
        return {
            "case": self.case,
            "candidate": self.candidate,
            "value": self.value,
            "unit": self.unit,
            "ratio": self.ratio,
            "to": self.to,
            "budget": budget,
            "verdict": self.verdict,
        }
