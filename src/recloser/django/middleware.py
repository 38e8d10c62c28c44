"""The middleware: a refused or failed call becomes the plan's answer, and what guards hold is settled.

It belongs last in `MIDDLEWARE`, so that all other middleware wraps degraded answers like any other.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.core.signals import got_request_exception
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from recloser.core.scope import current
from recloser.django import conf
from recloser.django.answers import answer, answer_async, instead, instead_async
from recloser.django.exchange import Exchange, Refused, present
from recloser.django.partitions import identify, identify_async
from recloser.http.failure import CallFailedError
from recloser.http.fault import FIRST_FAILING
from recloser.http.keeping import pers_of
from recloser.http.messages import SAFE_METHODS

ProcessView = Callable[[HttpRequest, object, object, object], Awaitable[Refused | None] | Refused | None]


class CircuitBreakerMiddleware:
    """Answers the requests that an open circuit refuses, and failures where plans say so.

    Args:
        get_response: The rest of the stack, synchronous or asynchronous; the middleware becomes alike.

    Attributes:
        process_view: Asks the breakers of `ROUTES`; there is none without `ROUTES`.

    Raises:
        ConfigurationError: Lists all that is wrong with `RECLOSER`.
    """

    sync_capable = True
    async_capable = True

    process_view: ProcessView

    def __init__(self, get_response: Callable[[HttpRequest], object]) -> None:
        self._get_response = cast("Callable[[HttpRequest], HttpResponseBase]", get_response)
        self._is_async = iscoroutinefunction(get_response)  # pyright: ignore[reportDeprecated]
        if self._is_async:
            markcoroutinefunction(self)
        if len(conf.installation().routes):
            # In the stack's own mode: Django would send any other through a thread.
            self.process_view = self._enter_async if self._is_async else self._enter

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        """Handle one request."""
        if self._is_async:
            return self._handle_async(request)
        exchange = Exchange(conf.installation().responder, request)
        token = current.set(exchange)
        try:
            response = self._get_response(request)
            if exchange.trouble is not None:
                response = answer(exchange, request, exchange.trouble)
            elif response.status_code >= FIRST_FAILING or (exchange.troubled and exchange.failed):
                response = instead(exchange, request, response)
            if exchange.met is not None or request.method not in SAFE_METHODS:
                identify(exchange, pers_of(exchange.wanted(response)))
                exchange.completed(response)
        except BaseException as error:
            exchange.raised_by_view(error)
            raise
        finally:
            current.reset(token)
        return response

    async def _handle_async(self, request: HttpRequest) -> HttpResponseBase:
        exchange = Exchange(conf.installation().responder, request)
        token = current.set(exchange)
        try:
            response = await cast("Awaitable[HttpResponseBase]", self._get_response(request))
            if exchange.trouble is not None:
                response = await answer_async(exchange, request, exchange.trouble)
            elif response.status_code >= FIRST_FAILING or (exchange.troubled and exchange.failed):
                response = await instead_async(exchange, request, response)
            if exchange.met is not None or request.method not in SAFE_METHODS:
                await identify_async(exchange, pers_of(exchange.wanted(response)))
                exchange.completed(response)
        except BaseException as error:
            exchange.raised_by_view(error)
            raise
        finally:
            current.reset(token)
        return response

    def process_exception(self, request: HttpRequest, error: Exception) -> Refused | None:
        """Note what a view raised; a refusal or failure is answered when the stack is back in its own mode."""
        exchange = present()
        if exchange is None:
            return None
        refused = exchange.left_view(error)
        if isinstance(exchange.trouble, CallFailedError):
            # As Django does for an exception that nobody catches: error reporters listen to it.
            got_request_exception.send(sender=None, request=request)
        return refused

    def _enter(self, request: HttpRequest, _view: object, _args: object, _kwargs: object) -> Refused | None:
        exchange = present()
        if exchange is None or request.resolver_match is None:
            return None
        return exchange.enter(conf.installation().routes.find(request.resolver_match))

    async def _enter_async(
        self, request: HttpRequest, view: object, args: object, kwargs: object
    ) -> Refused | None:
        return self._enter(request, view, args, kwargs)
