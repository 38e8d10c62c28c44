"""Which breakers a reader asks for, and which page of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Self

from recloser.core.state import Mode, State

MAX_LIMIT: Final = 500
MAX_SEARCH: Final = 200
MAX_OFFSET: Final = 1_000_000

SHOWN: Final = (*State, *(mode for mode in Mode if mode is not Mode.AUTO), "trouble", "disagreeing")


class Query(NamedTuple):
    """What is asked for.

    Attributes:
        search: A part of the breaker's name, in any case.
        show: Empty for all; a state, a mode, `"trouble"` (not closed and automatic) or `"disagreeing"`.
        offset: So many of the worst are left out.
        limit: At most so many breakers.
    """

    search: str = ""
    show: str = ""
    offset: int = 0
    limit: int = 200

    @classmethod
    def read(cls, parameters: Mapping[str, str]) -> Self:
        """Read a query from a URL's parameters; others than its own are ignored.

        Raises:
            ValueError: One of them is wrong; says which.
        """
        search = parameters.get("search", "")
        if len(search) > MAX_SEARCH:
            raise ValueError(f"search must have at most {MAX_SEARCH} characters")
        show = parameters.get("show", "")
        if show and show not in SHOWN:
            raise ValueError(f"show must be one of {', '.join(SHOWN)}")
        offset = _number(parameters, "offset", 0, 0, MAX_OFFSET)
        return cls(search.strip().lower(), show, offset, _number(parameters, "limit", 200, 1, MAX_LIMIT))

    def matches(self, entry: Mapping[str, Any]) -> bool:
        """Tell whether a breaker is asked for."""
        if self.search not in entry["name"].lower():
            return False
        match self.show:
            case "":
                return True
            case "trouble":
                return bool(entry["severity"])
            case "disagreeing":
                return bool(entry["agreement"]["differ"])
            case wanted:
                return wanted in (entry["state"], entry["mode"]["mode"])


def _number(parameters: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    text = parameters.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= 9 and least <= int(text) <= most):
        raise ValueError(f"{name} must be a whole number from {least} to {most}")
    return int(text)
