"""From layers (defaults, profiles, a breaker's own) to one policy whose every knob knows its layer."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

from recloser.config import vocabulary
from recloser.config.declaration import PolicyDeclaration
from recloser.config.places import Entry, Table
from recloser.config.report import Report, shown
from recloser.config.values import WRONG
from recloser.core.errors import Problem
from recloser.core.policy import Policy, check

# Setting one of these takes back the other, where a lower layer had set it.
_ALTERNATIVES: Final = {"window_seconds": "window_calls", "window_calls": "window_seconds"}
# Left unset, these follow from what another knob says.
_IMPLIED: Final[Mapping[str, Collection[str]]] = {
    "window_seconds": ("window_calls",),
    "failure_threshold": ("failure_rate_threshold", "slow_call_rate_threshold"),
}
# Whether a pair is impossible cannot be known while one of these is wrong.
_JUDGED_WITH: Final[Mapping[str, Collection[str]]] = {
    "window_calls": ("window_calls", "window_seconds"),
    "minimum_calls": (
        "minimum_calls",
        "window_calls",
        "window_seconds",
        "failure_rate_threshold",
        "slow_call_rate_threshold",
    ),
    "slow_call_duration": ("slow_call_duration", "slow_call_rate_threshold"),
    "recovery_timeout": ("recovery_timeout", "recovery_timeout_max"),
}
# A declaration with problems comes to nothing, but all of it is looked at.
_STAND_IN: Final = PolicyDeclaration(policy=Policy(), provenance=MappingProxyType({}))


def merged(tables: Iterable[Table]) -> dict[str, Entry]:
    """The knobs that apply when each table ranks above those before it, and overrides above what is written."""
    knobs: dict[str, Entry] = {}
    for table in tables:
        for layer in (table.written, table.overrides):
            own = {knob: entry for knob, entry in layer.items() if knob in vocabulary.KNOBS}
            for knob, other in _ALTERNATIVES.items():
                if knob in own and own[knob].value is not None and other not in own:
                    knobs.pop(other, None)
            knobs.update(own)
    return knobs


def judge(knobs: Mapping[str, Entry]) -> tuple[PolicyDeclaration, list[Problem]]:
    """Make a policy of knobs whose values are right one by one, or WRONG and reported.

    Returns:
        The policy (a stand-in if there is none to be made), and the pairs of values that are impossible.
    """
    wrong = {knob for knob, entry in knobs.items() if entry.value is WRONG}
    values, problems = check({knob: entry.value for knob, entry in knobs.items() if knob not in wrong})
    problems = [problem for problem in problems if wrong.isdisjoint(_JUDGED_WITH.get(problem.path, wrong))]
    if problems or wrong:
        return _STAND_IN, problems
    provenance = {knob: _source(knob, knobs, values) for knob in values}
    return PolicyDeclaration(policy=Policy(**values), provenance=MappingProxyType(provenance)), []


def tell(problems: Iterable[Problem], knobs: Mapping[str, Entry], owner: Table, report: Report) -> None:
    """Report problems of pairs where the owner of the policy can mend them."""
    for knob, value, fix in problems:
        entry = knobs.get(knob)
        if entry is None:
            report.note(Problem(str(owner.place.at(knob)), f"{value} by default", fix))
        elif entry is owner.get(knob):
            report.wrong(entry.place, entry.value, fix)
        else:
            report.note(Problem(str(owner.place.at(knob)), f"{shown(entry.value)} from {entry.source}", fix))


def _source(knob: str, knobs: Mapping[str, Entry], values: Mapping[str, Any]) -> str:
    if knob in knobs:
        return knobs[knob].source
    for other in _IMPLIED.get(knob, ()):
        if values[other] is not None:
            return knobs[other].source
    return "default"
