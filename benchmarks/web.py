"""What the web cases share: a request by hand, applications that do next to nothing, and the microsecond of a run."""

from __future__ import annotations

import asyncio
import atexit
from collections.abc import Awaitable, Callable, MutableMapping
from functools import cache
from itertools import repeat
from typing import Any

from benchmarks import targets
from benchmarks.rows import Budget
from benchmarks.timing import Candidate

ASGIApp = Callable[[Any, Any, Any], Awaitable[None]]

# Budgets in microseconds are those of a machine on which a call through an empty wrapper costs 60 ns beyond the bare
# call: sixteen such calls are a microsecond wherever this runs.
MICROSECOND = "1 µs (16 empty wrappers)"
_CALLS_A_MICROSECOND = 16

# Driven by hand: nothing in these requests waits, so that no event loop is measured.
BY_HAND = "try:\n    app(dict(scope), receive, send).send(None)\nexcept StopIteration:\n    pass"
IN_LOOP = "run(many(app))"
_MANY = 10
PIECES = 6

SCOPE = {
    "type": "http",
    "asgi": {"version": "3.0", "spec_version": "2.4"},
    "http_version": "1.1",
    "method": "GET",
    "scheme": "https",
    "path": "/page",
    "raw_path": b"/page",
    "query_string": b"",
    "root_path": "",
    "headers": [
        (b"host", b"shop.example"),
        (b"user-agent", b"curl/8.0"),
        (b"accept", b"*/*"),
        (b"accept-encoding", b"gzip"),
    ],
    "server": ("shop.example", 443),
    "client": ("192.0.2.1", 50000),
}
_START = {"type": "http.response.start", "status": 200, "headers": [(b"cache-control", b"no-store")]}
_BODY = {"type": "http.response.body", "body": b"page"}


async def receive() -> MutableMapping[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


async def send(message: MutableMapping[str, Any]) -> None:
    pass


async def tiny(scope: Any, receive: Any, send: Any) -> None:
    """The least that an application can do."""
    await send(_START)
    await send(_BODY)


class PassThrough:
    """The least that a pure ASGI middleware can do."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)


def request(name: str, app: ASGIApp, bare: str = "", to: str = "", budget: Budget | None = None, **more):
    """A candidate that answers one request, by hand."""
    names = {"app": app, "scope": SCOPE, "receive": receive, "send": send}
    return Candidate(name, BY_HAND, names, bare, to, budget, **more)


def requests(name: str, app: ASGIApp, bare: str = "", to: str = "", budget: Budget | None = None, **more):
    """A candidate that answers several requests in an event loop, as what starts tasks needs one."""
    names = {"app": app, "many": _many, "run": loop().run_until_complete}
    return Candidate(name, IN_LOOP, names, bare, to, budget, calls=_MANY, **more)


async def _many(app: ASGIApp) -> None:
    for _ in repeat(None, _MANY):
        await app(dict(SCOPE), receive, send)


@cache
def loop() -> asyncio.AbstractEventLoop:
    """The one event loop of a run."""
    made = asyncio.new_event_loop()
    atexit.register(made.close)
    return made


def microsecond() -> list[Candidate]:
    """What budgets in microseconds are compared with."""
    statement = "; ".join(["f(1)"] * _CALLS_A_MICROSECOND)
    wrapped = targets.empty_wrapper(targets.charge)
    return [
        Candidate("bare calls", statement, {"f": targets.charge}, shown=False),
        Candidate(MICROSECOND, statement, {"f": wrapped}, "bare calls"),
    ]


async def ask(app: ASGIApp) -> tuple[int, dict[str, str]]:
    """Answer one request: the status and headers."""
    told: list[MutableMapping[str, Any]] = []

    async def keep(message: MutableMapping[str, Any]) -> None:
        told.append(message)

    await app(dict(SCOPE), receive, keep)
    headers = {name.decode(): value.decode() for name, value in told[0]["headers"]}
    return told[0]["status"], headers
