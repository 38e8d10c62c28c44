"""Who may look and who may act, and that he meant to: `authorize`, and forged requests kept out."""

from __future__ import annotations

import asyncio
import hmac
import json
import secrets
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from inspect import iscoroutinefunction
from typing import Any, Final, Literal, NamedTuple, TypeAlias
from urllib.parse import urlsplit

from recloser.core.log import logger
from recloser.status.redaction import plain

Intent: TypeAlias = Literal["read", "control"]
Authorize: TypeAlias = Callable[[Any, Intent], "str | Awaitable[str | None] | None"]

LONGEST_ACTOR: Final = 150
TOKEN_HOURS: Final = 2  # a token is good in the hour that it was made in, and in the next
_HOUR: Final = 3600
_DEFAULT_PORTS: Final = (":80", ":443")


class Access(NamedTuple):
    """What one request may do.

    Attributes:
        may_read: It may look.
        actor: Who it is, if it may act; else `""`.
        reader: Who it is.
        has_actions: There is an `authorize`, so that actions exist at all.
    """

    may_read: bool
    actor: str = ""
    reader: str = ""
    has_actions: bool = False


NOBODY: Final = Access(False)
PUBLIC: Final = Access(True)


def actor_of(answer: object) -> str:
    """Read what `authorize` returned.

    Returns:
        The actor's name; `""` denies.

    Raises:
        TypeError: It is neither a name nor `None`.
    """
    if answer is None:
        return ""
    if not isinstance(answer, str):
        raise TypeError(
            "authorize(request, action) must return the actor's name as a str to permit, or None to deny, "
            f"not {type(answer).__name__} {answer!r}: the name is written to the audit trail"
        )
    return plain(answer, LONGEST_ACTOR)


async def ask(authorize: Authorize, request: object, intent: Intent) -> str:
    """Ask who a request is; an exception denies. A function that may wait does so beside the event loop.

    Raises:
        TypeError: The answer is neither a name nor `None`.
    """
    try:
        is_async = iscoroutinefunction(authorize)
        answer = (
            authorize(request, intent) if is_async else await asyncio.to_thread(authorize, request, intent)
        )
        if isinstance(answer, Awaitable):
            answer = await answer
    except Exception:
        logger().exception("status: authorize raised, so %s is denied", intent)
        return ""
    return actor_of(answer)


def ask_sync(
    authorize: Authorize,
    request: object,
    intent: Intent,
    run: Callable[[Awaitable[str | None]], str | None],
) -> str:
    """Ask who a request is, where there is no event loop; `run` awaits what an async one answers.

    Raises:
        TypeError: The answer is neither a name nor `None`.
    """
    try:
        answer = authorize(request, intent)
        if isinstance(answer, Awaitable):
            answer = run(answer)
    except Exception:
        logger().exception("status: authorize raised, so %s is denied", intent)
        return ""
    return actor_of(answer)


class Guardian:
    """Makes and checks the tokens of forms, and tells where a request came from.

    Args:
        secret: What tokens are signed with; `None`: drawn anew, so that only this process knows its tokens again.
        trusted_origins: Origins besides our own that may send actions, such as `https://ops.example`.
        wall_clock: Time of day (seconds since the epoch).
    """

    def __init__(
        self,
        secret: str | None,
        trusted_origins: Collection[str] = (),
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._key = secret.encode() if secret else secrets.token_bytes(32)
        self._trusted = frozenset(origin.rstrip("/").lower() for origin in trusted_origins)
        self._wall_clock = wall_clock

    def token(self, actor: str, action: str) -> str:
        """Make a token for one actor's action, good for one to two hours."""
        return self._signed(actor, action, int(self._wall_clock()) // _HOUR)

    def objection(self, headers: Mapping[str, str], actor: str, action: str, token: str) -> str:
        """Say what is wrong with where an action comes from; `""`: nothing."""
        if _is_program(headers):
            return ""
        if not self._is_ours(headers):
            if "origin" in headers or "sec-fetch-site" in headers:
                return "The request comes from another site."
            return "The request tells no Origin: a program sends it with the form's token, or Authorization instead."
        hour = int(self._wall_clock()) // _HOUR
        known = [self._signed(actor, action, hour - ago) for ago in range(TOKEN_HOURS)]
        given = token.encode("utf-8", "replace")
        if sum(hmac.compare_digest(each.encode(), given) for each in known):
            return ""
        return "The form's token is missing or out of date: load the page again."

    def _signed(self, actor: str, action: str, hour: int) -> str:
        message = json.dumps(["recloser", actor, action, hour]).encode()
        return hmac.new(self._key, message, "sha256").hexdigest()

    def _is_ours(self, headers: Mapping[str, str]) -> bool:
        site = headers.get("sec-fetch-site")
        if site == "same-origin":
            return True
        origin = headers.get("origin", "").lower()
        if origin in self._trusted:
            return True
        if site == "cross-site" or not origin:
            return False
        place = urlsplit(origin).netloc if "://" in origin else ""
        return bool(place) and _bare(place) == _bare(headers.get("host", "").lower())


def _is_program(headers: Mapping[str, str]) -> bool:
    # No browser adds credentials of this kind by itself, nor sends one without saying where it comes from.
    return "authorization" in headers and not any(
        name in ("cookie", "origin") or name.startswith("sec-fetch-") for name in headers
    )


def _bare(place: str) -> str:
    # Behind TLS termination the scheme is not ours to know, and so neither is its default port.
    for port in _DEFAULT_PORTS:
        place = place.removesuffix(port)
    return place
