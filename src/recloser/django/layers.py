"""What stands around a view's own function, and whether that may check access."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from types import FunctionType, MethodType
from typing import Final, cast

# Decorators whose code is in these modules check nothing, nor does what these modules' classes do as decorators.
_CHECKS_NOTHING: Final = frozenset(
    {
        "django.db.transaction",
        "django.middleware.cache",
        "django.middleware.gzip",
        "django.middleware.http",
        "django.utils.timezone",
        "django.utils.translation",
        "django.views.decorators.cache",
        "django.views.decorators.clickjacking",
        "django.views.decorators.common",
        "django.views.decorators.csp",
        "django.views.decorators.csrf",
        "django.views.decorators.debug",
        "django.views.decorators.http",
        "django.views.decorators.vary",
        "recloser.django.guards",
        "recloser.http.wrapping",
    }
)
# But this one calls functions of the project's.
_CALLS_OTHERS: Final = ("django.views.decorators.http", "condition")
# Where the wrappers are made that leave it to another object what is done.
_METHOD_DECORATOR: Final = ("django.utils.decorators", "_multi_decorate")
_OF_MIDDLEWARE: Final = ("django.utils.decorators", "make_middleware_decorator")
_OF_CONTEXT_MANAGER: Final = ("contextlib", "ContextDecorator")


def inside(layer: object) -> object | None:
    """Return what a function, a method or a partial stands around; `None` for the innermost."""
    if isinstance(layer, MethodType):
        return layer.__func__
    if isinstance(layer, partial):
        return cast("Callable[..., object]", layer.func)
    if module_of(layer) == "rest_framework.decorators":  # `@api_view` makes a handler of the function
        return next(filter(_is_function, closed_over(layer)), None)
    return _wrapped(layer)


def innermost(view: object) -> FunctionType | None:
    """Return a view's own function; `None` if it cannot be told, as where a decorator hides it."""
    while (inner := inside(view)) is not None:
        view = inner
    return view if isinstance(view, FunctionType) and not _may_call_another(view) else None


def stranger(view: object) -> object | None:
    """Find the outermost layer that may check access before the view's own function runs.

    Guards check nothing, nor do Django's decorators that only mark, cache or vary an answer. Any other may, and so may
    a function that was made around another without saying so (`functools.wraps`).

    Returns:
        The layer; `None` if nothing does.
    """
    while (inner := inside(view)) is not None:
        if not _checks_nothing(view, inner):
            return view
        view = inner
    return None if isinstance(view, FunctionType) and not _may_call_another(view) else view


def listed(layer: object) -> list[Callable[..., object]]:
    """Return the decorators that `method_decorator` puts around a method, outermost first."""
    if not isinstance(layer, FunctionType) or _made_by(layer) != _METHOD_DECORATOR:
        return []
    for cell in closed_over(layer):
        if isinstance(cell, list | tuple):
            return list(cast("Iterable[Callable[..., object]]", cell))[::-1]
    return []


def stranger_listed(decorators: Iterable[Callable[..., object]]) -> object | None:
    """Find the first decorator's layer that may check access; `None` if none does."""
    others = (decorate for decorate in decorators if type(decorate).__module__ not in _CHECKS_NOTHING)
    return next((found for decorate in others if (found := stranger(decorate(_dummy)))), None)


def name_of(layer: object) -> str:
    """Name a layer for messages: by the decorator that made it."""
    if not isinstance(layer, FunctionType):
        return repr(layer)
    return f"{module_of(layer)}.{layer.__code__.co_qualname.partition('.<locals>')[0]}"


def _made_by(layer: FunctionType) -> tuple[str, str]:
    return module_of(layer), layer.__code__.co_qualname.partition(".")[0]


def _wrapped(layer: object) -> object | None:
    return getattr(layer, "__wrapped__", None)


def _checks_nothing(layer: object, inner: object) -> bool:
    if isinstance(layer, MethodType):
        return True
    if isinstance(layer, partial):
        # `method_decorator` makes one of a method; the method of another object may do anything.
        whole = cast("object", layer)
        return not isinstance(inner, MethodType) or _wrapped(whole) is inner.__func__
    cells = list(closed_over(layer))
    if not isinstance(layer, FunctionType) or not any(cell is inner for cell in cells):
        return False  # what it really calls is another
    made_by = _made_by(layer)
    if made_by == _METHOD_DECORATOR:
        return stranger_listed(listed(layer)) is None
    if made_by == _OF_MIDDLEWARE:
        cells = [cell for function in cells if function is not inner for cell in closed_over(function)]
    elif made_by != _OF_CONTEXT_MANAGER:
        return made_by[0] in _CHECKS_NOTHING and made_by != _CALLS_OTHERS
    acting = [cell for cell in cells if cell is not inner and not isinstance(cell, FunctionType)]
    return bool(acting) and all(type(cell).__module__ in _CHECKS_NOTHING for cell in acting)


def _may_call_another(function: FunctionType) -> bool:
    return module_of(function) == "ninja.operation" or any(map(_is_function, closed_over(function)))


def closed_over(function: object) -> Iterator[object]:
    """Go through what a function took from around its definition."""
    for cell in getattr(function, "__closure__", None) or ():
        with suppress(ValueError):  # it is empty
            yield cell.cell_contents


def module_of(function: object) -> str:
    """Return where a function's code is: `functools.wraps` names it after what it stands around."""
    return function.__globals__.get("__name__", "") if isinstance(function, FunctionType) else ""


def _is_function(value: object) -> bool:
    return callable(value) and not isinstance(value, type)


def _dummy(request: object) -> None:
    """As `method_decorator` itself does, to see what a decorator makes of a function."""
