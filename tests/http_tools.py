"""What tests of answers share: time that stands still, requests and responses in a word, and ASGI by hand."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from recloser import CircuitOpenError
from recloser.core.errors import Refusal
from recloser.core.events import Rejection
from recloser.core.state import State
from recloser.http.cache import ResponseCache
from recloser.http.messages import Request, Response
from recloser.registry import Registry

TUESDAY = 1_700_000_000.0  # Tue, 14 Nov 2023 22:13:20 GMT


class Clock:
    """Monotonic time and the time of day, which stand still until they are moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def of_day(self) -> float:
        return TUESDAY + self.now - 1000.0

    def advance(self, seconds: float) -> None:
        self.now += seconds


def request(method: str = "GET", path: str = "/page", query: str = "", **headers: str) -> Request:
    """Describe a request; `if_none_match='"a"'` is the header `If-None-Match`."""
    return Request(
        method=method,
        scheme="https",
        host="shop.example",
        path=path,
        raw_path=path,
        query=query,
        headers=named(headers),
    )


def response(body: bytes = b"good", status: int = 200, **headers: str) -> Response:
    return Response(status, named(headers), body)


def named(headers: dict[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple((name.replace("_", "-"), value) for name, value in headers.items())


def refusal(
    breaker: str = "inventory", retry_after: float = 12.0, last_failure: str = ""
) -> CircuitOpenError:
    """A refusal as an open circuit makes it, whose clock stands still."""
    return CircuitOpenError(
        Refusal(
            breaker,
            State.OPEN,
            Rejection.OPEN,
            due=retry_after,
            last_failure=last_failure,
            clock=lambda: 0.0,
        )
    )


def cache(clock: Clock, max_bytes: int = 1_000_000, **knobs: int) -> ResponseCache:
    return ResponseCache(max_bytes, clock=clock, wall_clock=clock.of_day, **knobs)


def shop(clock: Clock | None = None, **breakers: Any) -> Registry:
    """Breakers named `inventory` and `payments` that trip at the first failure, and whatever else is given."""
    settings: dict[str, Any] = {"inventory": {}, "payments": {}, **breakers}
    declaration = {
        "DEFAULTS": {"failure_threshold": 1, "recovery_timeout": 10, "recovery_jitter": 0},
        "BREAKERS": settings,
    }
    if clock is None:
        return Registry.from_mapping(declaration, environ={})
    return Registry.from_mapping(declaration, environ={}, clock=clock, wall_clock=clock.of_day)


def open_circuit(registry: Registry, *names: str) -> None:
    for name in names or ("inventory",):
        registry[name].acquire().failure()


class Exchanged:
    """What one ASGI application said to one request."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.error: BaseException | None = None

    @property
    def status(self) -> int:
        return self.messages[0]["status"]

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.messages[0].get("headers", ())}

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages[1:])


App = Callable[[Any, Any, Any], Awaitable[None]]


async def ask(
    app: App,
    path: str = "/page",
    method: str = "GET",
    headers: Iterable[tuple[str, str]] = (),
    *,
    kind: str = "http",
    scope: dict[str, Any] | None = None,
    content: bytes = b"",
    on_send: Callable[[dict[str, Any]], None] | None = None,
) -> Exchanged:
    """Send one request to an ASGI application by hand; what it raises is kept, not raised."""
    told = Exchanged()
    whole: dict[str, Any] = {
        "type": kind,
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "scheme": "https",
        "path": path.partition("?")[0],
        "raw_path": path.partition("?")[0].encode(),
        "query_string": path.partition("?")[2].encode(),
        "root_path": "",
        "headers": [(b"host", b"shop.example"), *((n.lower().encode(), v.encode()) for n, v in headers)],
        "server": ("shop.example", 443),
        "client": ("client", 1),
        "state": {},
        **(scope or {}),
    }
    if kind == "websocket":
        del whole["method"]

    async def receive() -> dict[str, Any]:
        if kind == "websocket":
            return {"type": "websocket.connect"}
        return {"type": "http.request", "body": content, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        if on_send is not None:
            on_send(message)
        told.messages.append(dict(message))

    try:
        await app(whole, receive, send)
    except BaseException as error:
        told.error = error
    return told
