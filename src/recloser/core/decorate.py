"""Decorators: a wrapper for each kind of function, holding only what the policy asks for.

A plain function or method gets a wrapper with its own parameters, made once per shape: passing `*args, **kwargs`
on would cost as much as all the rest. Whatever else can be called gets the same wrapper with `*args, **kwargs`.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from functools import update_wrapper
from math import inf
from types import FunctionType, MethodType
from typing import Any

from recloser.core import order
from recloser.core.driver import Driver
from recloser.core.permit import Permit, acquire
from recloser.core.template import ANY_SHAPE, maker, shape_of

Function = Callable[..., Any]


def decorate(driver: Driver, target: object) -> object:
    """Wrap a function, static method or class method.

    Args:
        driver: Of the breaker that guards the calls.
        target: What to wrap.

    Raises:
        TypeError: `target` cannot be protected.
    """
    if isinstance(target, staticmethod | classmethod):
        return type(target)(decorate(driver, target.__func__))  # type: ignore[arg-type]
    function = callable_target(driver.name, target)
    if is_kind(inspect.isgeneratorfunction, function):
        wrapper: Function = _generator(driver, function)
    elif is_kind(inspect.isasyncgenfunction, function):
        wrapper = _async_generator(driver, function)
    elif is_kind(inspect.iscoroutinefunction, function):
        wrapper = _plain(driver, function, asynchronous=True)
    else:
        wrapper = _plain(driver, function, asynchronous=False)
    return update_wrapper(wrapper, function)


def callable_target(breaker: str, target: object) -> Function:
    """Check that `target` can be protected, and warn if it is a retry.

    Raises:
        TypeError: It is a class or no callable; says what to decorate instead.
    """
    if isinstance(target, type):
        raise TypeError(
            f"breaker {breaker!r} cannot protect the class {target.__name__}: decorate the methods that call "
            "the dependency"
        )
    if isinstance(target, property):
        raise TypeError(
            f"breaker {breaker!r} cannot protect a property: decorate its function, below @property"
        )
    if not callable(target):
        raise TypeError(f"breaker {breaker!r} protects functions, got {target!r}")
    order.check(breaker, target)
    return target


def is_kind(test: Callable[[object], bool], function: Function) -> bool:
    """Apply one of `inspect`'s tests for functions, also to objects that are called like one."""
    return test(function) or test(type(function).__call__)


def _plain(driver: Driver, function: Function, *, asynchronous: bool) -> Function:
    called = type(function).__call__
    if isinstance(called, FunctionType):
        function = MethodType(called, function)  # called faster than the object itself
    shape = shape_of(function)
    make = maker(shape.parameters, shape.arguments, _kind(driver), driver.times, asynchronous)
    note = driver.durations.note if driver.durations is not None else None
    wrapper: Function = make(driver, driver.machine, function, driver.clock, note)
    # CPython adapts code to the functions that it calls: wrappers of one shape must not share it.
    wrapper.__code__ = wrapper.__code__.replace()
    wrapper.__defaults__, wrapper.__kwdefaults__ = shape.defaults, shape.keyword_defaults
    if shape is not ANY_SHAPE:
        wrapper.__qualname__ = function.__qualname__  # wrong arguments are refused under this name
    return wrapper


def _kind(driver: Driver) -> str:
    if driver.policy.failure_if is not None:
        return "returned"
    if not driver.times:
        return "rolling" if driver.rolls else "tick"
    if driver.durations is None:
        return "timed"
    if driver.slow_after < inf:
        return "timed and measured"
    return "measured" if driver.rolls else "noted"


def _generator(driver: Driver, function: Function) -> Function:
    def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        permit = acquire(driver)
        try:
            stream: Generator[Any, Any, Any] = function(*args, **kwargs)
            result = yield from (_FirstItem(stream, permit) if driver.times else stream)
        except BaseException as error:
            permit.finish(error)
            raise
        permit.success()
        return result

    return wrapper


class _FirstItem(Generator[Any, Any, Any]):
    """Passes a stream on, noting when items come: the time between them is the consumer's, not the stream's."""

    __slots__ = ("_permit", "_stream")

    def __init__(self, stream: Generator[Any, Any, Any], permit: Permit) -> None:
        self._stream = stream
        self._permit = permit

    def send(self, value: Any, /) -> Any:
        item = self._stream.send(value)
        self._permit.answered()
        return item

    def throw(self, *error: Any) -> Any:
        return self._stream.throw(*error)


def _async_generator(driver: Driver, function: Function) -> Function:
    async def wrapper(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        permit = acquire(driver)
        try:
            stream = function(*args, **kwargs)
            try:
                item = await anext(stream)
                while True:
                    permit.answered()
                    try:
                        sent = yield item
                    except GeneratorExit:
                        raise
                    except BaseException as thrown:
                        item = await stream.athrow(thrown)
                    else:
                        item = await stream.asend(sent)
            except StopAsyncIteration:
                pass
            finally:
                await stream.aclose()
        except BaseException as error:
            permit.finish(error)
            raise
        permit.success()

    return wrapper
