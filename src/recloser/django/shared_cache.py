"""The last good responses in one of Django's `CACHES`, shared by all workers that share that cache.

Reading has a breaker and a time-out of its own, writing happens off the response's path: a cache that is down or
slow costs a request nothing, it only has no stale answers.
"""

from __future__ import annotations

import hashlib
import time
from typing import Final, cast

from django.core.cache import caches

from recloser.core.breaker import CircuitBreaker
from recloser.core.errors import CallRejectedError
from recloser.core.log import logger
from recloser.django.background import Background
from recloser.http import fields, freshness
from recloser.http.cache import DEFAULT_MAX_BODY, MAX_VARIANTS, Kept, ResponseCache
from recloser.http.messages import Request, Response
from recloser.http.storable import kept_headers

READ_TIMEOUT: Final = 0.05  # seconds
KEPT_FOR: Final = 7 * 86400  # seconds
_VERSION: Final = 1  # of what is written


class SharedResponses(ResponseCache):
    """Keeps the last good responses in `CACHES[alias]`.

    Args:
        alias: Of the cache.
    """

    def __init__(self, alias: str) -> None:
        # Workers share no monotonic clock: ages are differences of the time of day.
        super().__init__(DEFAULT_MAX_BODY, clock=time.time)
        self.alias = alias
        self._reads = CircuitBreaker("recloser-response-cache", failure_threshold=3, recovery_timeout=5)
        self._readers = Background("recloser-cache-read", 4)
        self._writers = Background("recloser-cache-write", 1)

    def keep(self, request: Request, response: Response) -> None:
        """Keep a response that is storable, soon, instead of the one kept for such a request before."""
        wall = time.time()
        varying = sorted(fields.members(response.header("vary")) | request.selecting)
        kept = Kept(
            response=Response(response.status, kept_headers(response.headers), response.body),
            selection=tuple((name, request.header(name)) for name in varying),
            lifetime=freshness.lifetime(response, wall),
            stale_limit=freshness.stale_limit(response),
            born=wall - freshness.initial_age(response, wall),
            size=len(response.body),
        )

        def write() -> None:
            others = [other for other in self._load(request) if not _selects(other, request)]
            variants = [_plain(variant) for variant in (kept, *others)[:MAX_VARIANTS]]
            caches[self.alias].set(_key(request), variants, KEPT_FOR)

        self._writers.run(write)

    def find(self, request: Request) -> Kept | None:
        """Find the response that a GET or HEAD request selects; nothing if the cache does not answer in time."""
        try:
            permit = self._reads.acquire()
        except CallRejectedError:
            return None
        try:
            variants = self._readers.result(lambda: self._load(request), READ_TIMEOUT)
        except Exception as error:
            permit.failure(error)
            logger().warning(
                "CACHES[%r] gave no stale answer: %s %s", self.alias, type(error).__name__, error
            )
            return None
        permit.success()
        return next((kept for kept in variants if _selects(kept, request)), None)

    def forget(self, request: Request) -> None:
        """Drop every response kept for the request's target, soon (RFC 9111 §4.4)."""
        self._writers.run(lambda: cast("object", caches[self.alias].delete(_key(request))))

    def holds(self, path: str) -> bool:  # noqa: ARG002 - other workers may have kept anything
        """Tell whether anything may be kept for a path."""
        return True

    def flush(self) -> None:
        """Wait until everything is written."""
        self._writers.result(_nothing, 10.0)

    def _load(self, request: Request) -> list[Kept]:
        found: object = caches[self.alias].get(_key(request))
        return [_kept(variant) for variant in cast("list[object]", found)] if isinstance(found, list) else []


def _nothing() -> None:
    pass


def _key(request: Request) -> str:
    target = (request.scheme, request.host.lower(), request.path, request.raw_path, request.query)
    return f"recloser-{_VERSION}-{hashlib.sha256(repr(target).encode()).hexdigest()}"


def _selects(kept: Kept, request: Request) -> bool:
    return all(request.header(name) == value for name, value in kept.selection)


def _plain(kept: Kept) -> tuple[object, ...]:
    # Plain values: a cache may serialise with JSON's relatives, and another version of this package may read them.
    response = kept.response
    return (response.status, response.headers, response.body, *kept[1:])


def _kept(plain: object) -> Kept:
    status, headers, body, selection, lifetime, stale_limit, born, size = cast(
        "tuple[int, tuple[tuple[str, str], ...], bytes, tuple[tuple[str, str | None], ...], int, float, float, int]",
        plain,
    )
    return Kept(Response(status, headers, body), selection, lifetime, stale_limit, born, size)
