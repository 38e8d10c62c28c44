"""The response cache of one process: the last good responses, bounded in bytes."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

from cachetools import LRUCache

from recloser.http import rigging
from recloser.http.kept import DEFAULT_MAX_BODY, MAX_VARIANTS, Kept, freshened, made, selects
from recloser.http.messages import Request, Response

DEFAULT_MAX_BYTES: Final = 64_000_000

Target: TypeAlias = tuple[str, str, str, str, str]


class _Shelf(NamedTuple):
    """The variants of one target that are kept for one partition, `""` being everybody's."""

    target: Target
    partition: str


class _Shelves(LRUCache["_Shelf", "tuple[Kept, ...]"]):
    """Bounded in bytes, and knows which paths and partitions it holds anything of."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(max_bytes, getsizeof=_size)
        self.paths: Counter[str] = Counter()
        self.of_target: dict[Target, set[_Shelf]] = {}

    def __setitem__(self, shelf: _Shelf, variants: tuple[Kept, ...]) -> None:
        is_new = shelf not in self
        super().__setitem__(shelf, variants)
        if is_new:
            self.paths[shelf.target[2]] += 1
            self.of_target.setdefault(shelf.target, set()).add(shelf)

    def __delitem__(self, shelf: _Shelf) -> None:
        super().__delitem__(shelf)
        path = shelf.target[2]
        self.paths[path] -= 1
        if not self.paths[path]:
            del self.paths[path]
        others = self.of_target[shelf.target]
        others.remove(shelf)
        if not others:
            del self.of_target[shelf.target]


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
        self._shelves = _Shelves(max_bytes)
        rigging.born(self)

    def keep(self, request: Request, response: Response, *, max_stale: float = math.inf) -> None:  # noqa: ARG002 - memory is bounded by use
        """Keep a response that is storable, instead of the one kept for such a request before."""
        kept = made(request, response, now=self._clock(), wall=self._wall_clock())
        shelf = _shelf(request)
        with self._lock:
            others = (
                other for other in self._shelves.pop(shelf, ()) if not selects(request, other.selection)
            )
            variants = (kept, *others)[:MAX_VARIANTS]
            while _size(variants) > self.max_bytes:
                variants = variants[:-1]
            if variants:
                self._shelves[shelf] = variants

    def refresh(self, request: Request, head: Response, *, max_stale: float = math.inf) -> None:
        """Renew what is kept for such a request by a 304 (RFC 9111 §4.3.4)."""
        kept = self.find(request)
        renewed = None if kept is None else freshened(kept.response, head)
        if renewed is not None:
            self.keep(request, renewed, max_stale=max_stale)

    def find(self, request: Request) -> Kept | None:
        """Find the most recent response that a GET or HEAD request selects (RFC 9111 §4, §4.1)."""
        shelf = _shelf(request)
        try:
            with self._lock:
                variants = self._shelves[shelf]
        except KeyError:
            return None
        return next((kept for kept in variants if selects(request, kept.selection)), None)

    def age(self, kept: Kept) -> int:
        """Compute a response's current age (RFC 9111 §4.2.3), in whole seconds."""
        return max(0, int(self._clock() - kept.born))

    def drop(self, request: Request) -> None:
        """Drop what is kept for the request's target in its own partition."""
        with self._lock:
            self._shelves.pop(_shelf(request), None)

    def forget(self, request: Request) -> None:
        """Drop what is kept for the request's target in all partitions (RFC 9111 §4.4)."""
        with self._lock:
            for shelf in tuple(self._shelves.of_target.get(_target(request), ())):
                self._shelves.pop(shelf, None)

    def clear(self) -> None:
        """Drop everything."""
        with self._lock:
            self._shelves.clear()

    def holds(self, path: str) -> bool:
        """Tell cheaply whether anything at all is kept for a path."""
        return path in self._shelves.paths

    def __len__(self) -> int:
        return len(self._shelves)

    @property
    def size(self) -> int:
        """The bytes taken, by the same count as `max_bytes`."""
        return int(self._shelves.currsize)


def _shelf(request: Request) -> _Shelf:
    return _Shelf(_target(request), request.partition)


def _target(request: Request) -> Target:
    # The path as routed *and* as written: an application may tell requests apart by either.
    return request.scheme, request.host.lower(), request.path, request.raw_path, request.query


def _size(variants: tuple[Kept, ...]) -> int:
    return sum(kept.size for kept in variants)
