"""`plans.template` by Django's engines."""

from __future__ import annotations

import math

from django.http import HttpRequest
from django.template.loader import render_to_string

from recloser.http.failure import Trouble
from recloser.http.messages import Request


def render(name: str, request: Request, error: Trouble) -> str:
    """Render the page that a refused or failed request gets.

    Args:
        name: The template's.
        request: Whose native one is Django's, for context processors.
        error: The refusal or failure; the template knows it as `error`, and its seconds as `retry_after`.

    Raises:
        TemplateDoesNotExist: No engine knows the template.
    """
    context = {"error": error, "retry_after": max(1, math.ceil(error.retry_after))}
    native = request.native if isinstance(request.native, HttpRequest) else None
    return render_to_string(name, context, native)
