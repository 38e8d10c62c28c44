"""`registry` and `breaker(name)`: always those of the present settings, and built when they are first used."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, Final, ParamSpec, TypeVar, cast

from asgiref.sync import iscoroutinefunction
from django.utils.functional import LazyObject

from recloser.core.breaker import CircuitBreaker
from recloser.core.fallback import On
from recloser.django import conf
from recloser.registry import Registry

P = ParamSpec("P")
R = TypeVar("R")

NAMES_ASKED_FOR: Final[dict[str, object]] = {}  # by the place where it is asked for


class LazyRegistry(LazyObject):  # type: ignore[type-arg] # pyright: ignore[reportMissingTypeArgument]
    """Stands for the registry of the present settings."""

    @property
    def _wrapped(self) -> Registry:
        return conf.installation().registry

    def __repr__(self) -> str:
        return "<recloser.django.registry>"

    def expect(self, name: str, place: str) -> None:
        """Have the checks look whether there is a breaker of this name.

        Args:
            name: The breaker's.
            place: Where it is named, for the check's message.
        """
        NAMES_ASKED_FOR[place] = name


class LazyBreaker(LazyObject):  # type: ignore[type-arg] # pyright: ignore[reportMissingTypeArgument]
    """Stands for a breaker of the present settings. What it decorates asks that one at every call."""

    def __init__(self, name: str) -> None:
        self.__dict__["_name"] = name
        super().__init__()

    @property
    def _wrapped(self) -> CircuitBreaker:
        return conf.installation().registry[self.__dict__["_name"]]

    def __repr__(self) -> str:
        return f"breaker({self.__dict__['_name']!r})"

    def __call__(self, function: Callable[P, R], /) -> Callable[P, R]:
        """Protect a function."""
        return self._late(function, lambda breaker: breaker(function))

    def protect(self, *, fallback: object, on: On = "open") -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Protect a function, and answer in its place; as `CircuitBreaker.protect`."""
        return lambda function: self._late(
            function, lambda breaker: breaker.protect(fallback=fallback, on=on)(function)
        )

    def _late(
        self, function: Callable[P, R], protect: Callable[[CircuitBreaker], Callable[P, R]]
    ) -> Callable[P, R]:
        found: tuple[CircuitBreaker | None, Callable[P, R]] = None, function

        def protected() -> Callable[P, R]:
            nonlocal found
            breaker, made = found
            if breaker is not self._wrapped:
                breaker = self._wrapped
                made = protect(breaker)
                found = breaker, made
            return made

        if iscoroutinefunction(function):  # pyright: ignore[reportDeprecated]

            @wraps(function)
            async def coroutine(*args: P.args, **kwargs: P.kwargs) -> object:
                return await cast("Callable[P, Awaitable[object]]", protected())(*args, **kwargs)

            return cast("Callable[P, R]", coroutine)

        if not inspect.isroutine(function):
            raise TypeError(f"{self!r} protects functions and methods, not {function!r}")

        @wraps(function)
        def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
            return protected()(*args, **kwargs)

        return wrapper


registry: Final = cast("Registry", LazyRegistry())


def breaker(name: str) -> CircuitBreaker:
    """Stand for a breaker, also in modules that are imported before the settings are known.

    Args:
        name: The breaker's; `manage.py check` reports unknown ones.

    Raises:
        TypeError: It is no name.
    """
    if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance] - settings may hold anything
        raise TypeError(f"a breaker's name must be a str, such as 'payments', got {name!r}")
    NAMES_ASKED_FOR[f"breaker({name!r})"] = name
    lazy: Any = LazyBreaker(name)
    return cast("CircuitBreaker", lazy)


def breaker_of_setting(name: object) -> CircuitBreaker:
    """Stand for a breaker that another setting names: the checks look there, so that nothing is raised here."""
    lazy: Any = LazyBreaker(name if isinstance(name, str) else repr(name))
    return cast("CircuitBreaker", lazy)
