"""The shop's API, for its apps."""

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from recloser.django import guard
from recloser.http import plans
from teashop.orders import charge_later
from teashop.services import ask


class Order(serializers.Serializer[dict[str, int]]):
    """One product, so many times."""

    product = serializers.IntegerField(min_value=1)
    quantity = serializers.IntegerField(min_value=1)


class Checkout(APIView):
    """While the circuit is open: a problem document with `Retry-After`, by `ROUTES` in the settings."""

    def post(self, request: Request) -> Response:
        """Charge for an order."""
        order = Order(data=request.data)
        order.is_valid(raise_exception=True)
        return Response(ask("POST", "payments", "/charges", order.validated_data))


class Orders(APIView):
    """Without payments: 202 with where to look; charged once it is well again."""

    @guard("payments", plan=[plans.defer(charge_later)], on=("open", "failure"))
    def post(self, request: Request) -> Response:
        """Charge for an order, under the client's own key."""
        order = Order(data=request.data)
        order.is_valid(raise_exception=True)
        key = {"Idempotency-Key": request.headers.get("Idempotency-Key", "")}
        return Response(ask("POST", "payments", "/charges", order.validated_data, key))
