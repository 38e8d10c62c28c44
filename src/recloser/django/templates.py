"""`plans.template` by Django's engines."""

from __future__ import annotations

from django.http import HttpRequest
from django.template.loader import render_to_string

from recloser.http.messages import Request


def render(name: str, request: Request, context: dict[str, object]) -> str:
    """Render the page that a refused or failed request gets.

    Args:
        name: The template's.
        request: Whose native one is Django's, for context processors.
        context: What the template knows.

    Raises:
        TemplateDoesNotExist: No engine knows the template.
    """
    native = request.native if isinstance(request.native, HttpRequest) else None
    return render_to_string(name, context, native)
