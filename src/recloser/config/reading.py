"""From nested mappings to tables: the names and shapes of a declaration, not yet its values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple, TypeGuard

from recloser.config import vocabulary
from recloser.config.places import Entry, Place, Table, Written
from recloser.config.report import Report
from recloser.core.policy import nearest


class _Kind(NamedTuple):
    """What a table may hold, where its values come from, and how it may be named."""

    keys: Mapping[str, None]
    source: str
    name: re.Pattern[str] = re.compile("(?s:.+)")
    name_fix: str = "must be named by a text"


_DEFAULTS: Final = _Kind(vocabulary.KNOBS, "defaults")
_CACHE: Final = _Kind(vocabulary.CACHE, "cache")
_PROFILE: Final = _Kind(vocabulary.PROFILE, "profile:{}")
_ROUTE: Final = _Kind(vocabulary.ROUTE, "route")
_BREAKER: Final = _Kind(
    vocabulary.BREAKER,
    "breaker",
    re.compile("[a-z0-9][a-z0-9._:-]*"),
    "must be named in lower-case letters, digits and . _ : -, beginning with a letter or digit",
)
_HIDDEN: Final = {"SECRET": None}
_ABSENT: Final[Mapping[str, object]] = {}


def read(declared: object, root: Place, report: Report) -> Written:
    """Sort what was declared into tables.

    Args:
        declared: The outermost mapping.
        root: Where it was written.
        report: Receives unknown names and wrong shapes; what is wrong is left out of the result.
    """
    if not is_mapping(declared):
        report.wrong(root, declared, "must be a mapping of settings")
        declared = _ABSENT
    known = {root.section(name): name for name in vocabulary.SECTIONS}
    sections: dict[str, object] = {}
    for key, value in declared.items():
        if isinstance(key, str) and key in known:
            sections[known[key]] = value
        else:
            mistyped = isinstance(key, str) and nearest(key.upper(), _HIDDEN)
            report.unknown(root.at(key), "is no section", key, known, "***" if mistyped else value)

    def part(name: str) -> tuple[object, Place]:
        return sections.get(name, _ABSENT), root.at(root.section(name))

    top = Table(root)
    for name in vocabulary.TOP:
        if name in sections:
            top.written[name] = Entry(*part(name), "declaration")
    return Written(
        top=top,
        defaults=_table(*part("defaults"), _DEFAULTS, report),
        cache=_table(*part("cache"), _CACHE, report),
        profiles=_tables(*part("profiles"), _PROFILE, report),
        breakers=_tables(*part("breakers"), _BREAKER, report),
        routes=_tables(*part("routes"), _ROUTE, report),
    )


def is_mapping(value: object) -> TypeGuard[Mapping[object, object]]:
    """Whether `value` is a mapping of anything."""
    return isinstance(value, Mapping)


def is_list(value: object) -> TypeGuard[list[object] | tuple[object, ...]]:
    """Whether `value` is a list as a declaration may write it."""
    return isinstance(value, list | tuple)


def _table(value: object, place: Place, kind: _Kind, report: Report) -> Table:
    table = Table(place)
    if not is_mapping(value):
        report.wrong(place, value, "must be a mapping of settings")
        return table
    for key, inner in value.items():
        if isinstance(key, str) and key in kind.keys:
            table.written[key] = Entry(inner, place.at(key), kind.source)
        else:
            report.unknown(place.at(key), "is no setting here", key, kind.keys, inner)
    return table


def _tables(value: object, place: Place, kind: _Kind, report: Report) -> dict[str, Table]:
    tables: dict[str, Table] = {}
    if not is_mapping(value):
        report.wrong(place, value, "must be a mapping of names to settings")
        return tables
    for name, inner in value.items():
        if isinstance(name, str) and kind.name.fullmatch(name):
            own = kind._replace(source=kind.source.format(name))
            tables[name] = _table(inner, place.at(name), own, report)
        else:
            report.wrong(place.at(name), name, kind.name_fix)
    return tables
