"""A plan's answer as Django's response, with and without an event loop."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Final, TypeVar

from asgiref.sync import async_to_sync, sync_to_async
from django.http import HttpRequest, HttpResponse
from django.utils.log import log_response

from recloser.core.errors import CallRejectedError
from recloser.django.exchange import Exchange
from recloser.django.messages import to_django
from recloser.django.shared_cache import SharedResponses
from recloser.http.messages import Response
from recloser.http.plan import Plan

T = TypeVar("T")

_at_once: Final[ContextVar[bool]] = ContextVar("recloser_at_once", default=False)


def answer(exchange: Exchange, request: HttpRequest, refusal: CallRejectedError) -> HttpResponse:
    """Answer a refused request."""
    plan = exchange.plan(refusal)
    answered = _run(exchange, refusal, plan)
    return _logged(to_django(answered), request, refusal)


async def answer_async(exchange: Exchange, request: HttpRequest, refusal: CallRejectedError) -> HttpResponse:
    """Answer a refused request, on the event loop."""
    plan = exchange.plan(refusal)
    if plan.replays and isinstance(exchange.responder.cache, SharedResponses):  # which waits for a cache
        answered = await sync_to_async(_run, thread_sensitive=False)(exchange, refusal, plan)
    else:
        answered = await exchange.responder.answer(exchange.request(), refusal, plan)
    return _logged(to_django(answered), request, refusal)


def _run(exchange: Exchange, refusal: CallRejectedError, plan: Plan) -> Response:
    answering = exchange.responder.answer
    if not plan.waits:
        return _result(answering(exchange.request(), refusal, plan))
    return async_to_sync(answering)(exchange.request(), refusal, plan)


def in_thread(call: Callable[[], object]) -> object:
    """Run a function that may block: in place where no event loop waits for it, else where views run."""
    return call() if _at_once.get() else sync_to_async(call)()


def _result(coroutine: Coroutine[object, None, T]) -> T:
    # It waits for nothing, so that no event loop is needed.
    token = _at_once.set(True)
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    finally:
        _at_once.reset(token)
    raise RuntimeError("a strategy that answers at once has waited")


def _logged(response: HttpResponse, request: HttpRequest, refusal: CallRejectedError) -> HttpResponse:
    # Not an ERROR, as Django logs other 5xx responses: mail to the admins per request would be a second outage.
    log_response(
        "Circuit %r refused: %s",
        refusal.breaker,
        request.path,
        response=response,
        request=request,
        level="warning",
    )
    return response
