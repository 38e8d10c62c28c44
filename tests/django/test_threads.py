"""No thread hop under ASGI: an async view behind the middleware runs, and is answered for, on the event loop."""

from __future__ import annotations

import pytest
from asgiref.sync import SyncToAsync
from django.core.handlers.base import BaseHandler
from django.http import HttpResponse
from django.test import RequestFactory
from shopsite.tools import trip

PLAN = [{"stale": 600}, {"json": {"quantity": None}}]


@pytest.fixture
def hops(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What Django or recloser has sent through a thread."""
    found: list[object] = []
    hop = SyncToAsync.__call__

    async def counted(self: SyncToAsync, *args: object, **kwargs: object) -> object:
        found.append(self.func)
        return await hop(self, *args, **kwargs)

    monkeypatch.setattr(SyncToAsync, "__call__", counted)
    return found


@pytest.fixture(params=["default", "responses"])
def stack(request: pytest.FixtureRequest, settings) -> BaseHandler:
    """The middleware alone, with routes; responses are kept in memory, or in a cache of Django's."""
    settings.MIDDLEWARE = ["recloser.django.CircuitBreakerMiddleware"]
    settings.RECLOSER = {
        **settings.RECLOSER,
        "CACHE": {} if request.param == "default" else {"alias": request.param},
        "ROUTES": {"shop:routed_async": {"breakers": ["inventory"], "plan": PLAN}},
    }
    handler = BaseHandler()
    handler.load_middleware(is_async=True)
    return handler


async def ask(stack: BaseHandler, path: str) -> HttpResponse:
    return await stack.get_response_async(RequestFactory().get(path))


@pytest.mark.anyio
@pytest.mark.parametrize("path", ["/plain-async/", "/product-async/", "/class-async/", "/shop/routed-async/"])
async def test_async_view_stays_on_the_loop(stack: BaseHandler, hops: list[object], path: str):
    """Guarded or not, by a decorator or by ROUTES."""
    assert (await ask(stack, path)).status_code == 200
    assert hops == []


@pytest.mark.anyio
@pytest.mark.parametrize("stack", ["default"], indirect=True)
async def test_refused_route_is_answered_on_the_loop(stack: BaseHandler, hops: list[object]):
    """The last good page of a refused route comes without a thread too."""
    await ask(stack, "/shop/routed-async/")
    trip()

    response = await ask(stack, "/shop/routed-async/")

    assert response["Cache-Status"] == "recloser; hit; ttl=0; detail=circuit-open"
    assert hops == []
