"""One WebSocket: its guards are done with once it is accepted, or refused before."""

from __future__ import annotations

from collections.abc import Awaitable

from recloser.http.exchange import Exchange
from recloser.http.failure import CallFailedError, Trouble, log_hidden
from recloser.http.plans import Unavailable
from recloser.http.wire import Answer, Close, Message


class WebSocketExchange(Exchange):
    """One WebSocket, as its handshake passes the middleware."""

    __slots__ = ()

    def send(self, message: Message) -> Awaitable[None]:
        """Pass a message on."""
        kind = message["type"]
        if self._head is None:
            self._head = message
            if self.met is not None and kind != "websocket.close":
                self.ended(message.get("status", 200))
        return self._send(message)

    async def answer(self, trouble: Trouble) -> Answer | Close:
        """Refuse the handshake: with a 503 where the server can send one, else by closing."""
        request = self.request()
        if isinstance(trouble, CallFailedError):
            log_hidden(request, trouble)
        if "websocket.http.response" in self._scope.get("extensions", {}):
            response = await self.responder.answer(request, trouble, self.responder.default)
            return Answer(response, prefix="websocket.")
        self.responder.registry.degraded.note(trouble.breaker, Unavailable.name)
        return Close()
