"""Single values of a policy: names become objects, and each value is checked where it was written."""

from __future__ import annotations

from typing import Final

from recloser.config import vocabulary
from recloser.config.imports import load
from recloser.config.places import Entry, Place, Table
from recloser.config.reading import is_list
from recloser.config.report import Report
from recloser.core.policy import check

# Stands for a value that has been reported already.
WRONG: Final = object()

# Beside an unknown knob, check() judges no pairs: those are judged on the merged layers alone.
_ALONE: Final = {"": None}


def checked(table: Table, report: Report) -> Table:
    """Check every knob of a table by itself; what is wrong becomes WRONG."""
    return Table(table.place, _layer(table.written, report), _layer(table.overrides, report))


def _layer(layer: dict[str, Entry], report: Report) -> dict[str, Entry]:
    return {
        key: _knob(key, entry, report) if key in vocabulary.KNOBS else entry for key, entry in layer.items()
    }


def _knob(knob: str, entry: Entry, report: Report) -> Entry:
    found = _imported(knob, entry, report) if knob in vocabulary.IMPORTED else entry
    if found.value is WRONG:
        return found
    problems = [problem for problem in check({knob: found.value, **_ALONE})[1] if problem.path == knob]
    for problem in problems:
        report.wrong(entry.place, entry.value, problem.fix)
    return entry._replace(value=WRONG) if problems else found


def _imported(knob: str, entry: Entry, report: Report) -> Entry:
    if isinstance(entry.value, str):
        return entry._replace(value=_object(knob, entry.value, entry.place, report))
    if not is_list(entry.value):
        return entry
    objects = tuple(
        _object(knob, item, entry.place.at(index), report) if isinstance(item, str) else item
        for index, item in enumerate(entry.value)
    )
    return entry._replace(value=WRONG if any(item is WRONG for item in objects) else objects)


def _object(knob: str, name: str, place: Place, report: Report) -> object:
    found, fix = load(name)
    fix = fix or _unfit(knob, name, found)
    if not fix:
        return found
    report.wrong(place, name, fix)
    return WRONG


def _unfit(knob: str, name: str, found: object) -> str:
    if knob == "failure_if":
        return "" if callable(found) else f"must name a function; {name} is of type {type(found).__name__}"
    if issubclass(found, BaseException) if isinstance(found, type) else callable(found):
        return ""
    what = "another class" if isinstance(found, type) else f"of type {type(found).__name__}"
    return f"must name an exception type or a predicate of one; {name} is {what}"
