"""Redis and Valkey as the place of a fleet's response cache."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from recloser.config.report import redacted

try:
    from redis import ConnectionError as RedisConnectionError
    from redis import ConnectionPool, Redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry
except ModuleNotFoundError as missing:
    raise ImportError(
        'recloser.http.redis needs redis-py: pip install "recloser[redis]"', name="redis"
    ) from missing

if TYPE_CHECKING:
    from redis.client import Redis as Client

_TIMEOUT: Final = 1.0  # seconds, of each step in the background; a request does not wait for so long


class RedisShelf:
    """Keeps bytes in a Redis or Valkey server. It connects at first use, and anew after a fork.

    Args:
        url: `redis://`, `rediss://` or `unix://`, as redis-py reads it.

    Raises:
        ValueError: redis-py cannot read the URL.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._pid = os.getpid()
        self._redis = self._made()

    def __repr__(self) -> str:
        return redacted(self._url)

    def load(self, *keys: str) -> Sequence[bytes | None]:
        """Read what is kept under keys, all at once."""
        found: Any = self._client().mget(keys)
        return [value if isinstance(value, bytes) else None for value in found]

    def save(self, key: str, data: bytes, seconds: int) -> None:
        """Keep something for so many seconds."""
        self._client().set(key, data, ex=seconds)

    def drop(self, key: str) -> None:
        """Drop what is kept under a key."""
        self._client().delete(key)

    def _client(self) -> Client:
        if self._pid != os.getpid():
            self._redis = self._made()
            self._pid = os.getpid()
        return self._redis

    def _made(self) -> Client:
        # A connection that the server has closed meanwhile is worth one more try; a time-out is none.
        retry = Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,))
        pool: Any = ConnectionPool
        return Redis.from_pool(
            pool.from_url(self._url, socket_timeout=_TIMEOUT, socket_connect_timeout=_TIMEOUT, retry=retry)
        )
