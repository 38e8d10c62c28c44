"""Prometheus, in a URLconf: `path("metrics", metrics_view())`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from django.http import HttpRequest, HttpResponse

from recloser.core.errors import ConfigurationError
from recloser.django import conf
from recloser.metrics.prometheus import exposition, instrument


def metrics_view() -> Callable[[HttpRequest], HttpResponse]:
    """Make a view that answers scrapes, open to whoever can reach it. From here on this process is measured."""
    # The check E002 tells of it, if it is let come so far as to import a URLconf; no server starts with it.
    with suppress(ConfigurationError):
        instrument(conf.installation().registry)

    def metrics(request: HttpRequest) -> HttpResponse:
        body, content_type = exposition(conf.installation().registry, request.headers.get("Accept", ""))
        return HttpResponse(body, content_type=content_type)

    return metrics
