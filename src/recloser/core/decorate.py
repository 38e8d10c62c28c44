"""Decorators: a wrapper for each kind of function, holding only what the policy asks for.

A plain function gets a wrapper with its own parameters, made once per shape: passing `*args, **kwargs` on would
cost as much as all the rest. Whatever is not a plain function gets the same wrapper with `*args, **kwargs`.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from functools import lru_cache, update_wrapper
from math import inf
from types import CodeType, FunctionType, MethodType
from typing import Any, Final

from recloser.core import order
from recloser.core.driver import Driver
from recloser.core.errors import CircuitOpenError
from recloser.core.permit import Permit, acquire, run, run_async
from recloser.core.scope import current

Function = Callable[..., Any]

ANY_SHAPE: Final = ("*args, **kwargs", "*args, **kwargs")


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
    own = isinstance(function, FunctionType) and not any(map(_is_reserved, function.__code__.co_varnames))
    parameters, arguments = _shape(function.__code__) if own else ANY_SHAPE
    make = _maker(parameters, arguments, _kind(driver), driver.times, asynchronous)
    note = driver.durations.note if driver.durations is not None else None
    wrapper: Function = make(driver, driver.machine, function, driver.clock, note)
    # CPython adapts code to the functions that it calls: wrappers of one shape must not share it.
    wrapper.__code__ = wrapper.__code__.replace()
    if isinstance(function, FunctionType) and own:
        wrapper.__defaults__ = function.__defaults__
        wrapper.__kwdefaults__ = function.__kwdefaults__
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


# Each variable of `make` that the wrapper uses costs time in each call: what is no breaker's own is a global.
_GLOBALS: Final[dict[str, object]] = {
    "__name__": __name__,
    "_rc_acquire": acquire,
    "_rc_run": run,
    "_rc_run_async": run_async,
    "_rc_current": current,
    "_rc_CircuitOpenError": CircuitOpenError,
}
_HEAD: Final = """\
def make(_rc_driver, _rc_machine, _rc_function, _rc_clock, _rc_note):
    {define} wrapper({parameters}):
{admission}            _rc_now = _rc_driver.clock()
            _rc_refusal = _rc_driver.refusal(_rc_now, _rc_current.get())
            if _rc_refusal is not None:
                raise _rc_CircuitOpenError(_rc_refusal, _rc_now)
            return {wait}{run}(_rc_acquire(_rc_driver), _rc_function, {arguments})
{start}\
        try:
            _rc_result = {call}
        except BaseException as _rc_error:
            _rc_driver.{failed}(_rc_record, _rc_error{started})
            raise
{tail}\
        return _rc_result
    return wrapper
"""
_RECORDER: Final = """\
        _rc_record = _rc_machine.recorder
        if _rc_record is None:
"""
_SHEET: Final = """\
        _rc_record = _rc_machine.sheet
        _rc_started = _rc_clock()
        if _rc_started >= _rc_record[0]:
"""
_TAILS: Final = {
    "tick": "        _rc_record()\n",
    "rolling": """\
        if _rc_clock() < _rc_machine.next_look:
            _rc_record()
        else:
            _rc_driver.succeeded(_rc_record)
""",
    "timed": """\
        _rc_now = _rc_clock()
        if _rc_now < _rc_machine.next_look and _rc_now - _rc_started < _rc_driver.slow_after:
            _rc_record()
        else:
            _rc_driver.succeeded(_rc_record, _rc_started, _rc_now)
""",
    "measured": """\
        _rc_now = _rc_clock()
        if _rc_now < _rc_machine.next_look:
            _rc_record()
            _rc_note(_rc_now - _rc_started)
        else:
            _rc_driver.succeeded(_rc_record, _rc_started, _rc_now)
""",
    "timed and measured": """\
        _rc_now = _rc_clock()
        _rc_took = _rc_now - _rc_started
        if _rc_now < _rc_machine.next_look and _rc_took < _rc_driver.slow_after:
            _rc_record()
            _rc_note(_rc_took)
        else:
            _rc_driver.succeeded(_rc_record, _rc_started, _rc_now)
""",
    "noted": "        _rc_record.append(_rc_clock() - _rc_started)\n",  # of a list it costs less than a tick
    "returned": "        _rc_driver.returned(_rc_record, _rc_result{started})\n",
}


@lru_cache(maxsize=512)
def _maker(parameters: str, arguments: str, kind: str, timed: bool, asynchronous: bool) -> Function:
    by_sheet = kind == "noted"
    started = ", _rc_started" if timed else ""
    wait = "await " if asynchronous else ""
    call = f"{wait}_rc_function({arguments})"
    if (parameters, arguments) == ANY_SHAPE:
        call += f" if kwargs else {wait}_rc_function(*args)"  # passing on no keywords is not free either
    source = _HEAD.format(
        define="async def" if asynchronous else "def",
        wait=wait,
        run="_rc_run_async" if asynchronous else "_rc_run",
        call=call,
        parameters=parameters,
        arguments=arguments,
        admission=_SHEET if by_sheet else _RECORDER,
        start="        _rc_started = _rc_clock()\n" if timed and not by_sheet else "",
        failed="failed_on_sheet" if by_sheet else "failed",
        started=started,
        tail=_TAILS[kind].format(started=started),
    )
    made: dict[str, Function] = {}
    exec(compile(source, "<recloser wrapper>", "exec"), _GLOBALS, made)  # noqa: S102 - our template
    return made["make"]


def _is_reserved(name: str) -> bool:
    return name.startswith("_rc_") or name == "BaseException"  # the names that the template uses itself


def _shape(code: CodeType) -> tuple[str, str]:
    """Spell a function's parameters, and the arguments that pass them on. Defaults are set afterwards."""
    names = list(code.co_varnames)
    positional = names[: code.co_argcount]
    keyword = names[code.co_argcount :][: code.co_kwonlyargcount]
    rest = names[code.co_argcount + code.co_kwonlyargcount :]
    parameters, arguments = list(positional), list(positional)
    if code.co_posonlyargcount:
        parameters.insert(code.co_posonlyargcount, "/")
    if code.co_flags & inspect.CO_VARARGS:
        star = f"*{rest.pop(0)}"
        parameters.append(star)
        arguments.append(star)
    elif keyword:
        parameters.append("*")
    parameters += keyword
    arguments += [f"{name}={name}" for name in keyword]
    if code.co_flags & inspect.CO_VARKEYWORDS:
        double = f"**{rest.pop(0)}"
        parameters.append(double)
        arguments.append(double)
    return ", ".join(parameters), ", ".join(arguments)


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
