"""The shop's API, for its apps."""

from django.utils.decorators import method_decorator
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from recloser.django import guard
from recloser.http import plans
from teashop.services import ask


class Order(serializers.Serializer[dict[str, int]]):
    """One product, so many times."""

    product = serializers.IntegerField(min_value=1)
    quantity = serializers.IntegerField(min_value=1)


@method_decorator(guard("payments", plan=[plans.unavailable()]), name="dispatch")
class Checkout(APIView):
    """While the circuit is open: a problem document with `Retry-After`, before anything is charged."""

    def post(self, request: Request) -> Response:
        """Charge for an order."""
        order = Order(data=request.data)
        order.is_valid(raise_exception=True)
        return Response(ask("POST", "payments", "/charges", order.validated_data))
