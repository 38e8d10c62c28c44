"""The settings outside every breaker and route: the store, the namespace, the response cache and the like."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, cast

from recloser.config.places import Entry, Table
from recloser.config.report import Report
from recloser.config.store_url import objection, redacted
from recloser.core.errors import Problem

DEFAULT_NAMESPACE: Final = "recloser"

_NAMESPACE: Final = re.compile("[A-Za-z0-9][A-Za-z0-9._-]*")
_CACHE_SCHEMES: Final = ("redis://", "rediss://", "unix://")


def store_of(entry: Entry | None, report: Report) -> str | None:
    """Check where the fleet meets."""
    if entry is None or entry.value is None:
        return None
    wrong = objection(entry.value)
    if wrong:
        report.note(Problem(str(entry.place), redacted(entry.value), wrong))
        return None
    return str(entry.value)


def namespace_of(entry: Entry | None, report: Report) -> str:
    """Check the application's name."""
    if entry is None or entry.value is None:
        return DEFAULT_NAMESPACE
    if isinstance(entry.value, str) and _NAMESPACE.fullmatch(entry.value):
        return entry.value
    fix = "must be a text of letters, digits and . _ -, beginning with a letter or digit"
    report.wrong(entry.place, entry.value, fix)
    return DEFAULT_NAMESPACE


def expose_of(entry: Entry | None, report: Report) -> bool | None:
    """Check whether answers may name breakers, strategies and errors; `None` if nothing is said."""
    if entry is None or entry.value is None or isinstance(entry.value, bool):
        return None if entry is None else cast("bool | None", entry.value)
    report.wrong(entry.place, entry.value, "must be true or false")
    return None


def secret_of(entry: Entry | None, report: Report) -> str | None:
    """Check what tokens are signed with. Nothing of it is ever shown."""
    if entry is None or entry.value is None:
        return None
    if isinstance(entry.value, str) and entry.value:
        return entry.value
    value = "an empty text" if entry.value == "" else f"a {type(entry.value).__name__}"
    report.note(Problem(str(entry.place), value, "must be a text that nobody can guess"))
    return None


def cache_of(table: Table, report: Report) -> Mapping[str, object]:
    """Check what is said of the response cache."""
    said: dict[str, object] = {}
    for key, check in _CACHE.items():
        entry = table.get(key)
        if entry is not None and entry.value is not None:
            fix = check(entry.value)
            if fix and key == "url":
                report.note(Problem(str(entry.place), redacted(entry.value), fix))
            elif fix:
                report.wrong(entry.place, entry.value, fix)
            said[key] = entry.value
    for key, other, why in _NOT_BOTH:
        entry = table.get(key)
        if entry is not None and key in said and other in said:
            report.wrong(entry.place, entry.value, f"must not stand beside {other}: {why}")
    return MappingProxyType(said)


def _size_fix(value: object) -> str:
    is_size = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    return "" if is_size else "must be a whole number of bytes, at least 1"


def _alias_fix(value: object) -> str:
    return "" if isinstance(value, str) and value else "must be an alias of Django's CACHES"


def _url_fix(value: object) -> str:
    if isinstance(value, str) and value.startswith(_CACHE_SCHEMES) and not objection(value):
        return ""
    return "must be the URL of a Redis or Valkey server, such as 'redis://127.0.0.1:6379/0'"


_CACHE: Final[Mapping[str, Callable[[object], str]]] = {
    "max_bytes": _size_fix,
    "max_body": _size_fix,
    "alias": _alias_fix,
    "url": _url_fix,
}
_ONE_PLACE: Final = "responses are kept in one place"
_OWN: Final = "it bounds the memory of each process, and responses are not kept there"
_NOT_BOTH: Final = (("url", "alias", _ONE_PLACE), ("max_bytes", "alias", _OWN), ("max_bytes", "url", _OWN))
