"""Reading and writing the header fields that plans depend on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

_LONGEST: Final = 2**31  # RFC 9111 §1.2.2: a delta-seconds that overflows counts as this
# Commas part the members, except within quotes; a quote that never ends runs to the end (this stays linear).
_PIECE: Final = re.compile(r"""[^",]+|"(?:[^"\\]|\\.?)*(?:"|$)|,""", re.DOTALL)
_ENTITY_TAG: Final = re.compile(r'(?:W/)?("[\x21\x23-\x7e\x80-\xff]*")')  # RFC 9110 §8.8.3


def directives(value: str | None) -> Mapping[str, str | None]:
    """Read a Cache-Control field (RFC 9111 §5.2).

    Returns:
        Directive names in lower case to their arguments, unquoted; `None` where there is none. Of a directive
        given twice with different arguments, one that makes no promise: `""` (RFC 9111 §4.2.1).
    """
    found: dict[str, str | None] = {}
    for part in _split(value) if value else ():
        name, equals, argument = (piece.strip() for piece in part.partition("="))
        if not name:
            continue
        if argument.startswith('"'):
            argument = re.sub(r"\\(.)", r"\1", argument[1:].removesuffix('"'))
        given = argument if equals else None
        name = name.lower()
        found[name] = given if found.get(name, given) == given else ""
    return found


def _split(text: str) -> Iterator[str]:
    part = ""
    for piece in _PIECE.findall(text):
        if piece == ",":
            yield part
            part = ""
        else:
            part += piece
    yield part


def seconds(argument: str | None) -> int | None:
    """Read a delta-seconds (RFC 9111 §1.2.2); `None` if it is none."""
    if argument is None or not (argument.isascii() and argument.isdigit()):
        return None
    return min(int(argument[:12]), _LONGEST)


def members(value: str | None) -> frozenset[str]:
    """Read a list of case-insensitive names, such as Vary or Connection (RFC 9110 §5.6.1)."""
    return frozenset(name for part in (value or "").split(",") if (name := part.strip().lower()))


def entity_tags(value: str) -> frozenset[str]:
    """Read entity tags for weak comparison: their opaque parts (RFC 9110 §8.8.3.2)."""
    return frozenset(_ENTITY_TAG.findall(value))


def timestamp(value: str | None) -> float | None:
    """Read an HTTP date (RFC 9110 §5.6.7) as seconds of the wall clock; `None` if it is none."""
    if not value:
        return None
    try:
        date = parsedate_to_datetime(value)
        if date.tzinfo is None and "," not in value:  # asctime's form, which names no zone
            date = date.replace(tzinfo=UTC)
        return date.timestamp() if date.tzinfo is not None else None
    except (ValueError, OverflowError, TypeError):
        return None


def preference(accept: str | None, *media_types: str) -> float:
    """Weigh media types against an Accept field (RFC 9110 §12.5.1).

    Returns:
        The best quality among `media_types`, 0..1. Without Accept, 1.
    """
    if accept is None:
        return 1.0
    ranges: dict[str, float] = {}
    for part in accept.lower().split(","):
        media_range, *parameters = (piece.strip() for piece in part.split(";"))
        ranges[media_range] = max(ranges.get(media_range, 0.0), _quality(parameters))
    return max(_best_match(ranges, media_type) for media_type in media_types)


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            return float(value) if re.fullmatch(r"\s*(?:0(?:\.\d{0,3})?|1(?:\.0{0,3})?)\s*", value) else 0.0
    return 1.0


def _best_match(ranges: Mapping[str, float], media_type: str) -> float:
    # The most specific range decides, not the most generous one.
    for media_range in (media_type, f"{media_type.partition('/')[0]}/*", "*/*"):
        if media_range in ranges:
            return ranges[media_range]
    return 0.0


def quoted(text: str) -> str:
    """Write a structured field's String (RFC 9651 §3.3.3); what does not fit in ASCII becomes `?`."""
    plain = "".join(character if " " <= character <= "~" else "?" for character in text)
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'
