"""The shop's URLs, and metrics beside them, as a project adds them."""

from __future__ import annotations

from django.urls import include, path

from recloser.django.metrics import metrics_view

urlpatterns = [path("metrics", metrics_view()), path("", include("shopsite.urls"))]
