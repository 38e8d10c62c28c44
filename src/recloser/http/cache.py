"""The response cache of one process: the last good responses, bounded in bytes."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

from cachetools import LRUCache

from recloser.http import fields, freshness
from recloser.http.messages import Headers, Request, Response
from recloser.http.storable import kept_headers

MAX_VARIANTS: Final = 8
DEFAULT_MAX_BYTES: Final = 64_000_000
DEFAULT_MAX_BODY: Final = 1_000_000
_OVERHEAD: Final = 1_000  # bytes of objects around one response, about
_PER_FIELD: Final = 150  # bytes of objects around one header

Target: TypeAlias = tuple[str, str, str, str, str]
Selection: TypeAlias = tuple[tuple[str, str | None], ...]


class Kept(NamedTuple):
    """A good response, kept for others.

    Attributes:
        response: Without the headers that belong to its first receiver.
        selection: The request headers that it was selected by (RFC 9111 §4.1), `None` where absent.
        lifetime: How long it is fresh (seconds).
        stale_limit: How long it lets itself be served past that (seconds).
        born: When its age was 0 (seconds of the cache's clock).
        size: About the memory that it takes, in bytes.
    """

    response: Response
    selection: Selection
    lifetime: int
    stale_limit: float
    born: float
    size: int


class _Shelves(LRUCache["Target", "tuple[Kept, ...]"]):
    """Bounded in bytes, and knows which paths it holds anything of."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(max_bytes, getsizeof=_size)
        self.paths: Counter[str] = Counter()

    def __setitem__(self, target: Target, variants: tuple[Kept, ...]) -> None:
        is_new = target not in self
        super().__setitem__(target, variants)
        if is_new:
            self.paths[target[2]] += 1

    def __delitem__(self, target: Target) -> None:
        super().__delitem__(target)
        self.paths[target[2]] -= 1
        if not self.paths[target[2]]:
            del self.paths[target[2]]


class ResponseCache:
    """Keeps the last good responses in this process's memory; the least recently used make room.

    Args:
        max_bytes: Memory to take at most, counted with a margin for the objects around the bodies.
        max_body: Bytes of the longest body to keep.
        clock: Monotonic seconds; ages are measured with it.
        wall_clock: Seconds since the epoch; dates of responses are compared with it.
    """

    def __init__(
        self,
        max_bytes: int = DEFAULT_MAX_BYTES,
        *,
        max_body: int = DEFAULT_MAX_BODY,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.max_bytes = max_bytes
        self.max_body = min(max_body, max_bytes)
        self._clock = clock
        self._wall_clock = wall_clock
        self._lock = threading.Lock()
        self._variants = _Shelves(max_bytes)

    def keep(self, request: Request, response: Response) -> None:
        """Keep a response that is storable, instead of the one kept for such a request before.

        Args:
            request: What was asked.
            response: The whole answer.
        """
        now, wall = self._clock(), self._wall_clock()
        target = _target(request)
        varying = sorted(fields.members(response.header("vary")) | request.selecting)
        selection = tuple((name, request.header(name)) for name in varying)
        headers = kept_headers(response.headers)
        kept = Kept(
            response=Response(response.status, headers, response.body),
            selection=selection,
            lifetime=freshness.lifetime(response, wall),
            stale_limit=freshness.stale_limit(response),
            born=now - freshness.initial_age(response, wall),
            size=len(response.body) + _OVERHEAD + sum(map(len, target)) + _text(headers) + _text(selection),
        )
        with self._lock:
            others = (other for other in self._variants.pop(target, ()) if not _matches(other, request))
            variants = (kept, *others)[:MAX_VARIANTS]
            while _size(variants) > self.max_bytes:
                variants = variants[:-1]
            if variants:
                self._variants[target] = variants

    def find(self, request: Request) -> Kept | None:
        """Find the most recent response that a GET or HEAD request selects (RFC 9111 §4, §4.1)."""
        with self._lock:
            for kept in self._variants.get(_target(request), ()):
                if _matches(kept, request):
                    return kept
        return None

    def age(self, kept: Kept) -> int:
        """Compute a response's current age (RFC 9111 §4.2.3), in whole seconds."""
        return max(0, int(self._clock() - kept.born))

    def forget(self, request: Request) -> None:
        """Drop every response kept for the request's target (RFC 9111 §4.4)."""
        with self._lock:
            self._variants.pop(_target(request), None)

    def holds(self, path: str) -> bool:
        """Tell cheaply whether anything at all is kept for a path."""
        return path in self._variants.paths

    def __len__(self) -> int:
        return len(self._variants)

    @property
    def size(self) -> int:
        """The bytes taken, by the same count as `max_bytes`."""
        return int(self._variants.currsize)


def _target(request: Request) -> Target:
    # The path as routed *and* as written: an application may tell requests apart by either.
    return request.scheme, request.host.lower(), request.path, request.raw_path, request.query


def _matches(kept: Kept, request: Request) -> bool:
    return all(request.header(name) == value for name, value in kept.selection)


def _size(variants: tuple[Kept, ...]) -> int:
    return sum(kept.size for kept in variants)


def _text(pairs: Selection | Headers) -> int:
    return sum(len(name) + len(value or "") + _PER_FIELD for name, value in pairs)
