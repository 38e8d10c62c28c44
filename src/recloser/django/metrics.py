"""Prometheus, in a URLconf: `path("metrics", metrics_view())`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Final
from weakref import WeakSet

from django.http import HttpRequest, HttpResponse

from recloser.core.errors import ConfigurationError
from recloser.django import conf
from recloser.django.guards import guards_in_code
from recloser.metrics.prometheus import exposition, instrument
from recloser.registry import Registry


def metrics_view() -> Callable[[HttpRequest], HttpResponse]:
    """Make a view that answers scrapes, open to whoever can reach it. From here on this process is measured."""
    # The check E002 tells of it, if it is let come so far as to import a URLconf; no server starts with it.
    with suppress(ConfigurationError):
        instrument(conf.installation().registry)

    def metrics(request: HttpRequest) -> HttpResponse:
        installed = conf.installation()
        _expect(installed)
        body, content_type = exposition(installed.registry, request.headers.get("Accept", ""))
        return HttpResponse(body, content_type=content_type)

    return metrics


_prepared: Final[WeakSet[Registry]] = WeakSet()


def _expect(installed: conf.Installation) -> None:
    """Let the first scrape tell of the answers that guards in the code of views may give."""
    if installed.registry not in _prepared:
        for guard in guards_in_code():
            guard.guarded().bind(installed.responder)
        _prepared.add(installed.registry)
