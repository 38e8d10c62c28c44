"""Where the shop's pages are."""

from django.contrib import admin
from django.urls import include, path

from recloser.django.metrics import metrics_view
from teashop import api, views

shop = [
    path("products/<int:product>", views.product_page, name="product"),
    path("products/<int:product>/order", views.order_form, name="order"),
    path("recommendations", views.recommended, name="recommendations"),
    path("checkout", views.checkout, name="checkout"),
    path("api/checkout", api.Checkout.as_view(), name="api-checkout"),
]
urlpatterns = [
    path("admin/", admin.site.urls),
    path("metrics", metrics_view()),
    path("", include((shop, "shop"))),
]
