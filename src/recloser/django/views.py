"""What a view is made of: the guards on it, and its own function inside everything that checks access."""

from __future__ import annotations

import inspect
import traceback
from types import FunctionType

from recloser.http.guarded import Guarded, guards_of


def view_guards(view: object, method: str) -> tuple[Guarded, ...]:
    """Return the guards on a view function, or on the class behind it and its handler of a method."""
    found = list(guards_of(view))
    behind, handler = _behind(view, method)
    for name in ("dispatch", handler):
        found += guards_of(getattr(behind, name, None))
    return tuple(dict.fromkeys(found))


def passed_through(error: BaseException, view: object, method: str) -> bool:
    """Tell whether an exception came out of a view's own function, rather than out of what stands around it.

    Decorators, mixins and an API's permissions check access before they call that.
    """
    behind, handler = _behind(view, method)
    own = view if behind is None else getattr(behind, handler, None) or getattr(behind, "get", None)
    code: object = getattr(inspect.unwrap(own), "__code__", None) if callable(own) else None
    return code is not None and any(
        frame.f_code is code for frame, _ in traceback.walk_tb(error.__traceback__)
    )


def checks_nothing_outside(view: object) -> bool:
    """Tell whether a view is a plain function without decorators, so that whatever it answers comes out of itself."""
    return (
        isinstance(view, FunctionType) and not hasattr(view, "__wrapped__") and _behind(view, "")[0] is None
    )


def _behind(view: object, method: str) -> tuple[object, str]:
    actions: dict[str, str] = getattr(view, "actions", None) or {}
    return getattr(view, "view_class", None) or getattr(view, "cls", None), actions.get(method, method)
