"""Prometheus, in a URLconf: `path("metrics", metrics_view())`."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from recloser.django import conf
from recloser.metrics.prometheus import exposition, instrument


def metrics_view() -> Callable[[HttpRequest], HttpResponse]:
    """Make a view that answers scrapes, open to whoever can reach it. From here on this process is measured.

    Raises:
        ConfigurationError: Lists all that is wrong with `RECLOSER`.
    """
    instrument(conf.installation().registry)

    def metrics(request: HttpRequest) -> HttpResponse:
        body, content_type = exposition(conf.installation().registry, request.headers.get("Accept", ""))
        return HttpResponse(body, content_type=content_type)

    return metrics
