"""Who asks: what names the partitions of a request's plans, a function of Django's request."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from asgiref.sync import async_to_sync, iscoroutinefunction, sync_to_async
from django.http import HttpRequest

from recloser.django.exchange import Exchange
from recloser.http.keeping import Keeping, Per, ask


def identify(exchange: Exchange, keepings: Iterable[Keeping]) -> None:
    """Find out who asks, if plans keep responses for one user.

    Args:
        exchange: Told who it is.
        keepings: For whom the plans keep responses.
    """
    for per in {keeping.per for keeping in keepings}:
        if per is not None:
            exchange.identified(per, _asked(per, exchange.native))


async def identify_async(exchange: Exchange, keepings: Iterable[Keeping]) -> None:
    """The same on an event loop; the functions run in the thread of synchronous views, as users need a database."""
    for per in {keeping.per for keeping in keepings}:
        if per is not None:
            exchange.identified(per, await sync_to_async(_asked)(per, exchange.native))


def _asked(per: Per, request: HttpRequest) -> str:
    function: Any = per
    return ask(async_to_sync(function) if iscoroutinefunction(per) else per, request)  # pyright: ignore[reportDeprecated]
