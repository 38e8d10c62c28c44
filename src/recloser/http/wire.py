"""ASGI's side of an answer: its types, its headers as text, and what sends a whole response."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final, TypeAlias

from recloser.http.messages import Headers, Response

ASGIScope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[ASGIScope, Receive, Send], Awaitable[None]]

_TRY_AGAIN_LATER: Final = 1013  # of the WebSocket close codes that RFC 6455 §7.4.2 leaves to its registry


class Answer:
    """Sends a whole response."""

    def __init__(self, response: Response, prefix: str = "") -> None:
        self._response = response
        self._prefix = prefix

    async def __call__(self, _scope: ASGIScope, _receive: Receive, send: Send) -> None:
        """Send it, as an ASGI application."""
        await self.send(send)

    async def send(self, send: Send) -> None:
        """Send it."""
        headers = [
            (name.encode("latin-1"), value.encode("latin-1")) for name, value in self._response.headers
        ]
        kind = f"{self._prefix}http.response"
        await send({"type": f"{kind}.start", "status": self._response.status, "headers": headers})
        await send({"type": f"{kind}.body", "body": self._response.body})


class Close:
    """Closes a WebSocket that was not accepted."""

    async def __call__(self, _scope: ASGIScope, _receive: Receive, send: Send) -> None:
        """Close it, as an ASGI application."""
        await send({"type": "websocket.close", "code": _TRY_AGAIN_LATER, "reason": "service unavailable"})


async def nowhere(_: Message) -> None:
    """Drop what an application goes on to send after its answer was replaced."""


def text(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Read a message's headers: names in lower case."""
    return tuple([(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in headers])
