"""A plan's answer as Django's response, with and without an event loop."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import TypeAlias, TypeVar

from asgiref.sync import async_to_sync, sync_to_async
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.log import log_response

from recloser.django.exchange import Exchange
from recloser.django.messages import to_django
from recloser.django.partitions import identify, identify_async
from recloser.http.event_loops import blocking, blocks, has_event_loop
from recloser.http.failure import CallFailedError, Trouble, log_hidden
from recloser.http.messages import Request, Response
from recloser.http.plan import Plan

T = TypeVar("T")

_Answering: TypeAlias = Callable[[Request, Trouble, Plan], Coroutine[object, None, T]]


def answer(exchange: Exchange, request: HttpRequest, trouble: Trouble) -> HttpResponse:
    """Answer a request that was refused, or whose view raised a failure."""
    exchange.replaced = True
    answering = exchange.responder.answer
    return _given(_run(answering, exchange, trouble), exchange, request, trouble)


async def answer_async(exchange: Exchange, request: HttpRequest, trouble: Trouble) -> HttpResponse:
    """Answer a request that was refused, or whose view raised a failure, on the event loop."""
    exchange.replaced = True
    answering = exchange.responder.answer
    return _given(await _run_async(answering, exchange, trouble), exchange, request, trouble)


def instead(exchange: Exchange, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    """Answer instead of a view that has answered, if that is a failure and its plan has something to say."""
    failure = exchange.answered(response)
    attempted = None if failure is None else _run(exchange.responder.attempt, exchange, failure)
    if failure is None or attempted is None:
        return response
    exchange.replace(response)
    return _given(attempted, exchange, request, failure)


async def instead_async(
    exchange: Exchange, request: HttpRequest, response: HttpResponseBase
) -> HttpResponseBase:
    """Answer instead of a view that has answered, on the event loop; as `instead`."""
    failure = exchange.answered(response)
    attempted = None if failure is None else await _run_async(exchange.responder.attempt, exchange, failure)
    if failure is None or attempted is None:
        return response
    exchange.replace(response)
    return _given(attempted, exchange, request, failure)


def _run(answering: _Answering[T], exchange: Exchange, trouble: Trouble) -> T:
    plan = exchange.plan_for(trouble)
    identify(exchange, plan.pers)
    if not plan.waits:
        return _result(answering(exchange.asked(plan), trouble, plan))
    ask = partial(async_to_sync(answering), exchange.asked(plan), trouble, plan)
    # A synchronous stack below a running event loop, as a test client in a coroutine: it cannot be waited on from here.
    return _in_another_thread(ask) if has_event_loop() else ask()


async def _run_async(answering: _Answering[T], exchange: Exchange, trouble: Trouble) -> T:
    plan = exchange.plan_for(trouble)
    await identify_async(exchange, plan.pers)
    return await answering(exchange.asked(plan), trouble, plan)


def _in_another_thread(call: Callable[[], T]) -> T:
    context = copy_context()
    with ThreadPoolExecutor(1, "recloser-answer") as threads:
        return threads.submit(context.run, call).result()


def in_thread(call: Callable[[], object]) -> object:
    """Run a function that may block: in place where no event loop waits for it, else where views run."""
    return call() if blocks() else sync_to_async(call)()


def _result(coroutine: Coroutine[object, None, T]) -> T:
    # It waits for nothing, so that no event loop is needed.
    with blocking():
        try:
            coroutine.send(None)
        except StopIteration as done:
            result: T = done.value
            return result
    raise RuntimeError("a strategy that answers at once has waited")


def _given(answer: Response, exchange: Exchange, request: HttpRequest, trouble: Trouble) -> HttpResponse:
    response = to_django(answer)
    if isinstance(trouble, CallFailedError):
        log_hidden(exchange.request(), trouble)
        message = "Breaker %r counted a failure: %s"
    else:
        message = "Circuit %r refused: %s"
    # Not an ERROR, as Django logs other 5xx responses: mail to the admins per request would be a second outage.
    log_response(message, trouble.breaker, request.path, response=response, request=request, level="warning")
    exchange.trouble = None  # whose traceback holds the request
    return response
