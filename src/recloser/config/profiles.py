"""Profiles: which layers a table starts from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from recloser.config.places import Table
from recloser.config.report import Report


class Layers(NamedTuple):
    """The profiles under a table, the most general first; not `whole` if one of them cannot be known."""

    profiles: tuple[Table, ...]
    whole: bool


class Profiles:
    """The declared profiles, and what each of them starts from.

    Args:
        tables: By name.
        report: Receives unknown names and loops.
    """

    def __init__(self, tables: Mapping[str, Table], report: Report) -> None:
        self._tables = tables
        self._report = report
        self._bases = {name: self._named(table) for name, table in tables.items()}
        self._report_loops()

    def under(self, table: Table) -> Layers:
        """What a breaker's table starts from."""
        line, end = self._line(self._named(table))
        return Layers(tuple(self._tables[name] for name in reversed(line)), whole=end == "")

    def _named(self, table: Table) -> str | None:
        # "" where no profile is named, None where what is named is none.
        entry = table.get("profile")
        if entry is None:
            return ""
        if isinstance(entry.value, str) and entry.value in self._tables:
            return entry.value
        self._report.unknown(entry.place, "must name a profile", entry.value, self._tables, entry.value)
        return None

    def _line(self, name: str | None) -> tuple[list[str], str | None]:
        line: list[str] = []
        while name and name not in line:
            line.append(name)
            name = self._bases[name]
        return line, name

    def _report_loops(self) -> None:
        told: set[str] = set()
        for name in self._tables:
            line, end = self._line(name)
            if not end or end in told:
                continue
            loop = line[line.index(end) :]
            told.update(loop)
            entry = self._tables[end].get("profile")
            if entry is not None:
                fix = f"must not lead back to the profile itself ({' -> '.join([*loop, end])})"
                self._report.wrong(entry.place, entry.value, fix)
