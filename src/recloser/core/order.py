"""The order of breaker and retry: a breaker around a retry sees one failure where its dependency saw many."""

from __future__ import annotations

from functools import partial
from types import FunctionType, MethodType
from typing import Final

# Whose wrappers are known by the module that their code lies in: they carry no common mark.
RETRY_LIBRARIES: Final = frozenset({"backoff", "retrying", "stamina", "tenacity"})
DEEPEST: Final = 32
REMEMBERED: Final = 1024

_warned: set[tuple[str, str]] = set()


def check(breaker: str, target: object) -> None:
    """Warn, once for each breaker and function, if `target` is a retried function.

    Args:
        breaker: The name of the breaker that is put around it.
        target: What is decorated.
    """
    library = _retries(target)
    if library is None:
        return
    name = f"{getattr(target, '__module__', '')}.{getattr(target, '__qualname__', target)}"
    if (breaker, name) in _warned or len(_warned) >= REMEMBERED:
        return
    _warned.add((breaker, name))
    import warnings  # noqa: PLC0415 - rare

    warnings.warn(
        f"breaker {breaker!r} is wrapped around {library}'s retries of {name}: it counts one failure for all their "
        "attempts, and an open circuit cannot end them. Put the retry outside and the breaker inside: "
        f"the {library} decorator above, @breaker below it, next to the function",
        stacklevel=5,  # whoever decorates
    )


def _retries(target: object) -> str | None:
    """Return the library whose retry wrapper `target` is, or wraps."""
    for _ in range(DEEPEST):
        if isinstance(target, partial):
            target = target.func  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        elif isinstance(target, MethodType):
            target = target.__func__
        else:
            if isinstance(target, FunctionType):
                module = target.__globals__.get("__name__")
                library = module.partition(".")[0] if isinstance(module, str) else ""
                if library in RETRY_LIBRARIES:
                    return library
            target = getattr(target, "__wrapped__", None)
        if target is None:
            return None
    return None
