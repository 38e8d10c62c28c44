"""Who asks: what names the partitions of a request's plans, a function of Django's request."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from asgiref.sync import async_to_sync, iscoroutinefunction, sync_to_async
from django.http import HttpRequest

from recloser.django.exchange import Exchange
from recloser.http.keeping import Per, ask


def identify(exchange: Exchange, pers: Iterable[Per]) -> None:
    """Find out who asks, if plans mind.

    Args:
        exchange: Told who it is.
        pers: What finds it out.
    """
    for per in pers:
        exchange.identified(per, asked(per, exchange.native))


async def identify_async(exchange: Exchange, pers: Iterable[Per]) -> None:
    """The same on an event loop; the functions run in the thread of synchronous views, as users need a database."""
    for per in pers:
        exchange.identified(per, await sync_to_async(asked)(per, exchange.native))


def asked(per: Per, request: HttpRequest) -> str:
    """Name who asks; as `recloser.http.keeping.ask`, of coroutine functions too."""
    function: Any = per
    return ask(async_to_sync(function) if iscoroutinefunction(per) else per, request)  # pyright: ignore[reportDeprecated]
