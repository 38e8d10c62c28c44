"""What a view is made of: the guards on it, and its own function inside everything that checks access."""

from __future__ import annotations

import traceback
from types import FunctionType
from typing import Any

from django.views import View

from recloser.django.layers import closed_over, innermost, module_of, stranger
from recloser.http.guarded import Guarded, guards_of

_OF_A_CLASS = View.as_view().__code__


def view_guards(view: object, method: str) -> tuple[Guarded, ...]:
    """Return the guards on a view function, or on the class behind it and its handler of a method."""
    found = list(guards_of(view))
    behind, handler = behind_of(view, method)
    for name in ("dispatch", handler):
        found += guards_of(getattr(behind, name, None))
    return tuple(dict.fromkeys(found))


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
    behind, _ = behind_of(view, method)
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
    behind, handler = behind_of(view, method)
    if behind is not None:
        return getattr(behind, handler, None) or getattr(behind, "get", None)
    if module_of(view) != "ninja.operation":
        return view
    paths: list[Any] = [cell for cell in closed_over(view) if hasattr(cell, "operations")]
    operations = (operation for path in paths for operation in path.operations)
    return next((one.view_func for one in operations if method.upper() in one.methods), None)


def behind_of(view: object, method: str) -> tuple[object, str]:
    """Return the class behind a view, if there is one, and the name of its handler of a method."""
    actions: dict[str, str] = getattr(view, "actions", None) or {}
    return getattr(view, "view_class", None) or getattr(view, "cls", None), actions.get(method, method)
