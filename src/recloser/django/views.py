"""What a view is made of: the guards on it, and its own function inside everything that checks access."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from types import FunctionType
from typing import Any, NamedTuple

from django.views import View

from recloser.django.layers import closed_over, innermost, inside, module_of, stranger
from recloser.http.guarded import Guarded, guards_of

_OF_A_CLASS = View.as_view().__code__


def view_guards(view: object, method: str) -> tuple[Guarded, ...]:
    """Return the guards on a view function, or on the class behind it and its handler of a method."""
    found = list(guards_of(view))
    behind, handler = _behind(view, method)
    for name in ("dispatch", handler):
        found += guards_of(getattr(behind, name, None))
    return tuple(dict.fromkeys(found))


class Above(NamedTuple):
    """A guard that stands above what may check access.

    Attributes:
        guarded: The guard.
        place: The method that it is on.
        stranger: What may check access.
    """

    guarded: Guarded
    place: str
    stranger: object


def guards_above_checks(view: object) -> Iterator[Above]:
    """Find such guards on the handlers of the class behind a view."""
    behind, _ = _behind(view, "")
    methods: list[str] = getattr(behind, "http_method_names", [])
    for _, name in (_behind(view, method) for method in methods):
        layer: object = getattr(behind, name, None)
        place = f"{getattr(behind, '__module__', '')}.{getattr(behind, '__qualname__', '')}.{name}"
        guards = guards_of(getattr(behind, "dispatch", None))
        while layer is not None:
            yield from (Above(guarded, place, found) for guarded in guards if (found := stranger(layer)))
            inner = inside(layer)
            guards = guards_of(layer)[: len(guards_of(layer)) - len(guards_of(inner))]
            layer = inner


def passed_through(error: BaseException, view: object, method: str) -> bool:
    """Tell whether an exception came out of a view's own function, rather than out of what stands around it.

    Decorators, mixins and an API's permissions check access before they call that.
    """
    function = innermost(_own(view, method))
    return function is not None and any(
        frame.f_code is function.__code__ for frame, _ in traceback.walk_tb(error.__traceback__)
    )


def checks_nothing_outside(view: object, method: str) -> bool:
    """Tell whether nothing that may check access stands around a view's own function: all comes out of itself."""
    behind, _ = _behind(view, method)
    if behind is None:
        return stranger(view) is None
    return (
        isinstance(view, FunctionType)
        and view.__code__ is _OF_A_CLASS
        and getattr(behind, "setup", None) is View.setup
        and stranger(getattr(behind, "dispatch", None)) is None
        and innermost(getattr(behind, "dispatch", None)) is View.dispatch
        and stranger(_own(view, method)) is None
    )


def _own(view: object, method: str) -> object:
    behind, handler = _behind(view, method)
    if behind is not None:
        return getattr(behind, handler, None) or getattr(behind, "get", None)
    if module_of(view) != "ninja.operation":
        return view
    paths: list[Any] = [cell for cell in closed_over(view) if hasattr(cell, "operations")]
    operations = (operation for path in paths for operation in path.operations)
    return next((one.view_func for one in operations if method.upper() in one.methods), None)


def _behind(view: object, method: str) -> tuple[object, str]:
    actions: dict[str, str] = getattr(view, "actions", None) or {}
    return getattr(view, "view_class", None) or getattr(view, "cls", None), actions.get(method, method)
