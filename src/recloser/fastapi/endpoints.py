"""A guard around an endpoint, of whichever kind that is."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, Final, ParamSpec, TypeVar, cast

from recloser.fastapi.present import present
from recloser.http.exchange import present_exchange
from recloser.http.guarded import GUARDS, Guarded, guards_of
from recloser.http.responder import Responder
from recloser.http.wrapping import around_coroutine, around_function, before_stream

P = ParamSpec("P")
R = TypeVar("R")

_GUARDED: Final = "__recloser_guarded__"  # an endpoint, as `ROUTES` of each application has it


def around(guarded: Guarded, endpoint: Callable[P, R], *, access_checked: bool = True) -> Callable[P, R]:
    """Wrap an endpoint, sync, async or a stream.

    Args:
        guarded: The guard.
        endpoint: What it guards.
        access_checked: Whoever comes to call it has passed all checks of access.
    """
    kind = _kind(endpoint)
    wrap: Any = around_function
    if inspect.iscoroutinefunction(kind):
        wrap = around_coroutine
    elif inspect.isgeneratorfunction(kind) or inspect.isasyncgenfunction(kind):
        wrap = before_stream
    wrapper: Callable[P, R] = wrap(guarded, present, endpoint, access_checked=access_checked)
    setattr(wrapper, GUARDS, (guarded, *guards_of(endpoint)))
    return wrapper


def around_in(
    responder: Responder,
    guards: Sequence[Guarded],
    endpoint: Callable[..., Any],
    *,
    access_checked: bool = True,
) -> Callable[..., Any]:
    """Wrap an endpoint for the requests of one application: to others that mount it too, it stays as they have it.

    Args:
        responder: Of the application.
        guards: Outermost first.
        endpoint: What they guard.
        access_checked: As for `around`.

    Returns:
        The endpoint itself, if it was wrapped for an application before.
    """
    choosing: Any = endpoint if hasattr(endpoint, _GUARDED) else _choosing(endpoint)
    call = choosing.__wrapped__
    for guarded in reversed(guards):
        call = around(guarded, call, access_checked=access_checked)
    getattr(choosing, _GUARDED)[responder] = call
    setattr(choosing, GUARDS, (*guards, *guards_of(choosing)))
    return cast("Callable[..., Any]", choosing)


def _choosing(endpoint: Callable[..., Any]) -> object:
    guarded: dict[Responder, Callable[..., Any]] = {}

    def chosen() -> Callable[..., Any]:
        exchange = present_exchange()
        return endpoint if exchange is None else guarded.get(exchange.responder, endpoint)

    if inspect.iscoroutinefunction(_kind(endpoint)):

        @wraps(endpoint)
        async def coroutine(*args: Any, **kwargs: Any) -> Any:
            return await chosen()(*args, **kwargs)

        choosing: Any = coroutine
    else:

        @wraps(endpoint)
        def function(*args: Any, **kwargs: Any) -> Any:
            return chosen()(*args, **kwargs)

        choosing = function
    setattr(choosing, _GUARDED, guarded)
    return choosing


def _kind(endpoint: Any) -> Any:
    return endpoint if inspect.isroutine(endpoint) else type(endpoint).__call__
