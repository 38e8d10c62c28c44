"""One of Django's `CACHES` as the place of the response cache, shared by all workers that share that cache."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.cache import caches

from recloser.http.kept import DEFAULT_MAX_BODY
from recloser.http.remote import RemoteCache


class SharedResponses(RemoteCache):
    """Keeps the last good responses in `CACHES[alias]`.

    Args:
        alias: Of the cache.
        namespace: The application's name among others in the same cache.
        max_body: Bytes of the longest body to keep.
    """

    def __init__(self, alias: str, *, namespace: str, max_body: int = DEFAULT_MAX_BODY) -> None:
        super().__init__(_Alias(alias), namespace=namespace, max_body=max_body)
        self.alias = alias


class _Alias:
    """A shelf. Each thread has its own connections: Django sees to that."""

    def __init__(self, alias: str) -> None:
        self._alias = alias

    def __repr__(self) -> str:
        return f"CACHES[{self._alias!r}]"

    def load(self, *keys: str) -> Sequence[bytes | None]:
        found: dict[str, Any] = caches[self._alias].get_many(keys)
        return [value if isinstance(value := found.get(key), bytes) else None for key in keys]

    def save(self, key: str, data: bytes, seconds: int) -> None:
        caches[self._alias].set(key, data, seconds)

    def drop(self, key: str) -> None:
        caches[self._alias].delete(key)
