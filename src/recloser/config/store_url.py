"""Where a fleet meets: the spelling of a store's URL."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import SplitResult, urlsplit

REDIS: Final = frozenset(
    {"redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster"}
)
_ONE_SERVER: Final = frozenset({"redis", "rediss"})
SPELLINGS: Final = (
    'must be "sqlite", "sqlite:///absolute/path.db", or the URL of a Redis or Valkey server '
    '("redis://host:6379/0", "rediss://…", "unix:///path.sock")'
)
_SCHEME: Final = re.compile("[a-z][a-z0-9+]{0,19}(?=://)")


def objection(url: object) -> str:
    """Say what is wrong with a store's URL; `""`: nothing that can be seen from it."""
    if not isinstance(url, str):
        return SPELLINGS
    if url == "sqlite":
        return ""
    try:
        parts = urlsplit(url)
        port = parts.port if parts.scheme in _ONE_SERVER else None
    except ValueError:
        return SPELLINGS
    if parts.scheme == "sqlite":
        return _of_file(parts)
    return _of_server(parts) if parts.scheme in REDIS and port != 0 else SPELLINGS


def _of_file(parts: SplitResult) -> str:
    is_path = not parts.netloc and len(parts.path) > 1 and not parts.query and not parts.fragment
    return "" if is_path else 'must name an absolute path: "sqlite:///var/lib/shop/recloser.db"'


def _of_server(parts: SplitResult) -> str:
    if parts.netloc.count("@") > 1 or "@" in parts.path:
        return "must have every / and @ of its password percent-encoded"
    place = parts.path if parts.scheme == "unix" else parts.netloc.rpartition("@")[2]
    return "" if place.strip("/:") else SPELLINGS


def redacted(url: object) -> str:
    """Show a store's URL in an error: wherever its author put the password, nothing of it but the scheme."""
    if url == "sqlite":
        return repr(url)
    scheme = _SCHEME.match(url) if isinstance(url, str) else None
    if scheme:
        return f"'{scheme[0]}://***'"
    return "a text that is no URL" if isinstance(url, str) else f"something of type {type(url).__name__}"
