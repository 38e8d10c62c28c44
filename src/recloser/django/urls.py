"""`path("breakers/", include("recloser.django.urls"))`: the admin endpoint, for users with the admin's permissions."""

from __future__ import annotations

from typing import Final

from django.urls import path

from recloser.django.status import status_view

app_name: Final = "recloser"
_view: Final = status_view()
urlpatterns: Final = [path("", _view, name="overview"), path("<path:path>", _view, name="below")]
