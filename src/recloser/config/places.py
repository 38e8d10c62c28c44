"""Where a setting was written, in its author's own spelling; and what a declaration says before it is checked."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from recloser.config.report import redacted, shown

_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Place:
    """A setting of a Python mapping or an environment variable: `RECLOSER["BREAKERS"]["payments"]`."""

    text: str

    def at(self, key: object) -> Place:
        """The place of `key`, or of an item's number, inside this one."""
        return Place(f"{self.text}[{_quoted(key) if isinstance(key, str) else shown(key)}]")

    def section(self, name: str) -> str:
        """How the name of a section is written here."""
        return name.upper()

    @property
    def writes_null(self) -> bool:
        """Whether a value can say null here."""
        return True

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class TomlPlace(Place):
    """A setting of a TOML file: `recloser.toml: breakers.payments`."""

    joint: str = ": "

    def at(self, key: object) -> Place:
        """The place of `key`, or of an item's number, inside this one."""
        if not isinstance(key, str):
            return TomlPlace(f"{self.text}[{key}]", ".")
        inner = key if _BARE_KEY.fullmatch(key) else _quoted(key)
        return TomlPlace(f"{self.text}{self.joint}{inner}", ".")

    def section(self, name: str) -> str:
        """How the name of a section is written here."""
        return name

    @property
    def writes_null(self) -> bool:
        """TOML has no null."""
        return False


def _quoted(key: str) -> str:
    return '"' + repr(redacted(key))[1:-1].replace('"', '\\"') + '"'


class Entry(NamedTuple):
    """One value with the place where it was written, and its provenance."""

    value: object
    place: Place
    source: str


@dataclass(slots=True)
class Table:
    """The settings written in one place, and the environment's overrides of them."""

    place: Place
    written: dict[str, Entry] = field(default_factory=dict[str, Entry])
    overrides: dict[str, Entry] = field(default_factory=dict[str, Entry])

    def get(self, key: str) -> Entry | None:
        """The entry of `key` that applies."""
        return self.overrides.get(key, self.written.get(key))


@dataclass(slots=True)
class Written:
    """A whole declaration before its values are checked. `top` holds what stands outside every section."""

    top: Table
    defaults: Table
    cache: Table
    profiles: dict[str, Table]
    breakers: dict[str, Table]
    routes: dict[str, Table]
