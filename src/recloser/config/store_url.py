"""Where a fleet meets: the spelling of a store's URL."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

REDIS: Final = frozenset(
    {"redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster"}
)
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
        port = parts.port
    except ValueError:
        return SPELLINGS
    if parts.scheme == "sqlite":
        is_path = not parts.netloc and len(parts.path) > 1 and not parts.query and not parts.fragment
        return "" if is_path else 'must name an absolute path: "sqlite:///var/lib/shop/recloser.db"'
    if parts.scheme not in REDIS:
        return SPELLINGS
    is_place = bool(parts.path.strip("/")) if parts.scheme == "unix" else bool(parts.hostname)
    return "" if is_place and port != 0 else SPELLINGS


def redacted(url: object) -> str:
    """Show a store's URL in an error: wherever its author put the password, nothing of it but the scheme."""
    if url == "sqlite":
        return repr(url)
    scheme = _SCHEME.match(url) if isinstance(url, str) else None
    return f"'{scheme[0]}://***'" if scheme else f"a {type(url).__name__}"
