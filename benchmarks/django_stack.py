"""A Django project in one file, with a middleware that does nothing and recloser's in its place."""

from __future__ import annotations

from django import setup
from django.conf import settings
from django.core.handlers.base import BaseHandler
from django.http import HttpResponse
from django.test import RequestFactory
from django.test.utils import override_settings
from django.urls import path
from django.utils.decorators import sync_and_async_middleware
from django.utils.deprecation import MiddlewareMixin

from benchmarks.django_requests import HYBRID, MIXIN

RECLOSER = "recloser.django.CircuitBreakerMiddleware"

if not settings.configured:
    settings.configure(
        ALLOWED_HOSTS=["testserver"],
        INSTALLED_APPS=["recloser.django"],
        RECLOSER={"BREAKERS": {"inventory": {}}},
        ROOT_URLCONF=__name__,
        SECRET_KEY="benchmark",
    )
    setup()


class Mixin(MiddlewareMixin):
    """Django's own way to write one, with nothing in it."""


@sync_and_async_middleware
def hybrid(get_response):
    """The least that a middleware of both kinds can do."""

    async def handle(request):
        return await get_response(request)

    return handle


async def page(request):
    return HttpResponse(b"page")


urlpatterns = [path("page", page)]


def middleware() -> dict[str, object]:
    """Middleware around a view, as callables."""
    from recloser.django.middleware import CircuitBreakerMiddleware

    response = HttpResponse(b"page")

    def view(request):
        return response

    return {
        "bare": view,
        MIXIN: Mixin(view),
        "recloser": CircuitBreakerMiddleware(view),
        "request": RequestFactory().get("/page"),
    }


def whole_requests() -> dict[str, object]:
    """Django's asynchronous handler with one middleware."""
    return {
        HYBRID: _handler(f"{__name__}.hybrid"),
        "recloser": _handler(RECLOSER),
        "request": RequestFactory().get("/page"),
    }


def _handler(name: str) -> object:
    handler = BaseHandler()
    with override_settings(MIDDLEWARE=[name]):
        handler.load_middleware(is_async=True)
    return handler.get_response_async
