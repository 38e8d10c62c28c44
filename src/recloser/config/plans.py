"""The shape of plans, and when they answer. What a step means is the business of `recloser.http`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from recloser.config.declaration import Occasion, PlanDeclaration, Step
from recloser.config.places import Entry, Place
from recloser.config.reading import is_list, is_mapping
from recloser.config.report import Report

ON_FIX: Final = 'must be ["open"], or ["open", "failure"] to answer counted failures too'
ON_ALONE_FIX: Final = "must stand beside the plan that it is about"
_LIST_FIX: Final = 'must be a list of steps such as {"stale": 600}'


def occasions(value: object) -> tuple[Occasion, ...] | None:
    """Read what a plan answers; `None` if that is wrongly written."""
    names = set(value) if is_list(value) and all(isinstance(name, str) for name in value) else set[object]()
    if names == {"open"}:
        return ("open",)
    return ("open", "failure") if names == {"open", "failure"} else None


def on_of(entry: Entry | None, plan: Entry | None, report: Report) -> tuple[Occasion, ...]:
    """Check what a plan answers."""
    if entry is None:
        return ("open",)
    found = occasions(entry.value)
    if found is None:
        report.wrong(entry.place, entry.value, ON_FIX)
    elif plan is None:
        report.wrong(entry.place, entry.value, ON_ALONE_FIX)
    return found or ("open",)


def plan_of(
    entry: Entry | None, report: Report, on: tuple[Occasion, ...] = ("open",)
) -> PlanDeclaration | None:
    """Check the shape of one plan, and keep a copy of it."""
    if entry is None:
        return None
    if not is_list(entry.value):
        report.wrong(entry.place, entry.value, _LIST_FIX)
        return None
    steps = [_step(step, entry.place.at(index), report) for index, step in enumerate(entry.value)]
    return PlanDeclaration(tuple(steps), str(entry.place), on)


def plans_of(
    entry: Entry | None, breakers: tuple[str, ...], report: Report, on: tuple[Occasion, ...]
) -> Mapping[str, PlanDeclaration]:
    """Check the shape of a mapping from a route's breakers to one plan each."""
    plans: dict[str, PlanDeclaration] = {}
    if entry is not None and is_mapping(entry.value):
        known = dict.fromkeys(breakers)
        for name, value in entry.value.items():
            place = entry.place.at(name)
            plan = plan_of(Entry(value, place, entry.source), report, on)
            if name not in known:
                report.unknown(place, "is no breaker of this route", name, known, value)
            elif plan is not None:
                plans[str(name)] = plan
    return MappingProxyType(plans)


def _step(step: object, place: Place, report: Report) -> Step:
    if isinstance(step, str) and step:
        return step
    if not is_mapping(step) or not step or not all(isinstance(key, str) for key in step):
        report.wrong(place, step, 'must be a step such as {"stale": 600}')
        return {}
    copy = {str(key): _copied(value) for key, value in step.items()}
    if isinstance(copy.get("json"), str) and not place.writes_null:
        copy["json"] = _parsed(str(copy["json"]), place.at("json"), report)
    return MappingProxyType(copy)


def _parsed(text: str, place: Place, report: Report) -> object:
    import json  # noqa: PLC0415 - only a fixed body in TOML pays for it

    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        report.wrong(place, text, "must be a table, a list, or JSON in a text")
        return None


def _copied(value: object) -> object:
    # The author may change his settings later; what was checked must not change with them.
    if is_mapping(value):
        return {key: _copied(inner) for key, inner in value.items()}
    if is_list(value):
        return [_copied(inner) for inner in value]
    return value
