"""Django REST framework: `REST_FRAMEWORK = {"EXCEPTION_HANDLER": "recloser.django.rest.exception_handler"}`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from django.http.response import HttpResponseBase
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import exception_handler as default_handler
from rest_framework.views import set_rollback

from recloser.django.answers import answer
from recloser.django.exchange import present
from recloser.http.fault import find_refusal


def exception_handler(error: Exception, context: Mapping[str, Any]) -> HttpResponseBase | None:
    """Answer a refusal by its plan, in DRF's own style where that is a 503; all else as DRF does.

    Database work of the request is rolled back under `ATOMIC_REQUESTS`. Throttles and refused access count against
    no breaker.

    Args:
        error: What the view raised.
        context: DRF's; its `request` chooses the renderer of a problem document.
    """
    exchange = present()
    request: Request = context["request"]
    if exchange is None:
        return default_handler(error, dict(context))
    exchange.raised_by_view(error)
    refusal = find_refusal(error)
    if refusal is None:
        return default_handler(error, dict(context))
    set_rollback()
    exchange.left_view(error)
    response = answer(exchange, request._request, refusal)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    if response.headers.get("Content-Type") != "application/problem+json":
        return response
    # The view's own renderer writes it: JSON as a problem document, anything else as its clients expect.
    renderer: Any = request.accepted_renderer
    kind = "application/problem+json" if renderer.media_type == "application/json" else None
    headers = {
        name: value for name, value in response.items() if name not in {"Content-Type", "Content-Length"}
    }
    return Response(
        json.loads(response.content), status=response.status_code, headers=headers, content_type=kind
    )
