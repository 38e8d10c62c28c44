"""From a store's URL in a declaration to the store."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from recloser.stores.protocol import Store


def open_store(url: str, namespace: str) -> Store:
    """Return the store of a URL; it connects when the hub needs it.

    Args:
        url: As a declaration spells it, and has checked.
        namespace: The application's name among others in the same store.

    Raises:
        ImportError: Names the extra to install.
    """
    path = path_of(url, namespace)
    if path is not None:
        from recloser.stores.sqlite import SQLiteStore  # noqa: PLC0415 - not every process has such a store

        return SQLiteStore(path, namespace)
    from recloser.stores.redis import RedisStore  # noqa: PLC0415 - an extra

    return RedisStore(url, namespace)


def path_of(url: str, namespace: str) -> Path | None:
    """Return the file of a store's URL; `None` if it is a server's."""
    if not url.startswith("sqlite"):
        return None
    from recloser.stores import files  # noqa: PLC0415 - not every process has such a store

    return Path(unquote(urlsplit(url).path)) if "://" in url else files.default_path(namespace)
