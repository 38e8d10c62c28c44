"""A copy of a response, taken while it passes: bounded, and only of what may be kept."""

from __future__ import annotations

from recloser.http.cache import ResponseCache
from recloser.http.messages import Request, Response
from recloser.http.storable import obstacle, outdates


class Tee:
    """Collects a body for the cache, up to the length that may be kept.

    Args:
        cache: Where the response goes in the end.
        request: What was asked.
        head: The response so far: status and headers.
    """

    __slots__ = ("_cache", "_chunks", "_head", "_length", "_request")

    def __init__(self, cache: ResponseCache, request: Request, head: Response) -> None:
        self._cache = cache
        self._request = request
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
                self._cache.forget(self._request)

    def keep(self) -> None:
        """Keep the response: all of its body has passed."""
        declared = self._head.header("content-length")
        complete = declared is None or declared == str(self._length)  # RFC 9111 §3.3
        if self._chunks is not None and complete:
            body = b"".join(self._chunks)
            self._cache.keep(self._request, Response(self._head.status, self._head.headers, body))


def tee(cache: ResponseCache, request: Request, head: Response) -> Tee | None:
    """Begin to copy a response, if it may be kept.

    Args:
        cache: Where the response goes in the end.
        request: What was asked.
        head: The response so far: status and headers.

    Returns:
        The copy, or `None`: nothing of the body is looked at.
    """
    if obstacle(request, head) is not None:
        if outdates(request, head):
            cache.forget(request)
        return None
    declared = head.header("content-length")
    if declared is not None and declared.isdigit() and int(declared[:12]) > cache.max_body:
        cache.forget(request)
        return None
    return Tee(cache, request, head)
