"""Cache backends that fail."""

from __future__ import annotations

import threading
from typing import ClassVar

from django.core.cache.backends.locmem import LocMemCache


class BadCache(LocMemCache):
    """Slow or broken, as its LOCATION says."""

    asked: ClassVar[int] = 0
    woken: ClassVar[threading.Event] = threading.Event()

    def __init__(self, trouble: str, params: dict[str, object]) -> None:
        super().__init__("bad", params)
        self.trouble = trouble

    def get_many(self, *args: object, **kwargs: object) -> dict[object, object]:
        type(self).asked += 1
        if self.trouble == "slow":
            self.woken.wait(0.3)
            return {}
        raise ConnectionError("refused")


class FailingCache(LocMemCache):
    """Fails while it is told to."""

    down: ClassVar[bool] = False
    asked: ClassVar[int] = 0

    def _up(self) -> None:
        type(self).asked += 1
        if self.down:
            raise ConnectionError("refused")

    def get(self, *args: object, **kwargs: object) -> object:
        self._up()
        return super().get(*args, **kwargs)

    def set(self, *args: object, **kwargs: object) -> None:
        self._up()
        super().set(*args, **kwargs)

    def add(self, *args: object, **kwargs: object) -> bool:
        self._up()
        return super().add(*args, **kwargs)

    def touch(self, *args: object, **kwargs: object) -> bool:
        self._up()
        return super().touch(*args, **kwargs)

    def delete(self, *args: object, **kwargs: object) -> bool:
        self._up()
        return super().delete(*args, **kwargs)

    def has_key(self, *args: object, **kwargs: object) -> bool:
        self._up()
        return super().has_key(*args, **kwargs)

    def incr(self, *args: object, **kwargs: object) -> int:
        self._up()
        return super().incr(*args, **kwargs)

    def clear(self) -> None:
        self._up()
        super().clear()
