"""Where the shop's pages are."""

from django.contrib import admin
from django.urls import include, path

from recloser.django.jobs import job_status
from recloser.django.metrics import metrics_view
from teashop import api, orders, views

shop = [
    path("products/<int:product>", views.product_page, name="product"),
    path("products/<int:product>/order", views.order_form, name="order"),
    path("recommendations", views.recommended, name="recommendations"),
    path("checkout", views.checkout, name="checkout"),
    path("api/orders", api.Orders.as_view(), name="api-orders"),
    path("api/checkout", api.Checkout.as_view(), name="api-checkout"),
]
urlpatterns = [
    path("admin/", admin.site.urls),
    path("metrics", metrics_view()),
    path("breakers/", include("recloser.django.urls")),
    path("jobs/<str:job>", job_status(orders.queue)),
    path("", include((shop, "shop"))),
]
