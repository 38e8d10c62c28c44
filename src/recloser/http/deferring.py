"""Answers that put a request off: `plans.defer`."""

from __future__ import annotations

import json
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from functools import partial
from http import HTTPStatus
from typing import ClassVar, Final, Self, cast
from urllib.parse import parse_qsl, urlencode

from recloser.http.failure import CallFailedError, Trouble
from recloser.http.keeping import Per
from recloser.http.messages import SAFE_METHODS, Headers, Request, Response
from recloser.http.owner import owner_of
from recloser.http.stored import Deferrable, Deferred, DeferredRequest
from recloser.http.strategy import Means, Strategy, in_place, waited

LONGEST_BODY: Final = 64 * 1024
LONGEST_KEY: Final = 255


@dataclass(frozen=True, slots=True)
class Defer(Strategy):
    """See `plans.defer`."""

    name: ClassVar[str] = "defer"

    task: Deferrable
    headers: tuple[str, ...] = ()
    max_body: int = LONGEST_BODY
    per: Per | None = None
    in_thread: Callable[[Callable[[], object]], object] = field(default=in_place, compare=False, repr=False)

    @property
    def asks(self) -> Per | None:
        """Whose job it is."""
        return self.per

    @property
    def waits(self) -> bool:
        """The disk is waited for in a thread, where there is an event loop."""
        return False

    @property
    def reads_body(self) -> int:
        """It keeps bodies up to this length (bytes)."""
        return self.max_body

    def prepared(self, means: Means) -> Self:
        """Wait for the disk by the application's means."""
        return replace(self, in_thread=means.in_thread)

    def objection(self, methods: AbstractSet[str]) -> str:
        """Object to routes that only ask."""
        return "" if methods - SAFE_METHODS else "can never answer: only unsafe methods can be put off"

    async def answer(self, request: Request, error: Trouble) -> Response | None:
        """Answer 202 once the request is a durable job."""
        body = request.body
        if body is None or len(body) > self.max_body or request.method in SAFE_METHODS:
            return None
        key = request.header("idempotency-key")
        if key is not None and not _is_key(key):
            return _problem(400, f"Idempotency-Key must have 1 to {LONGEST_KEY} printable ASCII characters.")
        if key is None and isinstance(error, CallFailedError):
            return None  # what failed may have been done, and only a key can tell the dependency that it is the same
        kept = DeferredRequest(
            method=request.method,
            path=request.path,
            query=_without(request.query, request.secrets.parameters),
            headers=tuple(header for header in request.headers if header[0] in self.headers),
            body=body,
        )
        owner = owner_of(request) if self.per is None else request.partitions.get(self.per, "")
        keep = partial(self.task.keep, kept, key, owner)
        deferred = cast("Deferred | None", await waited(self.in_thread(keep)))
        if deferred is None:
            return None
        if deferred.conflicts:
            return _problem(422, "This Idempotency-Key was used for another request.")
        location = f"{request.root}{deferred.location}"
        said = {"id": deferred.id, "state": deferred.state, "location": location}
        return _json(202, said, "application/json", (("location", location),))


def _is_key(text: str) -> bool:
    # Others could not be sent on: a client that tried would fail, and the dependency be blamed.
    return 0 < len(text) <= LONGEST_KEY and text.isascii() and text.isprintable()


def _problem(status: int, detail: str) -> Response:
    title = HTTPStatus(status).phrase
    said = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return _json(status, said, "application/problem+json")


def _json(status: int, said: object, kind: str, more: Headers = ()) -> Response:
    body = json.dumps(said).encode()
    return Response(status, (("content-type", kind), ("content-length", str(len(body))), *more), body)


def _without(query: str, names: AbstractSet[str]) -> str:
    if not names:
        return query
    pairs = parse_qsl(query, keep_blank_values=True, encoding="latin-1")
    return urlencode([pair for pair in pairs if pair[0] not in names], encoding="latin-1")
