"""Who asks: what names the partitions of a guard's plan is a dependency of the routes that it guards.

FastAPI solves it with all others of the route, once per request, and after them: access comes first.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import wraps
from inspect import Parameter, Signature
from typing import Annotated, Any, Final, ParamSpec, TypeAlias, TypeVar, cast

from fastapi import Depends

from recloser.fastapi.present import present
from recloser.http.exchange import Exchange
from recloser.http.keeping import Per, partition

P = ParamSpec("P")
R = TypeVar("R")

# Names of parameters to the dependencies that they ask for.
Asked: TypeAlias = Mapping[str, Per]

PREFIX: Final = "recloser_per_"


def asked(pers: Iterable[Per], signature: Signature) -> Asked:
    """Choose the names of parameters that a signature does not have yet."""
    taken = sum(name.startswith(PREFIX) for name in signature.parameters)
    return {f"{PREFIX}{taken + index}": per for index, per in enumerate(pers)}


def asking(signature: Signature, asked: Asked) -> Signature:
    """Add the parameters to a signature, for FastAPI to read."""
    own = list(signature.parameters.values())
    added = [
        Parameter(name, Parameter.KEYWORD_ONLY, annotation=Annotated[Any, Depends(per)])
        for name, per in asked.items()
    ]
    end = len(own) - (bool(own) and own[-1].kind is Parameter.VAR_KEYWORD)
    return signature.replace(parameters=[*own[:end], *added, *own[end:]])


def note(exchange: Exchange, asked: Asked, found: dict[str, Any]) -> None:
    """Tell a request who asks, and take that out of what was found; Starlette's own routes find nothing."""
    for name, per in asked.items():
        if name in found:
            exchange.identified(per, partition(per, found.pop(name)))


def identifying(guarded: object, wrapper: Callable[P, R], pers: Iterable[Per]) -> Callable[P, R]:
    """Let a guarded endpoint depend on what names its partitions.

    Args:
        guarded: Its guard, for messages.
        wrapper: The guarded endpoint.
        pers: What names the partitions.
    """
    signature = inspect.signature(wrapper)
    names = asked(pers, signature)

    if inspect.iscoroutinefunction(wrapper):

        @wraps(wrapper)
        async def coroutine(*args: Any, **kwargs: Any) -> object:
            note(present(guarded), names, kwargs)
            return await cast("Callable[..., Awaitable[object]]", wrapper)(*args, **kwargs)

        identifies: Any = coroutine
    else:

        @wraps(wrapper)
        def function(*args: Any, **kwargs: Any) -> object:
            note(present(guarded), names, kwargs)
            return cast("Callable[..., object]", wrapper)(*args, **kwargs)

        identifies = function
    identifies.__signature__ = asking(signature, names)
    identifies.__wrapped__ = cast("Any", wrapper).__wrapped__  # one layer, as of any guard
    return cast("Callable[P, R]", identifies)
