"""A request that is put off: what is kept of it, and who keeps it."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from recloser.http.messages import Headers, joined


@dataclass(frozen=True, slots=True, kw_only=True)
class DeferredRequest:
    """What is kept of a deferred request.

    Attributes:
        method: Upper case.
        path: As the application routes it.
        query: As the client wrote it, without `?`, less what a security scheme looks for.
        headers: Those that the declaration names, in lower case.
        body: As it was received.
    """

    method: str
    path: str
    query: str
    headers: Headers
    body: bytes

    def json(self) -> Any:
        """Read the body as JSON."""
        return json.loads(self.body)

    def header(self, name: str) -> str | None:
        """Read a field that was kept; `None` if it was absent or not named."""
        return joined(self.headers, name.lower())

    def as_data(self) -> dict[str, object]:
        """Return what JSON can write."""
        return {
            "method": self.method,
            "path": self.path,
            "query": self.query,
            "headers": self.headers,
            "body": base64.b64encode(self.body).decode(),
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> DeferredRequest:
        """Read what `as_data` returned."""
        return cls(
            method=data["method"],
            path=data["path"],
            query=data["query"],
            headers=tuple((str(name), str(value)) for name, value in data["headers"]),
            body=base64.b64decode(data["body"]),
        )


class Deferred(NamedTuple):
    """What became of a deferred request.

    Attributes:
        id: The job's.
        state: The job's: queued, running, done or failed.
        location: Where the job's status is served.
        conflicts: The idempotency key belongs to another request, whose job this is.
    """

    id: str
    state: str
    location: str
    conflicts: bool = False


class Deferrable(Protocol):
    """Keeps requests for later: a task of a queue."""

    def keep(self, request: DeferredRequest, key: str | None, owner: str) -> Deferred | None:
        """Keep a request; it is durable when this returns.

        Args:
            request: What was asked.
            key: The client's idempotency key.
            owner: Whose key it is: a user's name, a digest of the credentials that came with it, or `""`.

        Returns:
            Its job, or the earlier one of the same key; `None` if the queue cannot keep it now.
        """
        ...
