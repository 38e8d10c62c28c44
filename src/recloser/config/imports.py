"""Types, predicates and functions that a declaration names as `"pkg.module:Name"`."""

from __future__ import annotations

import builtins
from importlib import import_module


def load(name: str) -> tuple[object, str]:
    """Import what `name` says.

    Args:
        name: `"pkg.module:Name"`; the part after the colon may be nested (`"pkg.module:Class.method"`).

    Returns:
        The object and `""`, or `None` and how to mend the name.
    """
    module, colon, attribute = name.partition(":")
    if not colon or not _dotted(module) or not _dotted(attribute):
        hint = f' (the builtin: "builtins:{name}")' if hasattr(builtins, name) else ""
        return None, f'must be an object or its name as "pkg.module:Name"{hint}'
    found: object
    try:
        found = import_module(module)
    # Importing runs code of any kind, and a module that ends the process must not hide the other problems.
    except (Exception, SystemExit) as error:
        return None, f"must name something importable ({_told(error)})"
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except Exception as error:
            return None, f"must name something that exists ({_told(error)})"
    return found, ""


def _dotted(text: str) -> bool:
    return all(part.isidentifier() for part in text.split("."))


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".partition("\n")[0].rstrip(": ")
