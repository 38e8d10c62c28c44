"""What a guard makes of a function, whichever framework calls it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import ParamSpec, TypeAlias, TypeVar

from recloser.http.guarded import Guarded, guards_of
from recloser.http.holder import Holder

P = ParamSpec("P")
R = TypeVar("R")

# Finds the present request for a guard, or raises what is to be done about there being none.
Present: TypeAlias = Callable[[Guarded], Holder]


def around_coroutine(
    guarded: Guarded, present: Present, function: Callable[P, Awaitable[R]], *, access_checked: bool = True
) -> Callable[P, Awaitable[R]]:
    """Wrap a coroutine function: it runs only while the breaker lets it, and its outcome counts.

    Args:
        guarded: The guard.
        present: Finds the request.
        function: What is guarded.
        access_checked: Whoever comes to call it has passed all checks of access.
    """

    @wraps(function)
    async def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        holder = present(guarded)
        hold = guarded.enter(holder, access_checked=access_checked)
        if hold is None:
            return await function(*args, **kwargs)
        try:
            result = await function(*args, **kwargs)
        except BaseException as error:
            holder.raised(hold, error)
            raise
        if hold.terms.judges_results:
            holder.returned(hold, result)
        return result

    return wrapper


def around_function(
    guarded: Guarded, present: Present, function: Callable[P, R], *, access_checked: bool = True
) -> Callable[P, R]:
    """Wrap a plain function; arguments as for `around_coroutine`."""

    @wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        holder = present(guarded)
        hold = guarded.enter(holder, access_checked=access_checked)
        if hold is None:
            return function(*args, **kwargs)
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            holder.raised(hold, error)
            raise
        if hold.terms.judges_results:
            holder.returned(hold, result)
        return result

    return wrapper


def before_stream(
    guarded: Guarded, present: Present, function: Callable[P, R], *, access_checked: bool = True
) -> Callable[P, R]:
    """Wrap a function that makes a stream; arguments as for `around_coroutine`.

    The breaker is asked when the stream is made: once it is read, the response has started. How it ends is for
    whoever watches the response.
    """

    @wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        guarded.enter(present(guarded), access_checked=access_checked)
        return function(*args, **kwargs)

    return wrapper


def layers(function: Callable[..., object]) -> list[Callable[..., object]]:
    """Return a function and what its decorators wrap, outermost first."""
    found = [function]
    while (inner := getattr(found[-1], "__wrapped__", None)) is not None:
        found.append(inner)
    return found


def is_bare(function: Callable[..., object]) -> bool:
    """Tell whether nothing but guards decorates a function: no decorator of others, then, checks access."""
    return len(layers(function)) == len(guards_of(function)) + 1
