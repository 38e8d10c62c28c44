"""Lets tests in other processes say how the services do."""

from __future__ import annotations

import os

from django.http import HttpRequest, JsonResponse

from recloser.django import conf
from shopsite.services import OutageError, inventory


def become(request: HttpRequest, condition: str) -> JsonResponse:
    if condition == "fresh":  # new breakers, and nothing kept
        conf.on_setting_changed(setting="RECLOSER")
    inventory.error = OutageError("down") if condition == "down" else None
    return JsonResponse({"worker": os.getpid()})
