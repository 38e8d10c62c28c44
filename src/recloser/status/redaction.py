"""Texts of errors and operators, as they may be shown: bounded, on one line, without what looks like a credential."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

LONGEST: Final = 300  # characters

_USER: Final = re.compile(r"(?<=://)[^\s/@]{1,256}@")
_QUERY: Final = re.compile(r"(://[^\s?'\"<>]{1,512})\?[^\s'\"<>)]+")
_NAMED: Final = re.compile(
    r"(?i)(password|passwd|pwd|secret|token|api[_-]?key|credential|session|signature)"
    r"(['\"]?\s{0,3}[:=]\s{0,3}['\"]?)[^\s'\",;&)}]+"
)
_SCHEME: Final = re.compile(r"(?i)\b(bearer|basic|digest)\s{1,3}[\w.~+/=-]{6,}")
_JWT: Final = re.compile(r"\beyJ[\w-]{5,}\.[\w-]+(?:\.[\w-]*)?")


def plain(text: str, longest: int = LONGEST) -> str:
    """Return a text on one line: nothing in it moves the cursor, changes direction or ends a line."""
    if not text:
        return ""
    bounded = text[: longest * 4]
    shown = "".join(" " if unicodedata.category(each)[0] in "CZ" else each for each in bounded)
    shown = " ".join(shown.split())
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"


def redacted(text: str) -> str:
    """Return a text of an error as it may be shown."""
    if not text:
        return ""
    text = plain(text, LONGEST * 4)
    text = _USER.sub("***@", text)
    text = _QUERY.sub(r"\1?***", text)
    text = _JWT.sub("***", text)
    text = _SCHEME.sub(r"\1 ***", text)
    return plain(_NAMED.sub(r"\1\2***", text))
