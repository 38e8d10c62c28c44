"""`plans.template` by Django's engines."""

from __future__ import annotations

from django.http import HttpRequest
from django.template.loader import render_to_string

from recloser.core.errors import CallRejectedError


def render(name: str, request: HttpRequest | None, error: CallRejectedError) -> str:
    """Render the page that a refused request gets.

    Args:
        name: The template's.
        request: Django's, for context processors.
        error: The refusal; the template knows it as `refusal`, and its seconds as `retry_after`.

    Raises:
        TemplateDoesNotExist: No engine knows the template.
    """
    context = {"refusal": error, "retry_after": round(error.retry_after)}
    return render_to_string(name, context, request)
