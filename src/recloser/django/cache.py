"""`BreakerCache`: any of Django's cache backends behind a breaker, so that a dead cache is a cold one.

CACHES = {
    "default": {
        "BACKEND": "recloser.django.cache.BreakerCache",
        "LOCATION": "redis://127.0.0.1:6379/1",
        "OPTIONS": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "BREAKER": "cache"},
    },
}
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pickle import PickleError
from typing import Any, Final, TypeVar

from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from recloser.core.errors import CallRejectedError
from recloser.core.log import logger
from recloser.core.outcome import Outcome
from recloser.django.lazy import breaker_of_setting

T = TypeVar("T")

DEFAULT_BREAKER: Final = "cache"

# Mistakes of the caller, and a key that `incr` does not find: the cache answered, or was never asked.
_OF_THE_CALLER: Final = (TypeError, ValueError, AttributeError, PickleError, NotImplementedError)


class BreakerCache(BaseCache):
    """Asks another backend; while that is down, or its circuit open, every read is a miss and no write is kept.

    `incr` and `decr` raise `ValueError` then, as for any key that is not there; `add` says that nothing was added.

    Args:
        location: The other backend's `LOCATION`.
        params: Its other settings. `OPTIONS["BACKEND"]` is its dotted path, `OPTIONS["BREAKER"]` the name of the
            breaker (`"cache"`).

    Raises:
        ImproperlyConfigured: `OPTIONS` names no backend.
    """

    def __init__(self, location: str, params: dict[str, Any]) -> None:
        super().__init__(params)
        options = dict(params.get("OPTIONS") or {})
        path = options.pop("BACKEND", None)
        if not isinstance(path, str):
            raise ImproperlyConfigured(
                'BreakerCache needs the backend that it asks: OPTIONS["BACKEND"] must be its dotted path, such as '
                f"'django.core.cache.backends.redis.RedisCache', got {path!r}"
            )
        self._breaker = breaker_of_setting(options.pop("BREAKER", DEFAULT_BREAKER))
        self._inner: BaseCache = import_string(path)(location, {**params, "OPTIONS": options})

    def __getattr__(self, name: str) -> Any:
        # What only this backend can do is done without a breaker.
        return getattr(self.__dict__["_inner"], name)

    def get(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        """Read a value; `default` if it is not there or the cache is out."""
        return self._ask(lambda: self._inner.get(key, default, version), lambda: default)

    def set(
        self, key: Any, value: Any, timeout: float | None = DEFAULT_TIMEOUT, version: int | None = None
    ) -> None:
        """Write a value, if the cache is there."""
        self._ask(lambda: self._inner.set(key, value, timeout, version), _nothing)

    def add(
        self, key: Any, value: Any, timeout: float | None = DEFAULT_TIMEOUT, version: int | None = None
    ) -> bool:
        """Write a value that is not there yet; tell whether that was done."""
        return self._ask(lambda: self._inner.add(key, value, timeout, version), _false)

    def touch(self, key: Any, timeout: float | None = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        """Renew a value's time; tell whether it was there."""
        return self._ask(lambda: self._inner.touch(key, timeout, version), _false)

    def delete(self, key: Any, version: int | None = None) -> bool:
        """Drop a value; tell whether it was there."""
        return self._ask(lambda: self._inner.delete(key, version), _false)

    def has_key(self, key: Any, version: int | None = None) -> bool:
        """Tell whether a value is there."""
        return self._ask(lambda: self._inner.has_key(key, version), _false)

    def get_many(self, keys: Any, version: int | None = None) -> dict[Any, Any]:
        """Read the values that are there."""
        keys = list(keys)
        return self._ask(lambda: self._inner.get_many(keys, version), _empty)

    def set_many(
        self, data: dict[Any, Any], timeout: float | None = DEFAULT_TIMEOUT, version: int | None = None
    ) -> list[Any]:
        """Write values; return the keys of those that were not written."""
        return self._ask(lambda: self._inner.set_many(data, timeout, version), lambda: list(data))

    def delete_many(self, keys: Any, version: int | None = None) -> None:
        """Drop values."""
        keys = list(keys)
        self._ask(lambda: self._inner.delete_many(keys, version), _nothing)

    def clear(self) -> None:
        """Drop everything."""
        self._ask(self._inner.clear, _nothing)

    def incr(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        """Add to a number that is there.

        Raises:
            ValueError: It is not there, or the cache is out.
        """

        def missing() -> int:
            raise ValueError(f"Key {key!r} not found: the cache is out")

        return self._ask(lambda: self._inner.incr(key, delta, version), missing)

    async def aget(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        """Like `get`."""
        return await self._await(lambda: self._inner.aget(key, default, version), lambda: default)

    async def aset(
        self,
        key: Any,
        value: Any,
        timeout: float | None = DEFAULT_TIMEOUT,  # noqa: ASYNC109 - the entry's, not the call's
        version: int | None = None,
    ) -> None:
        """Like `set`."""
        await self._await(lambda: self._inner.aset(key, value, timeout, version), _nothing)

    async def aadd(
        self,
        key: Any,
        value: Any,
        timeout: float | None = DEFAULT_TIMEOUT,  # noqa: ASYNC109 - the entry's, not the call's
        version: int | None = None,
    ) -> bool:
        """Like `add`."""
        return await self._await(lambda: self._inner.aadd(key, value, timeout, version), _false)

    async def adelete(self, key: Any, version: int | None = None) -> bool:
        """Like `delete`."""
        return await self._await(lambda: self._inner.adelete(key, version), _false)

    async def aget_many(self, keys: Any, version: int | None = None) -> dict[Any, Any]:
        """Like `get_many`."""
        keys = list(keys)
        return await self._await(lambda: self._inner.aget_many(keys, version), _empty)

    def close(self, **kwargs: Any) -> None:
        """Let the other backend close its connections."""
        self._inner.close(**kwargs)

    def _ask(self, call: Callable[[], T], miss: Callable[[], T]) -> T:
        try:
            permit = self._breaker.acquire()
        except CallRejectedError:
            return miss()
        try:
            result = call()
        except BaseException as error:
            if self._is_the_callers(error) or permit.finish(error) is not Outcome.FAILURE:
                permit.ignore()
                raise
            self._log(error)
            return miss()
        permit.success()
        return result

    async def _await(self, call: Callable[[], Awaitable[T]], miss: Callable[[], T]) -> T:
        try:
            permit = self._breaker.acquire()
        except CallRejectedError:
            return miss()
        try:
            result = await call()
        except BaseException as error:
            if self._is_the_callers(error) or permit.finish(error) is not Outcome.FAILURE:
                permit.ignore()
                raise
            self._log(error)
            return miss()
        permit.success()
        return result

    def _is_the_callers(self, error: BaseException) -> bool:
        # `UnicodeError` and its like are values; what a client library calls a failed connection may be one too.
        return isinstance(error, _OF_THE_CALLER) and not isinstance(error, OSError)

    def _log(self, error: BaseException) -> None:
        logger().warning(
            "breaker %r: the cache failed, which counts as a miss: %s: %s",
            self._breaker.name,
            type(error).__name__,
            error,
        )


def _empty() -> dict[Any, Any]:
    return {}


def _nothing() -> None:
    return None


def _false() -> bool:
    return False
