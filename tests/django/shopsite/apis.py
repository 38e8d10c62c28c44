"""The shop's APIs, by DRF and by django-ninja."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.utils.decorators import method_decorator
from ninja import NinjaAPI, Schema
from ninja.errors import HttpError
from ninja.security import APIKeyHeader
from ninja.throttling import AnonRateThrottle as NinjaThrottle
from rest_framework.authentication import BaseAuthentication
from rest_framework.decorators import api_view, permission_classes
from rest_framework.exceptions import APIException, AuthenticationFailed
from rest_framework.permissions import IsAdminUser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import SimpleRateThrottle
from rest_framework.views import APIView

from recloser.django import guard
from recloser.django.ninja import install
from recloser.http import plans
from shopsite.jobs import reserve
from shopsite.services import inventory
from shopsite.views import create_user

BOTH = [plans.stale(600), plans.json({"quantity": None})]


class Someone:
    """A user that no database knows."""

    is_authenticated = True
    is_active = True

    def __init__(self, name: str) -> None:
        self.pk = name
        self.is_staff = name == "right"


class KeyAuthentication(BaseAuthentication):
    def authenticate(self, request: Request) -> tuple[Someone, str] | None:
        key = request.headers.get("X-Key")
        if key is None:
            return None
        if key not in {"right", "wrong"}:
            raise AuthenticationFailed
        return Someone(key), key

    def authenticate_header(self, request: Request) -> str:
        return "Key"


class OncePerMinute(SimpleRateThrottle):
    scope = "test"
    rate = "1/minute"

    def get_cache_key(self, request: Request, view: APIView) -> str:
        return f"throttle-{request.headers.get('X-Client', '')}"


class Asleep(APIException):
    status_code = 503


@method_decorator(guard("inventory", plan=BOTH), name="dispatch")
class RestDispatch(APIView):
    authentication_classes = (KeyAuthentication,)
    permission_classes = (IsAdminUser,)

    def get(self, request: Request) -> Response:
        return Response({"quantity": inventory.quantity()})


class RestHandler(APIView):
    authentication_classes = (KeyAuthentication,)
    permission_classes = (IsAdminUser,)

    @guard("inventory", plan=BOTH)
    def get(self, request: Request) -> Response:
        return Response({"quantity": inventory.quantity()})


@api_view(["GET"])
@permission_classes([IsAdminUser])
@guard("inventory", plan=BOTH)
def rest_function(request: Request) -> Response:
    return Response({"quantity": inventory.quantity()})


rest_function.cls.authentication_classes = [KeyAuthentication]


class RestThrottled(APIView):
    throttle_classes = (OncePerMinute,)

    @guard("inventory")
    def get(self, request: Request) -> Response:
        return Response({"quantity": inventory.quantity()})


class RestRouted(APIView):
    throttle_classes = (OncePerMinute,)

    def get(self, request: Request) -> Response:
        return Response({"quantity": inventory.quantity()})


class RestUnavailable(APIView):
    @guard("inventory")
    def get(self, request: Request) -> Response:
        return Response({"quantity": inventory.quantity()})


class RestAsleep(APIView):
    @guard("inventory")
    def get(self, request: Request) -> Response:
        raise Asleep


class RestCreate(APIView):
    @guard("inventory")
    def get(self, request: Request) -> Response:
        create_user()
        return Response({})


class RestReserve(APIView):
    authentication_classes = (KeyAuthentication,)
    permission_classes = (IsAdminUser,)

    @guard("inventory", plan=[plans.defer(reserve, headers=["x-tenant"])])
    def post(self, request: Request) -> Response:
        return Response({"quantity": inventory.quantity(), "asked": request.data})


rest_urls = [
    path("reserve/", RestReserve.as_view()),
    path("create/", RestCreate.as_view()),
    path("dispatch/", RestDispatch.as_view()),
    path("handler/", RestHandler.as_view()),
    path("function/", rest_function),
    path("throttled/", RestThrottled.as_view()),
    path("routed/", RestRouted.as_view(), name="rest_routed"),
    path("unavailable/", RestUnavailable.as_view()),
    path("asleep/", RestAsleep.as_view()),
]


class Key(APIKeyHeader):
    param_name = "X-Key"

    def authenticate(self, request: HttpRequest, key: str | None) -> str | None:
        if key == "wrong":
            raise HttpError(403, "not yours")
        return key if key == "right" else None


class Quantity(Schema):
    quantity: int


def _fill(api: NinjaAPI) -> NinjaAPI:
    @api.get("/product", auth=Key(), response=Quantity)
    @guard("inventory", plan=BOTH)
    def product(request: HttpRequest) -> dict[str, int]:
        return {"quantity": inventory.quantity()}

    @api.get("/product-async", auth=Key(), response=Quantity)
    @guard("inventory", plan=BOTH)
    async def product_async(request: HttpRequest) -> dict[str, int]:
        return {"quantity": inventory.quantity()}

    @api.post("/order")
    @guard("inventory")
    def order(request: HttpRequest, order: Quantity) -> Quantity:
        inventory.quantity()
        return order

    @api.get("/throttled", throttle=[NinjaThrottle("1/m")], url_name="throttled")
    def throttled(request: HttpRequest) -> dict[str, int]:
        return {"quantity": inventory.quantity()}

    @api.get("/create")
    @guard("inventory")
    def create(request: HttpRequest) -> dict[str, int]:
        create_user()
        return {}

    @api.get("/error")
    @guard("inventory")
    def error(request: HttpRequest, status: int) -> HttpResponse:
        raise HttpError(status, "as you wish")

    return api


ninja_plain = _fill(NinjaAPI(urls_namespace="plain"))
ninja_debug_safe = _fill(NinjaAPI(urls_namespace="installed"))
install(ninja_debug_safe)
