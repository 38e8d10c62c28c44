"""The settings outside every breaker and route: the store, the namespace, the response cache."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from recloser.config.places import Entry, Table
from recloser.config.report import Report
from recloser.config.store_url import objection, redacted
from recloser.core.errors import Problem

DEFAULT_NAMESPACE: Final = "recloser"

_NAMESPACE: Final = re.compile("[A-Za-z0-9][A-Za-z0-9._-]*")


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


def cache_of(table: Table, report: Report) -> Mapping[str, object]:
    """Check what is said of the response cache."""
    for key in ("alias", "url"):
        entry = table.get(key)
        if entry is not None:
            fix = "must be left out: this version of recloser keeps responses in the memory of each process"
            report.wrong(entry.place, entry.value, fix)
    size = table.get("max_bytes")
    if size is None:
        return MappingProxyType({})
    if isinstance(size.value, bool) or not isinstance(size.value, int) or size.value < 1:
        report.wrong(size.place, size.value, "must be a whole number of bytes, at least 1")
    return MappingProxyType({"max_bytes": size.value})
