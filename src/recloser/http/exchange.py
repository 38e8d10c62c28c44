"""One request over ASGI: what it met, how it is answered if a circuit refuses it, and how its answer ended."""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import replace
from typing import Any, Final, TypeAlias, cast
from urllib.parse import parse_qsl

from recloser.core.errors import CallRejectedError
from recloser.core.scope import current
from recloser.http.fault import leaves
from recloser.http.guarded import guards_of
from recloser.http.holder import Holder, Met
from recloser.http.messages import SAFE_METHODS, Headers, Request, Response, joined
from recloser.http.responder import Responder, RouteFacts
from recloser.http.tee import Tee, tee

ASGIScope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[ASGIScope, Receive, Send], Awaitable[None]]
FactsOf: TypeAlias = Callable[[ASGIScope], RouteFacts]

_TRY_AGAIN_LATER: Final = 1013  # of the WebSocket close codes that RFC 6455 §7.4.2 leaves to its registry


def exchange_of(responder: Responder) -> Exchange | None:
    """Return the present request, if it is one of this application's."""
    exchange = current.get()
    return exchange if isinstance(exchange, Exchange) and exchange.responder is responder else None


def find_refusal(error: BaseException) -> CallRejectedError | None:
    """Return the refusal that an exception is, or is a group of and nothing else: the longest one to wait for."""
    refusals = list(leaves(error))
    if all(isinstance(leaf, CallRejectedError) for leaf in refusals):
        return max(cast("list[CallRejectedError]", refusals), key=lambda refusal: refusal.retry_after)
    return None


class Exchange(Holder):
    """One HTTP request and its answer, as it passes the middleware.

    Args:
        responder: Of the application.
        facts: Tells what is known of the route.
        scope: The ASGI scope.
        send: The server's side.
        native: Makes the framework's own request of the scope.
    """

    __slots__ = ("_facts", "_head", "_is_gone", "_native", "_scope", "_send", "_tee")

    def __init__(
        self,
        responder: Responder,
        facts: FactsOf,
        scope: ASGIScope,
        send: Send,
        native: Callable[[ASGIScope], object] = dict,
    ) -> None:
        super().__init__(responder)
        self._native = native
        self._facts = facts
        self._scope = scope
        self._send = send
        self._head: Message | None = None
        self._tee: Tee | None = None
        self._is_gone = False

    @property
    def scope(self) -> ASGIScope:
        """The ASGI scope, as far as the router has filled it."""
        return self._scope

    @property
    def started(self) -> bool:
        """Whether the response has started: nothing can replace it any more."""
        return self._head is not None

    def send(self, message: Message) -> Awaitable[None]:
        """Pass a message on. No coroutine of its own where it can be helped: this is every request's path."""
        if message["type"] == "http.response.start":
            self._head = message
            if self._scope["method"] not in SAFE_METHODS:
                self._changed(message["status"])
            if self.met is None:
                return self._send(message)
            self._begin(message)
        elif self.met is None:
            return self._send(message)
        else:
            self._continue(message)
        return self._to_client(message) if self.holds else self._send(message)

    async def _to_client(self, message: Message) -> None:
        try:
            await self._send(message)
        except OSError:
            self._is_gone = True
            raise

    def _begin(self, head: Message) -> None:
        for hold in self.holds:
            hold.answered()
        if self.keeps and not self.replaced and not self.troubled and not head.get("trailers", False):
            response = Response(head["status"], _text(head.get("headers", ())))
            self._tee = tee(self.responder.cache, self.request(), response)

    def _continue(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.body":
            if self._tee is not None:
                self._tee.take(message.get("body", b""))
            if not message.get("more_body", False):
                self._end(before_trailers=True)
        elif kind == "http.response.trailers":
            if not message.get("more_trailers", False):
                self._end()
        elif kind in {"http.response.pathsend", "http.response.zerocopysend"}:
            self._tee = None  # the server reads the file, and nobody here sees it
            if not message.get("more_body", False):
                self._end(before_trailers=True)

    def _end(self, *, before_trailers: bool = False) -> None:
        if self._tee is not None:
            # Asked again: what happened since the start counts too.
            if not self.troubled and not self._is_personal():
                self._tee.keep()
            self._tee = None
        head = self._head
        if head is None or not self.holds or (before_trailers and head.get("trailers", False)):
            return
        status: int = head["status"]
        retry_after = None if status < 400 else joined(_text(head.get("headers", ())), "retry-after")
        self.ended(status, retry_after)

    def _changed(self, status: int) -> None:
        if status < 400 and self.responder.cache.holds(self._scope["path"]):
            self.responder.cache.forget(self.request())  # RFC 9111 §4.4

    def interrupted(self, error: BaseException) -> CallRejectedError | None:
        """Settle what is held after an exception, and return the refusal that can still be answered."""
        if self.met is not None:
            self.broke(None if self._is_gone else error)
            self._note_origin(error)
        return None if self.started else find_refusal(error)

    async def answer(self, refusal: CallRejectedError) -> Answer | Close:
        """Answer as the plan says; the response must not have started.

        Returns:
            An ASGI application that sends the answer.
        """
        if self.met is not None:
            self.replaced = True
            self._note_origin(refusal)
        plan = self.plan_for(refusal, self._route_plans())
        self._scope.setdefault("state", {})["degraded"] = refusal.breaker
        request = replace(self.request(), native=self._native(self._scope))
        return Answer(await self.responder.answer(request, refusal, plan))

    def _note_origin(self, error: BaseException) -> None:
        # What comes out of the endpoint itself comes after all that the route checks.
        runner = self._facts(self._scope).runner
        if runner is not None and any(
            frame.f_code is runner for frame, _ in traceback.walk_tb(error.__traceback__)
        ):
            self.guarded = True

    def _route_plans(self) -> list[Met]:
        guards = (*self._facts(self._scope).guards, *guards_of(self._scope.get("endpoint")))
        return [guard.met(self.responder) for guard in guards]

    def request(self) -> Request:
        """Describe the request."""
        scope = self._scope
        headers = _text(scope["headers"])
        hosts = [value for name, value in headers if name == "host"]
        path: str = scope["path"]
        raw_path: bytes = scope.get("raw_path") or path.encode()
        return Request(
            method=scope.get("method", "GET"),
            scheme=scope.get("scheme", "http"),
            host=hosts[0] if len(hosts) == 1 else "",
            path=path,
            raw_path=raw_path.decode("latin-1"),
            query=scope.get("query_string", b"").decode("latin-1"),
            headers=headers,
            selecting=self._facts(scope).selecting,
            personal=self._is_personal(),
        )

    def _is_personal(self) -> bool:
        scope = self._scope
        session: object = scope.get("session")
        user: object = scope.get("user")
        facts = self._facts(scope)
        return (
            facts.personal
            or bool(session)
            or bool(getattr(session, "accessed", False))
            or (user is not None and bool(getattr(user, "is_authenticated", True)))
            or any(name.decode("latin-1").lower() in facts.credentials for name, _ in scope["headers"])
            or _has_parameter(scope, facts.query_credentials)
        )


class WebSocketExchange(Exchange):
    """One WebSocket: its guards are done with once it is accepted, or refused before."""

    __slots__ = ()

    def send(self, message: Message) -> Awaitable[None]:
        """Pass a message on."""
        kind = message["type"]
        if self._head is None:
            self._head = message
            if self.met is not None and kind != "websocket.close":
                self.ended(message.get("status", 200))
        return self._send(message)

    async def answer(self, refusal: CallRejectedError) -> Answer | Close:
        """Refuse the handshake: with a 503 where the server can send one, else by closing."""
        if "websocket.http.response" not in self._scope.get("extensions", {}):
            return Close()
        response = await self.responder.answer(self.request(), refusal, self.responder.default)
        return Answer(response, prefix="websocket.")


class Answer:
    """Sends a whole response."""

    def __init__(self, response: Response, prefix: str = "") -> None:
        self._response = response
        self._prefix = prefix

    async def __call__(self, _scope: ASGIScope, _receive: Receive, send: Send) -> None:
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
        """Close it."""
        await send({"type": "websocket.close", "code": _TRY_AGAIN_LATER, "reason": "service unavailable"})


def _text(headers: Any) -> Headers:
    return tuple((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in headers)


def _has_parameter(scope: ASGIScope, names: frozenset[str]) -> bool:
    if not names:
        return False
    query: str = scope.get("query_string", b"").decode("latin-1")
    return any(name in names for name, _ in parse_qsl(query, keep_blank_values=True))
