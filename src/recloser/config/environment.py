"""Single values that the environment overrides: `RECLOSER_BREAKERS__PAYMENTS__RECOVERY_TIMEOUT=60`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from recloser.config import vocabulary
from recloser.config.places import Entry, Place, Table, Written
from recloser.config.report import Report

_PREFIX: Final = "RECLOSER_"
_SEPARATOR: Final = "__"
_OTHER: Final = re.compile("[^A-Z0-9]")


class _Singles(NamedTuple):
    """A section with one table."""

    table: Table
    keys: Mapping[str, None]


class _Named(NamedTuple):
    """A section with a table for each name."""

    kind: str
    tables: Mapping[str, Table]
    keys: Mapping[str, None]


def override(written: Written, environ: Mapping[str, str], report: Report) -> None:
    """Lay the environment's overrides over what is written.

    An override is `RECLOSER_STORE`, `…_NAMESPACE`, `…_EXPOSE`, `…_SECRET`, or a variable that begins with `RECLOSER_` and has
    `__` after its section. Every other variable is somebody else's.
    """
    top = _Singles(written.top, vocabulary.TOP)
    sections: dict[str, _Singles | _Named] = {
        "DEFAULTS": _Singles(written.defaults, vocabulary.KNOBS),
        "CACHE": _Singles(written.cache, vocabulary.CACHE),
        "PROFILES": _Named("profile", written.profiles, vocabulary.PROFILE),
        "BREAKERS": _Named("breaker", written.breakers, vocabulary.BREAKER),
        "ROUTES": _Named("route", written.routes, vocabulary.ROUTE),
    }
    spellings: dict[str, str] = {}
    for variable, text in environ.items():
        name = _normal(variable)
        if not name.startswith(_PREFIX):
            continue
        section, separator, rest = name.removeprefix(_PREFIX).partition(_SEPARATOR)
        if not separator and section.lower() not in vocabulary.TOP:
            continue
        twin = spellings.setdefault(name, variable)
        if twin != variable:
            report.wrong(variable, variable, f"must not be set beside {twin}: both say the same setting")
        elif not separator:
            _set(top, variable, section, text, report)
        elif section in sections:
            _find(sections[section], variable, rest, text, report)
        else:
            report.unknown(variable, "overrides no section", section, dict.fromkeys(sections), section)


def _find(section: _Singles | _Named, variable: str, rest: str, text: str, report: Report) -> None:
    if isinstance(section, _Singles):
        _set(section, variable, rest, text, report)
        return
    owner, separator, setting = rest.rpartition(_SEPARATOR)
    if not separator:
        report.wrong(variable, rest, f"must name a {section.kind} and one setting of it, as …__NAME__SETTING")
        return
    names = [name for name in section.tables if _normal(name) == owner]
    if len(names) > 1:
        fix = f"must mean one {section.kind}, but {' and '.join(map(repr, names))} are alike here"
        report.wrong(variable, owner, fix)
    elif names:
        _set(_Singles(section.tables[names[0]], section.keys), variable, setting, text, report)
    else:
        known = {_normal(name): None for name in section.tables}
        report.unknown(variable, f"overrides no declared {section.kind}", owner, known, owner)


def _set(section: _Singles, variable: str, setting: str, text: str, report: Report) -> None:
    key = setting.lower()
    if key in section.keys:
        entry = Entry(_value(key, text), Place(variable), f"environment:{variable}")
        section.table.overrides[key] = entry
    else:
        known = {key.upper(): None for key in section.keys}
        report.unknown(variable, "overrides no setting", setting, known, setting)


def _value(key: str, text: str) -> object:
    import json  # noqa: PLC0415 - only an override pays for it

    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return text if key in vocabulary.TEXTS and value is not None and not isinstance(value, str) else value


def _normal(name: str) -> str:
    return _OTHER.sub("_", name.upper())
