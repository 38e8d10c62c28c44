"""The records that plans speak of: a request that a circuit kept from its answer, and the answer instead."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeAlias

Headers: TypeAlias = tuple[tuple[str, str], ...]

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})  # RFC 9110 §9.2.1
# Versions of HTTP in which a header announces content (RFC 9112 §6).
ANNOUNCING: Final = frozenset({"1.0", "1.1"})


class Secrets(NamedTuple):
    """Names under which requests carry credentials, besides `Authorization`.

    Attributes:
        headers: In lower case.
        parameters: Of the query.
        cookies: Those that tell who asks.
    """

    headers: frozenset[str] = frozenset()
    parameters: frozenset[str] = frozenset()
    cookies: frozenset[str] = frozenset()


NO_SECRETS: Final = Secrets()


# Not frozen: that would cost a stale answer as much as all of its headers. Nobody changes them all the same.
@dataclass(slots=True, kw_only=True)
class Request:
    """What is asked, as far as an answer may depend on it.

    Attributes:
        method: Upper case.
        scheme: `http` or `https`.
        host: The Host field, unchecked.
        path: As the application routes it.
        raw_path: As the client wrote it, percent-encoded.
        query: As the client wrote it, without `?`.
        headers: Names in lower case, repeated fields in order.
        selecting: Header names in lower case that the application is known to read: the answer depends on them
            although no `Vary` may say so.
        credential: It carries a credential of the route's security schemes.
        personal: Something else tells who asks: a session, a signed-in user.
        content: It came with content, whether or not a header announced it: HTTP/2 and later need none.
        once: Something of this one answer must not be repeated: a CSRF token, a nonce, a message.
        partition: Whose private responses are meant; `""`: everybody's.
        partitions: The names of partitions, as far as the route's plans need them and they are known.
        native: The framework's own request: Starlette's, Django's, or the ASGI scope. Only where the request is
            answered by a plan.
        body: What was received, where a plan that keeps it answers and it was not too long; else `None`.
        root: Where the application is mounted, before `path`.
        secrets: Where the route's security schemes and sessions look for a credential.
    """

    method: str
    scheme: str
    host: str
    path: str
    raw_path: str
    query: str
    headers: Headers
    selecting: frozenset[str] = frozenset()
    credential: bool = False
    personal: bool = False
    content: bool = False
    once: bool = False
    partition: str = ""
    partitions: Mapping[Callable[..., Any], str] = field(
        default_factory=dict[Callable[..., Any], str], compare=False, repr=False
    )
    native: object = field(default=None, compare=False, repr=False)
    body: bytes | None = field(default=None, compare=False, repr=False)
    root: str = ""
    secrets: Secrets = NO_SECRETS

    def header(self, name: str) -> str | None:
        """Read a field, its repetitions joined by commas (RFC 9110 §5.2); `None` if it is absent."""
        return joined(self.headers, name)


@dataclass(slots=True)
class Response:
    """A whole answer.

    Attributes:
        status: 200..599.
        headers: Names in lower case, repeated fields in order.
        body: May be empty where a HEAD or a 304 is answered.
    """

    status: int
    headers: Headers
    body: bytes = b""

    def header(self, name: str) -> str | None:
        """Read a field, its repetitions joined by commas (RFC 9110 §5.2); `None` if it is absent."""
        return joined(self.headers, name)


def joined(headers: Iterable[tuple[str, str]], name: str) -> str | None:
    """Read a field, its repetitions joined by commas (RFC 9110 §5.2); `None` if it is absent."""
    values = [value.strip() for key, value in headers if key == name]
    return ", ".join(values) if values else None
