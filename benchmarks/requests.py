"""What a request costs that touches no breaker, over ASGI; and what a long body leaves in memory on its way."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import repeat

from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from starlette.middleware.base import BaseHTTPMiddleware

from benchmarks import web
from benchmarks.effort import Effort
from benchmarks.rows import Budget, Row
from benchmarks.timing import TimedCase
from recloser import Registry
from recloser.asgi import CircuitBreakerMiddleware
from recloser.fastapi import guard, install
from recloser.http import plans

PASS_THROUGH = "pass-through ASGI middleware"
BASE = "Starlette BaseHTTPMiddleware"
HISHEL = "hishel ASGI middleware"

CHUNK = 65_536
CHUNKS = 160  # 10 MiB


def untouched() -> TimedCase:
    """One middleware around an application that does nothing."""
    candidates = [
        *web.microsecond(),
        web.request("bare", web.tiny, shown=False),
        web.request(PASS_THROUGH, web.PassThrough(web.tiny), "bare"),
        web.request("recloser", _recloser(), PASS_THROUGH, web.MICROSECOND, Budget("<=", 1.0)),
    ]
    return TimedCase("request, no breaker touched", candidates, pieces=web.PIECES)


def untouched_in_loop() -> TimedCase:
    """The same beside those that need an event loop."""
    candidates = [
        *web.microsecond(),
        web.requests(PASS_THROUGH, web.PassThrough(web.tiny), shown=False),
        web.requests("recloser", _recloser(), PASS_THROUGH, web.MICROSECOND),
        web.requests(BASE, BaseHTTPMiddleware(web.tiny, _call_next), PASS_THROUGH, web.MICROSECOND),
    ]
    if find_spec("hishel") is not None:
        candidates.append(web.requests(HISHEL, _hishel(web.tiny), PASS_THROUGH, web.MICROSECOND))
    return TimedCase("the same, in an event loop", candidates, pieces=web.PIECES)


def _recloser() -> web.ASGIApp:
    return CircuitBreakerMiddleware(web.tiny, Registry({"BREAKERS": {"inventory": {}}}))


@dataclass
class BodyCase:
    """The most memory that is held while 10 MB pass, beyond what the response itself holds."""

    name: str = "10 MB body, memory held"
    peaks: dict[str, int] = field(default_factory=dict)

    def measure(self, effort: Effort) -> None:
        self.peaks = {name: _peak(app) for name, app in _streaming().items()}

    def rows(self) -> list[Row]:
        floor = self.peaks[PASS_THROUGH]
        budgets = {"recloser, not to be stored": Budget("<=", 1.5)}
        return [
            Row(self.name, name, peak, "B", PASS_THROUGH, peak / floor, budgets.get(name))
            for name, peak in self.peaks.items()
        ]


def _streaming() -> dict[str, web.ASGIApp]:
    plain, stored = {"cache-control": "no-store"}, {"cache-control": "max-age=60"}
    apps = {
        PASS_THROUGH: web.PassThrough(_stream(plain)),
        "recloser, not to be stored": _guarded(plain),
        "recloser, too long to be stored": _guarded(stored),
        BASE: BaseHTTPMiddleware(_stream(plain), _call_next),
    }
    if find_spec("hishel") is not None:
        apps[HISHEL] = _hishel(_stream(plain))
    return apps


def _stream(headers: dict[str, str], *, guarded: bool = False) -> FastAPI:
    app = FastAPI()

    async def page() -> StreamingResponse:
        return StreamingResponse(_chunks(), headers=headers)

    app.get("/page")(guard("inventory", plan=[plans.stale(600)])(page) if guarded else page)
    return app


def _guarded(headers: dict[str, str]) -> FastAPI:
    app = _stream(headers, guarded=True)
    install(app, Registry({"BREAKERS": {"inventory": {}}}))
    return app


async def _chunks() -> AsyncIterator[bytes]:
    for _ in repeat(None, CHUNKS):
        yield bytes(CHUNK)


def _peak(app: web.ASGIApp) -> int:
    run = web.loop().run_until_complete
    run(app(dict(web.SCOPE), web.receive, web.send))  # once for all that is made only once
    gc.collect()
    tracemalloc.start()
    try:
        run(app(dict(web.SCOPE), web.receive, web.send))
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


async def _call_next(request, call_next):
    return await call_next(request)


def _hishel(app: web.ASGIApp) -> web.ASGIApp:
    from hishel import AsyncBaseStorage
    from hishel.asgi import ASGICacheMiddleware

    class Nothing(AsyncBaseStorage):
        """The quickest storage there is: nothing here may be stored."""

        async def get_entries(self, key):
            return []

        async def create_entry(self, *arguments, **more):
            raise NotImplementedError

        update_headers = remove_entry = remove_entries = create_entry

    return ASGICacheMiddleware(app, Nothing())
