"""The response cache that a declaration asks for."""

from __future__ import annotations

from typing import Any

from recloser.config.declaration import Declaration
from recloser.config.report import shown
from recloser.core.errors import Problem
from recloser.http.cache import DEFAULT_MAX_BYTES, ResponseCache
from recloser.http.kept import DEFAULT_MAX_BODY, Cache
from recloser.http.remote import RemoteCache


def cache_of(declaration: Declaration) -> tuple[Cache, list[Problem]]:
    """Make the response cache of an application that is not Django's.

    Args:
        declaration: Its `cache` was checked.

    Returns:
        The cache, and the problems found (the cache means nothing if there are any).
    """
    said: dict[str, Any] = dict(declaration.cache)
    max_body: int = said.get("max_body", DEFAULT_MAX_BODY)
    memory = ResponseCache(said.get("max_bytes", DEFAULT_MAX_BYTES), max_body=max_body)
    if "alias" in said:
        fix = 'must be left out: only Django has CACHES; here "url" names a Redis or Valkey server'
        return memory, [Problem(declaration.places["cache.alias"], shown(said["alias"]), fix)]
    if "url" not in said:
        return memory, []
    try:
        from recloser.http.redis import RedisShelf  # noqa: PLC0415 - only a declared server needs its extra

        shelf = RedisShelf(said["url"])
    except ImportError:
        fix = 'needs redis-py: pip install "recloser[redis]"'
    except ValueError:  # whose text may repeat the password
        fix = "must be a URL that redis-py can read, such as 'redis://127.0.0.1:6379/0'"
    else:
        return RemoteCache(shelf, namespace=declaration.namespace, max_body=max_body), []
    return memory, [Problem(declaration.places["cache.url"], shown(said["url"]), fix)]
