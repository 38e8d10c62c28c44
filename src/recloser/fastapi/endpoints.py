"""A guard around an endpoint, of whichever kind that is."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from recloser.fastapi.present import present
from recloser.http.guarded import GUARDS, Guarded, guards_of
from recloser.http.wrapping import around_coroutine, around_function, before_stream

P = ParamSpec("P")
R = TypeVar("R")


def around(guarded: Guarded, endpoint: Callable[P, R], *, access_checked: bool = True) -> Callable[P, R]:
    """Wrap an endpoint, sync, async or a stream.

    Args:
        guarded: The guard.
        endpoint: What it guards.
        access_checked: Whoever comes to call it has passed all checks of access.
    """
    kind: Any = endpoint if inspect.isroutine(endpoint) else type(endpoint).__call__
    wrap: Any = around_function
    if inspect.iscoroutinefunction(kind):
        wrap = around_coroutine
    elif inspect.isgeneratorfunction(kind) or inspect.isasyncgenfunction(kind):
        wrap = before_stream
    wrapper: Callable[P, R] = wrap(guarded, present, endpoint, access_checked=access_checked)
    setattr(wrapper, GUARDS, (guarded, *guards_of(endpoint)))
    return wrapper
