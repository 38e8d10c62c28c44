"""Views whose plans answer failures too, before the circuit opens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress

from django.contrib.auth.decorators import login_required, permission_required
from django.contrib.auth.mixins import LoginRequiredMixin, PermissionRequiredMixin
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.template.response import TemplateResponse
from django.urls import path
from django.utils.decorators import method_decorator
from django.views import View
from rest_framework.permissions import IsAdminUser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from recloser.django import guard, registry
from recloser.http import plans
from recloser.http.messages import Response as Given
from shopsite.apis import Asleep, KeyAuthentication
from shopsite.services import inventory

STALE = plans.stale(600)
FIXED = plans.json({"quantity": None})


async def compute_later(request: object, error: object) -> Given:
    return Given(200, (), b"secret")


STRATEGIES = {
    "stale": STALE,
    "json": plans.json({"secret": "fixed"}),
    "response": plans.response("secret"),
    "compute": plans.compute(lambda request, error: {"secret": "computed"}),
    "compute-later": plans.compute(compute_later),
    "template": plans.template("shop/secret.html", status=200),
    "unavailable": plans.unavailable(),
}
bodies: list[Iterator[str]] = []
closed: list[str] = []


def answering(*plan: object) -> Callable[[Callable[..., object]], Callable[..., object]]:
    return guard("inventory", plan=list(plan), on=("open", "failure"))


@answering(STALE, FIXED)
def product(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"quantity": inventory.quantity()})


@answering(STALE, FIXED)
async def product_async(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"quantity": inventory.quantity()})


@method_decorator(answering(STALE, FIXED), name="dispatch")
class ProductView(View):
    def get(self, request: HttpRequest) -> HttpResponse:
        return JsonResponse({"quantity": inventory.quantity()})


class AsyncProductView(View):
    @answering(STALE, FIXED)
    async def get(self, request: HttpRequest) -> HttpResponse:
        return JsonResponse({"quantity": inventory.quantity()})


class RestProduct(APIView):
    @answering(STALE, FIXED)
    def get(self, request: Request) -> Response:
        return Response({"quantity": inventory.quantity()})


@answering(STALE, FIXED)
def rendered_late(request: HttpRequest) -> HttpResponse:
    return TemplateResponse(request, "shop/product.html", {"quantity": inventory.quantity})


@answering(FIXED)
def status(request: HttpRequest, status: int) -> HttpResponse:
    return HttpResponse("own", status=status, headers={"X-Own": "yes"})


@answering(FIXED)
async def status_async(request: HttpRequest, status: int) -> HttpResponse:
    return HttpResponse("own", status=status, headers={"X-Own": "yes"})


@answering(STALE)
def empty(request: HttpRequest, status: int) -> HttpResponse:
    return HttpResponse("own", status=status, headers={"X-Own": "yes"})


@answering(FIXED)
def streams(request: HttpRequest) -> StreamingHttpResponse:
    def body() -> Iterator[str]:
        try:
            yield "own"
        finally:
            closed.append("body")

    parts = body()
    next(parts)
    bodies.append(parts)  # so that nothing but `close()` ends it
    return StreamingHttpResponse(parts, status=500)


@answering(FIXED)
def inner(request: HttpRequest) -> HttpResponse:
    with registry["inventory"].calling():
        return JsonResponse({"quantity": inventory.quantity()})


@answering(FIXED)
def recovers(request: HttpRequest) -> HttpResponse:
    """Helps itself when the inventory fails, and then has a bug."""
    with suppress(OSError), registry["inventory"].calling():
        raise OSError
    raise LookupError("a bug")


@answering(FIXED)
def create(request: HttpRequest) -> HttpResponse:
    User.objects.create(username="new")
    inventory.quantity()
    return HttpResponse("created")


class RestAsleep(APIView):
    @answering(FIXED)
    def get(self, request: Request) -> Response:
        raise Asleep


class RestCreate(APIView):
    @answering(FIXED)
    def get(self, request: Request) -> Response:
        User.objects.create(username="new")
        return Response({"quantity": inventory.quantity()})


def respond() -> HttpResponse:
    return HttpResponse("own", status=500) if inventory.answers_badly else HttpResponse(inventory.quantity())


def members(strategy: str) -> Callable[..., object]:
    """Guard a view by one strategy, below its checks of access."""

    @login_required
    @permission_required("auth.view_user", raise_exception=True)
    @answering(STRATEGIES[strategy])
    def view(request: HttpRequest) -> HttpResponse:
        return respond()

    return view


def members_class(strategy: str) -> Callable[..., object]:
    @method_decorator(answering(STRATEGIES[strategy]), name="dispatch")
    class Members(LoginRequiredMixin, PermissionRequiredMixin, View):
        permission_required = "auth.view_user"
        raise_exception = True

        def get(self, request: HttpRequest) -> HttpResponse:
            return respond()

    return Members.as_view()


def rest_members(strategy: str) -> Callable[..., object]:
    class RestMembers(APIView):
        authentication_classes = (KeyAuthentication,)
        permission_classes = (IsAdminUser,)

        @answering(STRATEGIES[strategy])
        def get(self, request: Request) -> Response:
            return Response("own", status=500) if inventory.answers_badly else Response(inventory.quantity())

    return RestMembers.as_view()


# -- for ROUTES, which name the paths ------------------------------------------------------------------------------


def routed(request: HttpRequest) -> HttpResponse:
    return respond()


async def routed_async(request: HttpRequest) -> HttpResponse:
    return respond()


@login_required
def routed_members(request: HttpRequest) -> HttpResponse:
    return respond()


class RoutedView(LoginRequiredMixin, View):
    raise_exception = True

    def get(self, request: HttpRequest) -> HttpResponse:
        return respond()


class BrokenLock:
    """An authentication whose own service is down."""

    def authenticate(self, request: Request) -> None:
        raise inventory.error or Asleep


class RestRouted(APIView):
    authentication_classes = (BrokenLock,)

    def get(self, request: Request) -> Response:
        return Response("secret")


urlpatterns = [
    path("product/", product),
    path("product-async/", product_async),
    path("class/", ProductView.as_view()),
    path("class-async/", AsyncProductView.as_view()),
    path("rest/product/", RestProduct.as_view()),
    path("late/", rendered_late),
    path("status/<int:status>/", status),
    path("status-async/<int:status>/", status_async),
    path("empty/<int:status>/", empty),
    path("streams/", streams),
    path("inner/", inner),
    path("recovers/", recovers),
    path("create/", create),
    path("rest/asleep/", RestAsleep.as_view()),
    path("rest/create/", RestCreate.as_view()),
    path("routed/plain/", routed),
    path("routed/async/", routed_async),
    path("routed/members/", routed_members),
    path("routed/class/", RoutedView.as_view()),
    path("routed/rest/", RestRouted.as_view()),
    *(path(f"members/function/{name}/", members(name)) for name in STRATEGIES),
    *(path(f"members/class/{name}/", members_class(name)) for name in STRATEGIES),
    *(path(f"members/rest/{name}/", rest_members(name)) for name in STRATEGIES),
]
