"""Bodies that are made while they are sent: a guard's verdict waits for their end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from django.http import StreamingHttpResponse
from django.http.response import HttpResponseBase

from recloser.core.scope import current
from recloser.http.tee import Tee

if TYPE_CHECKING:
    from recloser.django.exchange import Exchange


def watch(exchange: Exchange, response: StreamingHttpResponse, copy: Tee | None) -> None:
    """Settle an exchange when a response's body has been sent, broke, or was closed early."""
    body = cast("object", response.streaming_content)
    if response.is_async:
        parts = _watched_async(exchange, response, copy, cast("AsyncIterator[bytes]", body))
        response.streaming_content = cast("Iterator[bytes]", parts)
    else:
        response.streaming_content = _watched(exchange, response, copy, cast("Iterator[bytes]", body))
    # A body that nobody has begun to read is closed without its generator hearing of it.
    response._resource_closers.append(lambda: exchange.broke(None))  # type: ignore[attr-defined] # noqa: SLF001 # pyright: ignore[reportPrivateUsage]


def close_unsent(unsent: HttpResponseBase) -> None:
    """Close what a response holds that is not going to be sent; `close()` would say that the request is finished."""
    response: Any = unsent  # the list is Django's own
    closers: list[Callable[[], object]] = response._resource_closers  # noqa: SLF001
    for close in closers:
        with suppress(Exception):
            close()
    closers.clear()


def _watched(
    exchange: Exchange, response: StreamingHttpResponse, copy: Tee | None, parts: Iterator[bytes]
) -> Iterator[bytes]:
    try:
        while True:
            token = current.set(exchange)  # what the body asks of breakers belongs to this request
            try:
                part = next(parts, None)
            finally:
                current.reset(token)
            if part is None:
                break
            if copy is not None:
                copy.take(part)
            yield part
    except GeneratorExit:
        exchange.broke(None)
        raise
    except BaseException as error:
        exchange.broke(error)
        raise
    exchange.finished(response, copy)


async def _watched_async(
    exchange: Exchange, response: StreamingHttpResponse, copy: Tee | None, parts: AsyncIterator[bytes]
) -> AsyncIterator[bytes]:
    try:
        while True:
            token = current.set(exchange)
            try:
                part = await anext(parts, None)
            finally:
                current.reset(token)
            if part is None:
                break
            if copy is not None:
                copy.take(part)
            yield part
    except GeneratorExit:
        exchange.broke(None)
        raise
    except BaseException as error:
        exchange.broke(error)
        raise
    exchange.finished(response, copy)
