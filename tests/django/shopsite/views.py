"""Views of the shop, guarded in every way that a view can be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path

from django.contrib import messages
from django.contrib.auth.decorators import login_required, permission_required
from django.contrib.auth.mixins import LoginRequiredMixin, PermissionRequiredMixin
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.http import (
    FileResponse,
    Http404,
    HttpRequest,
    HttpResponse,
    JsonResponse,
    StreamingHttpResponse,
)
from django.middleware.csrf import get_token
from django.template.response import TemplateResponse
from django.utils import translation
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt

from recloser import CircuitOpenError
from recloser.django import breaker, guard, registry
from recloser.http import plans
from shopsite.degraded import compute, compute_later
from shopsite.jobs import reserve as reserve_later
from shopsite.services import inventory

STALE = [plans.stale(600)]
FIXED = [plans.json({"quantity": None})]
BOTH = [plans.stale(600), plans.json({"quantity": None})]

payments = breaker("payments")


def plain(request: HttpRequest) -> HttpResponse:
    return HttpResponse("plain")


async def plain_async(request: HttpRequest) -> HttpResponse:
    return HttpResponse("plain")


@guard("inventory", plan=BOTH)
def product(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"quantity": inventory.quantity()})


@guard("inventory", plan=BOTH)
async def product_async(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"quantity": inventory.quantity()})


@guard("inventory", plan=BOTH)
def product_status(request: HttpRequest, status: int) -> HttpResponse:
    return HttpResponse(f"status {status}", status=status)


@guard("inventory")
def rendered_late(request: HttpRequest) -> HttpResponse:
    return TemplateResponse(request, "shop/product.html", {"quantity": inventory.quantity})


@login_required
@guard("inventory", plan=BOTH)
def basket(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"quantity": inventory.quantity()})


@permission_required("auth.view_user", raise_exception=True)
@guard("inventory", plan=BOTH)
def stock(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"quantity": inventory.quantity()})


@method_decorator(guard("inventory", plan=BOTH), name="dispatch")
class ProductView(View):
    def get(self, request: HttpRequest) -> HttpResponse:
        return JsonResponse({"quantity": inventory.quantity()})

    def post(self, request: HttpRequest) -> HttpResponse:
        return JsonResponse({"quantity": inventory.quantity()}, status=201)


@method_decorator(guard("inventory", plan=BOTH), name="dispatch")
class MembersView(PermissionRequiredMixin, LoginRequiredMixin, View):
    permission_required = "auth.view_user"
    raise_exception = True

    def get(self, request: HttpRequest) -> HttpResponse:
        return JsonResponse({"quantity": inventory.quantity()})


class MethodView(LoginRequiredMixin, View):
    raise_exception = True

    @method_decorator(guard("inventory", plan=BOTH))
    def get(self, request: HttpRequest) -> HttpResponse:
        return JsonResponse({"quantity": inventory.quantity()})


class DirectView(LoginRequiredMixin, View):
    raise_exception = True

    @guard("inventory", plan=BOTH)
    def get(self, request: HttpRequest) -> HttpResponse:
        return JsonResponse({"quantity": inventory.quantity()})


class OwnDispatchView(LoginRequiredMixin, View):
    raise_exception = True

    @guard("inventory", plan=BOTH)
    def dispatch(self, request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
        return super().dispatch(request, *args, **kwargs)

    def get(self, request: HttpRequest) -> HttpResponse:
        return JsonResponse({"quantity": inventory.quantity()})


@method_decorator(guard("inventory", plan=BOTH), name="dispatch")
class AsyncProductView(View):
    async def get(self, request: HttpRequest) -> HttpResponse:
        return JsonResponse({"quantity": inventory.quantity()})


def routed(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"quantity": inventory.quantity()})


async def routed_async(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"quantity": inventory.quantity()})


@login_required
def routed_private(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"quantity": inventory.quantity()})


def routed_inner(request: HttpRequest) -> HttpResponse:
    """Its own checks pass, then its own call is refused."""
    registry["inventory"].force_open(by="ann", reason="a trip in the midst of the view")
    with registry["inventory"].calling():
        return JsonResponse({"quantity": inventory.quantity()})


def pay(request: HttpRequest) -> HttpResponse:
    with payments.calling():
        return JsonResponse({"paid": inventory.quantity()})


@guard("inventory")
def create(request: HttpRequest) -> HttpResponse:
    create_user()
    return HttpResponse("created")


def create_user() -> None:
    """Write to the database, then ask the services."""
    User.objects.create(username="new")
    inventory.quantity()
    with payments.calling():
        pass


def hides_nothing(request: HttpRequest) -> HttpResponse:
    try:
        with payments.calling():
            return HttpResponse("paid")
    except Exception as refusal:
        raise ValueError("a mistake while handling a refusal") from refusal


@guard("inventory", plan=BOTH)
def missing(request: HttpRequest) -> HttpResponse:
    raise Http404


@guard("inventory", plan=STALE)
def raises(request: HttpRequest) -> HttpResponse:
    inventory.quantity()
    return HttpResponse("fine")


@guard("inventory", plan=STALE)
def streams(request: HttpRequest) -> StreamingHttpResponse:
    def body() -> Iterator[str]:
        yield "one "
        inventory.quantity()
        yield "two"

    return StreamingHttpResponse(body())


@guard("inventory", plan=STALE)
async def streams_async(request: HttpRequest) -> StreamingHttpResponse:
    async def body() -> AsyncIterator[str]:
        yield "one "
        inventory.quantity()
        yield "two"

    return StreamingHttpResponse(body())


@guard("inventory", plan=STALE)
def sends_file(request: HttpRequest) -> FileResponse:
    return FileResponse(Path(__file__).open("rb"))


def touch_degraded(request: HttpRequest, response: HttpResponse) -> None:
    registry["payments"].force_open(by="ann", reason="test")
    with suppress(CircuitOpenError):
        registry["payments"].call(int)


TOUCHES: dict[str, Callable[[HttpRequest, HttpResponse], object]] = {
    "nothing": lambda request, response: None,
    "session": lambda request, response: request.session.get("anything"),
    "session-write": lambda request, response: request.session.update({"seen": True}),
    "user": lambda request, response: response.write(str(request.user.is_authenticated)),
    "csrf": lambda request, response: response.write(get_token(request)),
    "nonce": lambda request, response: setattr(request, "_csp_nonce", "r4nd0m"),
    "message": lambda request, response: messages.info(request, "hello"),
    "auth": lambda request, response: setattr(request, "auth", "an API found it in a header of its own"),
    "cookie": lambda request, response: response.set_cookie("seen", "1"),
    "vary": lambda request, response: response.headers.setdefault("Vary", "*"),
    "no-store": lambda request, response: response.headers.setdefault("Cache-Control", "no-store"),
    "degraded": touch_degraded,
}


@guard("inventory", plan=STALE)
def personal(request: HttpRequest, touch: str) -> HttpResponse:
    """Touches what outer middleware marks later."""
    response = HttpResponse("personal")
    TOUCHES[touch](request, response)
    return response


@guard("inventory", plan=STALE)
def greeting(request: HttpRequest) -> HttpResponse:
    return HttpResponse(translation.get_language())


def sessions(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(Session.objects.count()))


def login_page(request: HttpRequest) -> HttpResponse:
    return HttpResponse("please sign in")


@guard("inventory", plan=STALE)
async def waits(request: HttpRequest) -> HttpResponse:
    inventory.quantity()
    await asyncio.Event().wait()
    return HttpResponse("never")


@guard("inventory", plan=[plans.compute(compute)])
def computed(request: HttpRequest) -> HttpResponse:
    return HttpResponse("never")


@guard("inventory", plan=[{"compute": "shopsite.degraded:compute"}])
def computed_by_name(request: HttpRequest) -> HttpResponse:
    return HttpResponse("never")


@guard("inventory", plan=[plans.compute(compute_later)])
def computed_later(request: HttpRequest) -> HttpResponse:
    return HttpResponse("never")


@guard("inventory", plan=[plans.template("shop/unavailable.html")])
def sorry(request: HttpRequest) -> HttpResponse:
    return HttpResponse("never")


LATER = [plans.defer(reserve_later, headers=["x-tenant"])]


@csrf_exempt
@guard("inventory", plan=LATER)
def reserve(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"quantity": inventory.quantity()})


@csrf_exempt
@guard("inventory", plan=LATER)
async def reserve_async(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"quantity": inventory.quantity()})


@csrf_exempt
@login_required
@guard("inventory", plan=LATER)
def reserve_members(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"quantity": inventory.quantity()})


@csrf_exempt
def reserve_routed(request: HttpRequest) -> HttpResponse:
    if "trip" in request.GET:
        registry["inventory"].force_open(by="ann", reason="test")
    with registry["inventory"].calling():
        return JsonResponse({"quantity": inventory.quantity()})


@method_decorator(csrf_exempt, name="dispatch")
@method_decorator(guard("inventory", plan=LATER), name="dispatch")
class ReserveView(View):
    def post(self, request: HttpRequest) -> HttpResponse:
        return JsonResponse({"quantity": inventory.quantity()})
