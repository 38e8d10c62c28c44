"""URLs of the shop."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

from recloser.django.jobs import job_status
from shopsite import views
from shopsite.apis import ninja_debug_safe, ninja_plain, rest_urls
from shopsite.control import become
from shopsite.jobs import queue

shop = (
    [
        path("routed/", views.routed, name="routed"),
        path("routed-async/", views.routed_async, name="routed_async"),
        path("private/", views.routed_private, name="private"),
        path("inner/", views.routed_inner, name="inner"),
        path("reserve-routed/", views.reserve_routed, name="reserve_routed"),
    ],
    "shop",
)

urlpatterns = [
    path("reserve/", views.reserve),
    path("reserve-async/", views.reserve_async),
    path("reserve-class/", views.ReserveView.as_view()),
    path("reserve-members/", views.reserve_members),
    path("jobs/<str:job>", job_status(queue)),
    path("control/<str:condition>/", become),
    path("plain/", views.plain),
    path("plain-async/", views.plain_async),
    path("product/", views.product, name="product"),
    path("product-async/", views.product_async),
    path("product/status/<int:status>/", views.product_status),
    path("late/", views.rendered_late),
    path("basket/", views.basket),
    path("stock/", views.stock),
    path("class/", views.ProductView.as_view()),
    path("class-async/", views.AsyncProductView.as_view()),
    path("class-members/", views.MembersView.as_view()),
    path("class-method/", views.MethodView.as_view()),
    path("class-direct/", views.DirectView.as_view()),
    path("class-dispatch/", views.OwnDispatchView.as_view()),
    path("pay/", views.pay),
    path("create/", views.create),
    path("hides-nothing/", views.hides_nothing),
    path("missing/", views.missing),
    path("raises/", views.raises),
    path("streams/", views.streams),
    path("streams-async/", views.streams_async),
    path("file/", views.sends_file),
    path("personal/<str:touch>/", views.personal),
    path("waits/", views.waits),
    path("greeting/", views.greeting),
    path("computed/", views.computed),
    path("computed-by-name/", views.computed_by_name),
    path("computed-later/", views.computed_later),
    path("sorry/", views.sorry),
    path("login/", views.login_page),
    path("shop/", include(shop)),
    path("numbers/<int:number>/", views.personal, {"touch": "nothing"}, name="number"),
    path("failing/", include("shopsite.failing")),
    path("rest/", include(rest_urls)),
    path("ninja/", ninja_plain.urls),
    path("ninja-installed/", ninja_debug_safe.urls),
    path("admin/", admin.site.urls),
]
