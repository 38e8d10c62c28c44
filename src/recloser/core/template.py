"""The source of the wrappers of functions: made once per shape, holding only what the policy asks for."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import lru_cache
from types import FunctionType, MethodType
from typing import Any, Final, NamedTuple

from recloser.core.errors import CircuitOpenError
from recloser.core.permit import acquire, run, run_async
from recloser.core.scope import current


class Shape(NamedTuple):
    """What a function takes.

    Attributes:
        parameters: As they are declared.
        arguments: What passes them on.
        defaults: Of the last parameters that are not keywords.
        keyword_defaults: Of the others.
    """

    parameters: str
    arguments: str
    defaults: tuple[object, ...] | None = None
    keyword_defaults: dict[str, object] | None = None


ANY_SHAPE: Final = Shape("*args, **kwargs", "*args, **kwargs")

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
{start}{body}\
    return wrapper
"""
_RECORDER: Final = """\
        _rc_record = _rc_machine.recorder
        if _rc_record is None:
"""
_BODY: Final = """\
        try:
            _rc_result = {call}
        except BaseException as _rc_error:
            _rc_driver.failed(_rc_record, _rc_error{started})
            raise
{tail}\
        return _rc_result
"""
_SHEET: Final = """\
        _rc_record = _rc_machine.sheet
        _rc_started = _rc_clock()
        if _rc_started >= _rc_record.until:
"""
# An append to a list costs less than a tick, and a result that stays where it is less than one that is stored.
_SHEET_BODY: Final = """\
        try:
            try:
                return {call}
            except BaseException as _rc_error:
                _rc_sheet, _rc_record = _rc_record, []
                _rc_driver.failed_on_sheet(_rc_sheet, _rc_error, _rc_started)
                raise
        finally:
            _rc_record.append(_rc_clock() - _rc_started)
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
    "returned": "        _rc_driver.returned(_rc_record, _rc_result{started})\n",
}


@lru_cache(maxsize=512)
def maker(
    parameters: str, arguments: str, kind: str, timed: bool, asynchronous: bool
) -> Callable[..., Callable[..., Any]]:
    """Compile what makes wrappers.

    Args:
        parameters: Of the function, as they are declared.
        arguments: What passes them on.
        kind: What is done when the function returns: a key of `_TAILS`, or "noted" on a sheet.
        timed: Whether calls are timed.
        asynchronous: Whether the function is awaited.

    Returns:
        Makes a wrapper of the driver, its machine, the function, the clock, and what notes a duration.
    """
    by_sheet = kind == "noted"
    started = ", _rc_started" if timed else ""
    wait = "await " if asynchronous else ""
    call = f"{wait}_rc_function({arguments})"
    if parameters == ANY_SHAPE.parameters:
        call += f" if kwargs else {wait}_rc_function(*args)"  # passing on no keywords is not free either
    source = _HEAD.format(
        define="async def" if asynchronous else "def",
        wait=wait,
        run="_rc_run_async" if asynchronous else "_rc_run",
        parameters=parameters,
        arguments=arguments,
        admission=_SHEET if by_sheet else _RECORDER,
        start="        _rc_started = _rc_clock()\n" if timed and not by_sheet else "",
        body=_SHEET_BODY.format(call=call)
        if by_sheet
        else _BODY.format(call=call, started=started, tail=_TAILS[kind].format(started=started)),
    )
    made: dict[str, Callable[..., Callable[..., Any]]] = {}
    exec(compile(source, "<recloser wrapper>", "exec"), _GLOBALS, made)  # noqa: S102 - our template
    return made["make"]


def shape_of(function: Callable[..., Any]) -> Shape:
    """Say what a function takes, as far as that can be spelled here."""
    plain = function.__func__ if isinstance(function, MethodType) else function
    if not isinstance(plain, FunctionType) or any(map(_is_reserved, plain.__code__.co_varnames)):
        return ANY_SHAPE
    code, given = plain.__code__, int(plain is not function)  # a method is given its first argument
    if code.co_argcount < given:
        return ANY_SHAPE
    names = list(code.co_varnames)
    positional = names[given : code.co_argcount]
    keyword = names[code.co_argcount :][: code.co_kwonlyargcount]
    rest = names[code.co_argcount + code.co_kwonlyargcount :]
    parameters, arguments = list(positional), list(positional)
    if code.co_posonlyargcount > given:
        parameters.insert(code.co_posonlyargcount - given, "/")
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
    defaults = (plain.__defaults__ or ())[-len(positional) :] if positional else ()
    return Shape(", ".join(parameters), ", ".join(arguments), defaults, plain.__kwdefaults__)


def _is_reserved(name: str) -> bool:
    return name.startswith("_rc_") or name == "BaseException"  # what the template names itself
