"""A copy of a request's body, taken while the application receives it: only where a plan asks for it, and bounded."""

from __future__ import annotations

from collections.abc import Callable

from recloser.http.wire import Message, Receive


class Body:
    """Remembers what the application receives.

    Args:
        receive: The server's side.
        longest: Tells how much may be kept (bytes), when the first part arrives: by then the route is known.
    """

    __slots__ = ("_chunks", "_ended", "_length", "_longest", "_receive", "_room")

    def __init__(self, receive: Receive, longest: Callable[[], int]) -> None:
        self._receive = receive
        self._longest = longest
        self._room: int | None = None
        self._chunks: list[bytes] | None = []
        self._length = 0
        self._ended = False

    async def receive(self) -> Message:
        """Receive for the application."""
        message = await self._receive()
        self._take(message)
        return message

    async def whole(self) -> bytes | None:
        """Return the body, with what the application has not received; `None` if it was too long or broken off."""
        while self._chunks is not None and not self._ended:
            self._take(await self._receive())
        return None if self._chunks is None else b"".join(self._chunks)

    def _take(self, message: Message) -> None:
        if message["type"] != "http.request":
            if not self._ended:
                self._chunks = None
            return
        if self._room is None:
            self._room = self._longest()
        chunk: bytes = message.get("body", b"")
        self._length += len(chunk)
        self._ended = not message.get("more_body", False)
        if self._length > self._room:
            self._chunks = None
        elif self._chunks is not None:
            self._chunks.append(bytes(chunk))
