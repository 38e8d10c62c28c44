"""What a guard costs an endpoint of FastAPI, and what a stale answer costs instead of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from fastapi import Depends, FastAPI

from benchmarks import web
from benchmarks.rows import Budget
from benchmarks.targets import FAILURES, OPEN
from benchmarks.timing import TimedCase
from recloser import Registry
from recloser.fastapi import guard, install
from recloser.http import plans

FOUR = Budget("<=", 4.0)
POLICIES: dict[str, dict[str, float]] = {
    "inventory": {},
    "rate": {"failure_rate_threshold": 0.5, "window_seconds": 60},
    "slow": {"slow_call_duration": 5.0, "slow_call_rate_threshold": 0.5},
}
TITLES = {"inventory": "", "rate": ", failure rate", "slow": ", slow calls"}

UNGUARDED = "unguarded endpoint"
EMPTY = "empty async Depends"
TRIVIAL = "trivial endpoint, no recloser"


def endpoint() -> Callable[[], Awaitable[dict[str, int]]]:
    """An endpoint anew: one that is guarded in one application must not go unguarded in another."""

    async def page() -> dict[str, int]:
        return {"quantity": 4}

    return page


async def nothing() -> None:
    pass


def closed() -> TimedCase:
    """Beyond the same endpoint of the same route without the guard: only what FastAPI calls is exchanged.

    Two applications of the same making differ by more than a guard costs.
    """
    candidates = [*web.microsecond()]
    page = endpoint()
    app = _app(page)
    plain = _exchanging(app.routes[-1].dependant)
    candidates.append(web.request(UNGUARDED, app, prepare=plain(page)))
    for name, title in TITLES.items():
        guarded = plain(guard(name)(page))
        candidates.append(
            web.request(f"decorator{title}", app, UNGUARDED, web.MICROSECOND, FOUR, prepare=guarded)
        )
    app = _app(endpoint(), depends=Depends(nothing))
    depending = _exchanging(app.routes[-1].dependant.dependencies[0])
    candidates.append(web.request(EMPTY, app, UNGUARDED, web.MICROSECOND, prepare=depending(nothing)))
    for name, title in TITLES.items():
        entry = depending(guard(name).dependency)
        candidates.append(web.request(f"dependency{title}", app, EMPTY, web.MICROSECOND, FOUR, prepare=entry))
    return TimedCase("FastAPI, guard while closed", candidates, pieces=web.PIECES)


def _exchanging(dependant: Any) -> Callable[[object], Callable[[], None]]:
    return lambda call: partial(setattr, dependant, "call", call)


def stale() -> TimedCase:
    """While open, against the endpoint that it stands for."""
    plan = [plans.stale(OPEN)]
    trivial = FastAPI()
    trivial.get("/page")(endpoint())
    decorated = _opened(_app(guard("inventory", plan=plan)(endpoint())))
    dependency = _opened(_app(endpoint(), depends=guard("inventory", plan=plan)))
    after = _app(guard("inventory", plan=plan)(endpoint()), depends=Depends(nothing))
    candidates = [
        web.request(TRIVIAL, trivial),
        web.request("stale answer, decorator", decorated, "", TRIVIAL, Budget("<=", 1.0)),
        web.request("stale answer, dependency", dependency, "", TRIVIAL, Budget("<=", 1.0)),
        web.request("stale answer, after another dependency", _opened(after), "", TRIVIAL),
    ]
    return TimedCase("FastAPI, stale answer while open", candidates, pieces=web.PIECES)


def _app(page: Any, depends: Any = None) -> FastAPI:
    app = FastAPI()
    long = {"recovery_timeout": OPEN, "recovery_timeout_max": OPEN}
    registry = Registry({"BREAKERS": {name: {**long, **policy} for name, policy in POLICIES.items()}})
    install(app, registry)
    app.state.registry = registry
    app.get("/page", dependencies=[] if depends is None else [depends])(page)
    for breaker in registry.values():
        for _ in range(20):  # past `minimum_calls`: from there on calls only tick
            breaker.acquire().success()
    assert web.loop().run_until_complete(web.ask(app))[0] == 200
    return app


def _opened(app: FastAPI) -> FastAPI:
    for _ in range(FAILURES):
        app.state.registry["inventory"].acquire().failure()
    status, headers = web.loop().run_until_complete(web.ask(app))
    assert (status, "cache-status" in headers) == (200, True)
    return app
