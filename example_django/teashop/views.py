"""The shop's pages."""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET, require_POST

from recloser.django import guard
from recloser.http import plans
from teashop.forms import OrderForm
from teashop.services import ask, ask_async


@require_GET
@guard("inventory", plan=[plans.stale(600), plans.template("shop/product_unknown.html", status=200)])
def product_page(request: HttpRequest, product: int) -> HttpResponse:
    """While the circuit is open: the last good page, else one without the quantity."""
    return render(request, "shop/product.html", ask("GET", "inventory", f"/stock/{product}"))


@require_GET
def order_form(request: HttpRequest, product: int) -> HttpResponse:
    """Stand apart from the product's page: a form's CSRF token is personal, and such a page is never kept."""
    form = OrderForm(initial={"product": product, "quantity": 1})
    return render(request, "shop/order.html", {"form": form})


@guard("recommendations", plan=[plans.json({"products": []})])
async def recommended(_: HttpRequest) -> HttpResponse:
    """While the circuit is open: nothing to recommend."""
    return JsonResponse(await ask_async("GET", "recommendations", "/popular"))


@require_POST
@guard("payments", plan=[plans.template("shop/checkout_closed.html")])
def checkout(request: HttpRequest) -> HttpResponse:
    """While the circuit is open: a friendly 503 page with `Retry-After`, before anything is charged."""
    form = OrderForm(request.POST)
    if not form.is_valid():
        return render(request, "shop/order.html", {"form": form}, status=400)
    return render(request, "shop/receipt.html", ask("POST", "payments", "/charges", form.cleaned_data))
