"""The admin endpoint as a plain ASGI application: mount it where operators look."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextlib import aclosing, suppress
from typing import Any, Final, cast

from recloser.http.wire import ASGIScope, Receive, Send, text
from recloser.registry import Registry
from recloser.status.access import PUBLIC, Access, Authorize, actor_of, ask
from recloser.status.endpoint import Endpoint, intent_of, read_query
from recloser.status.feed import LIFE, Feeds
from recloser.status.messages import MAX_BODY, NEVER_KEPT, SAFE_HEADERS, Answered, Asked, RefusedError

GRACE: Final = 2.0  # seconds beyond its life that a stream may take to be sent


class StatusApp:
    """Shows the breakers of a registry, and lets operators act on them.

    Args:
        registry: The breakers.
        authorize: Given the request (Starlette's where that is installed, else the ASGI scope) and `"read"` or
            `"control"`, returns the actor's name to permit or `None` to deny; may be async. Whatever it raises
            denies. Without it there are no actions.
        public: Without `authorize`, anybody may look.
        trusted_origins: Origins besides our own that may send actions, such as `https://ops.example`.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        authorize: Authorize | None = None,
        public: bool = False,
        trusted_origins: Collection[str] = (),
    ) -> None:
        self.endpoint = Endpoint(
            registry, authorize=authorize, public=public, trusted_origins=trusted_origins
        )
        self._authorize = authorize
        self._life = LIFE
        self._feeds = Feeds(self.endpoint.sampler, self._life)

    async def __call__(self, scope: ASGIScope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1003})
        else:
            await self.respond(scope, receive, send)

    async def respond(
        self, scope: ASGIScope, receive: Receive, send: Send, *, actor: object = ..., below: str | None = None
    ) -> None:
        """Answer one HTTP request.

        Args:
            scope: ASGI's.
            receive: ASGI's.
            send: ASGI's.
            actor: What `authorize` said, where the framework has asked it already.
            below: The endpoint's own path, where that is not `root_path`.
        """
        asked = _asked(scope, below)
        access = await self._access(asked, actor)
        if asked.method == "POST":
            refused = self.endpoint.refusal("control", access)
            body = None if refused is not None else await _body(receive)
            if refused is None and body is None:
                refused = RefusedError(413, "Too large", f"A request has at most {MAX_BODY} bytes.")
            if refused is not None:
                await _send(send, asked, self.endpoint.refused(asked, access, refused))
                return
            asked = Asked(
                method=asked.method,
                path=asked.path,
                base=asked.base,
                query=asked.query,
                headers=asked.headers,
                body=body or b"",
                native=asked.native,
            )
        if asked.path.rstrip("/") == "/events" and asked.method == "GET":
            refused = self.endpoint.refusal("read", access)
            if refused is None:
                await self._events(asked, access, receive, send)
                return
        # Whatever waits for the store does so beside the event loop.
        await _send(send, asked, await asyncio.to_thread(self.endpoint.answer, asked, access))

    async def _access(self, asked: Asked, actor: object) -> Access:
        if self.endpoint.authorize is None:
            return PUBLIC if self.endpoint.public or _is_debug(asked.native) else Access(False)
        if actor is not ...:
            name = actor_of(actor)
            return Access(bool(name), name, name, True)
        authorize = self._authorize
        assert authorize is not None  # noqa: S101 - else the framework has asked
        request = _request(asked.native)
        control = await ask(authorize, request, "control")
        if intent_of(asked) == "control":
            return Access(False, control, control, True)
        reader = await ask(authorize, request, "read")
        # Who may not look gets no tokens either.
        return Access(bool(reader), control if reader else "", reader, True)

    async def _events(self, asked: Asked, access: Access, receive: Receive, send: Send) -> None:
        feed = self._feeds.here()
        try:
            query, parameters = read_query(asked), asked.parameters()
            feed.admit()
        except RefusedError as refused:
            await _send(send, asked, self.endpoint.refused(asked, access, refused))
            return
        headers = [
            (b"content-type", b"text/event-stream; charset=utf-8"),
            (b"x-accel-buffering", b"no"),
            *_encoded([*NEVER_KEPT, *SAFE_HEADERS]),
        ]
        last_id = asked.headers.get("last-event-id", "")[:64]
        stream = feed.stream(query, last_id, asked.base, "rows" in parameters, bool(access.actor))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        telling = asyncio.ensure_future(_tell(cast("Any", stream), send))
        leaving = asyncio.ensure_future(_left(receive))
        try:
            # A server that ends waits for its streams, also for those that nobody reads.
            await asyncio.wait(
                {telling, leaving}, timeout=self._life + GRACE, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            for task in (telling, leaving):
                task.cancel()
            told, _ = await asyncio.gather(telling, leaving, return_exceptions=True)
        if isinstance(told, Exception):  # for the server to log
            raise told


async def _tell(stream: Any, send: Send) -> None:
    async with aclosing(stream) as events:
        async for event in events:
            await send({"type": "http.response.body", "body": event, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _body(receive: Receive) -> bytes | None:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        if len(body) > MAX_BODY:
            return None
        if not message.get("more_body"):
            return bytes(body)


async def _send(send: Send, asked: Asked, answer: Answered) -> None:
    headers = _encoded(answer.all_headers())
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    body = b"" if asked.method == "HEAD" else answer.body
    await send({"type": "http.response.body", "body": body})


def _encoded(headers: list[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]


async def _lifespan(receive: Receive, send: Send) -> None:
    while (await receive())["type"] == "lifespan.startup":
        await send({"type": "lifespan.startup.complete"})
    await send({"type": "lifespan.shutdown.complete"})


def _asked(scope: ASGIScope, below: str | None) -> Asked:
    base: str = scope.get("root_path", "") if below is None else below
    path: str = scope["path"]
    headers: dict[str, str] = {}
    for name, value in text(scope["headers"]):
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return Asked(
        method=scope["method"].upper(),
        path=path.removeprefix(base) if base and path.startswith(base) else path,
        base=base.rstrip("/"),
        query=scope.get("query_string", b"").decode("latin-1"),
        headers=headers,
        native=scope,
    )


def _request(native: object) -> object:
    with suppress(ImportError):
        from starlette.requests import Request  # noqa: PLC0415 - a plain ASGI server may do without it

        return Request(cast("ASGIScope", native))
    return native


def _is_debug(native: object) -> bool:
    app = cast("ASGIScope", native).get("app")
    return getattr(app, "debug", False) is True
