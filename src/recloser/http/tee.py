"""A copy of a response, taken while it passes: bounded, and only of what may be kept."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from recloser.http.keeping import Keeping
from recloser.http.kept import Cache
from recloser.http.messages import Request, Response
from recloser.http.storable import obstacle, outdates


class Tee:
    """Collects a body for the cache, up to the length that may be kept.

    Args:
        cache: Where the response goes in the end.
        wanted: What was asked, in each partition that keeps the response, and for how long past its freshness a
            plan may serve it there (seconds).
        head: The response so far: status and headers.
    """

    __slots__ = ("_cache", "_chunks", "_head", "_length", "_wanted")

    def __init__(self, cache: Cache, wanted: list[tuple[Request, float]], head: Response) -> None:
        self._cache = cache
        self._wanted = wanted
        self._head = head
        self._chunks: list[bytes] | None = []
        self._length = 0

    def take(self, chunk: bytes) -> None:
        """Copy a part of the body; a body that grows too long is let go of."""
        if self._chunks is not None:
            self._length += len(chunk)
            self._chunks.append(bytes(chunk))
            if self._length > self._cache.max_body:
                self._chunks = None
                for request, _ in self._wanted:
                    self._cache.drop(request)

    def keep(self, *, personal: bool, once: bool = False) -> None:
        """Keep the response: all of its body has passed.

        Args:
            personal: By now a session or user was involved: only a partition may keep it.
            once: By now a token, nonce or message was, which is for one answer only: nobody may.
        """
        declared = self._head.header("content-length")
        complete = declared is None or declared == str(self._length)  # RFC 9111 §3.3
        if self._chunks is None or not complete or once:
            return
        response = Response(self._head.status, self._head.headers, b"".join(self._chunks))
        for request, max_stale in self._wanted:
            if request.partition or not personal:
                self._cache.keep(request, response, max_stale=max_stale)


def tee(cache: Cache, request: Request, head: Response, keepings: Iterable[Keeping]) -> Tee | None:
    """Begin to copy a response, if it may be kept.

    Args:
        cache: Where the response goes in the end.
        request: What was asked, with the partitions that it belongs to.
        head: The response so far: status and headers.
        keepings: For whom plans want to keep it.

    Returns:
        The copy, or `None`: nothing of the body is looked at. A 304 renews what is kept at once.
    """
    is_renewal = head.status == 304
    judged = replace(head, status=200) if is_renewal else head
    wanted: dict[str, tuple[Request, float]] = {}
    for keeping in keepings:
        own = meant(request, keeping)
        if own is None:
            continue
        if obstacle(own, judged, keeping) is None:
            _, longest = wanted.get(own.partition, (own, 0.0))
            wanted[own.partition] = own, max(longest, keeping.seconds)
        elif outdates(own, judged, keeping):
            cache.drop(own)
    if is_renewal:
        for own, longest in wanted.values():
            cache.refresh(own, head, max_stale=longest)
        return None
    declared = head.header("content-length")
    if declared is not None and declared.isdigit() and int(declared[:12]) > cache.max_body:
        for own, _ in wanted.values():
            cache.drop(own)
        return None
    return Tee(cache, list(wanted.values()), head) if wanted else None


def meant(request: Request, keeping: Keeping) -> Request | None:
    """Return the request as it is in the partition of a plan; `None` if nobody knows which that is."""
    if keeping.per is None:
        return request
    name = request.partitions.get(keeping.per)
    return replace(request, partition=name) if name else None
