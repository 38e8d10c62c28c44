"""django-ninja: `install(api)` leaves refusals to the middleware, also with DEBUG."""

from __future__ import annotations

from typing import NoReturn

from django.http import HttpRequest, HttpResponse
from ninja import NinjaAPI
from ninja.errors import Throttled

from recloser.core.errors import CallRejectedError
from recloser.django.exchange import present


def install(api: NinjaAPI) -> None:
    """Let an API answer for open circuits by their plans.

    django-ninja turns what its operations raise into responses of its own; with `DEBUG`, refusals too. Throttles of
    the API count against no breaker.

    Args:
        api: Its own handlers of `CallRejectedError` or `Throttled`, added later, win.
    """

    def throttled(request: HttpRequest, error: Throttled | type[Throttled]) -> HttpResponse:
        exchange = present()
        if exchange is not None and isinstance(error, Throttled):
            exchange.raised_by_view(error)
        return api.create_response(request, {"detail": str(error)}, status=429)

    api.add_exception_handler(CallRejectedError, _leave_to_middleware)
    api.add_exception_handler(Throttled, throttled)


def _leave_to_middleware(
    _request: HttpRequest, error: CallRejectedError | type[CallRejectedError]
) -> NoReturn:
    assert isinstance(error, CallRejectedError)  # noqa: S101 - django-ninja's signature names classes too
    raise error
