"""The problems of a declaration, collected so that all are told at once, and told without secrets."""

from __future__ import annotations

from collections.abc import Mapping
from reprlib import Repr
from typing import Final

from recloser.core.errors import ConfigurationError, Problem
from recloser.core.policy import nearest

# More known names than this are not listed when none is near.
_LISTED: Final = 9


class Report:
    """The problems found so far, in the order of finding, each once."""

    def __init__(self) -> None:
        self._problems: dict[Problem, None] = {}

    def wrong(self, place: object, value: object, fix: str) -> None:
        """Note that `value`, written at `place`, is wrong; `fix` continues the sentence that begins with the place."""
        self.note(Problem(str(place), shown(value), fix))

    def unknown(
        self, place: object, fix: str, name: object, known: Mapping[str, object], value: object
    ) -> None:
        """Note that `name` is not known, with the nearest of the known names behind `fix`."""
        text = str(name)
        hint = next(filter(None, (nearest(spelt, known) for spelt in (text, text.lower(), text.upper()))), "")
        if not hint and 0 < len(known) <= _LISTED:
            hint = f" (known: {', '.join(known)})"
        self.wrong(place, value, f"{fix}{hint}")

    def note(self, problem: Problem) -> None:
        """Note a problem that is already put into words."""
        self._problems.setdefault(problem)

    def conclude(self) -> None:
        """Raise ConfigurationError if anything was noted."""
        if self._problems:
            raise ConfigurationError(self._problems)


def redacted(text: str) -> str:
    """Hide what may be a credential of a URL: all before its last `@`, and its query."""
    scheme, slashes, rest = text.partition("://")
    if not slashes:
        before, _, after = text.rpartition("@")
        return f"***@{after}" if ":" in before else text
    if "@" in rest:
        rest = "***@" + rest.rpartition("@")[2]
    path, question, _ = rest.partition("?")
    return f"{scheme}://{path}{'?***' if question else ''}"


def shown(value: object) -> str:
    """A value as an error shows it: bounded, and without credentials."""
    return _SHOWN.repr(value)


class _Shown(Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = 120

    def repr_str(self, x: str, level: int) -> str:
        return super().repr_str(redacted(x), level)

    def repr_instance(self, x: object, level: int) -> str:  # noqa: ARG002 - Repr's own signature
        try:
            text = redacted(repr(x))
        except Exception:
            text = f"a {type(x).__name__}"
        return text if len(text) <= self.maxother else f"{text[: self.maxother]}…"


_SHOWN = _Shown()
