"""What a call answers instead when its circuit is open: a value, a function of the error, the last good result."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from datetime import timedelta
from functools import update_wrapper
from typing import Any, Final, Generic, Literal, NamedTuple, ParamSpec, Protocol, TypeVar, cast, overload

from recloser.core import living
from recloser.core.decorate import Function, callable_target, is_kind
from recloser.core.driver import Driver
from recloser.core.errors import CallRejectedError, ConfigurationError, FailedResultError, Problem
from recloser.core.outcome import Outcome
from recloser.core.permit import acquire
from recloser.core.scope import current

P = ParamSpec("P")
R = TypeVar("R")
A_co = TypeVar("A_co", covariant=True)
On = Literal["open", "failure"]
NO_ANSWER: Final = object()


class LastGood(NamedTuple):
    """The latest good result for the same arguments; see `last_good`."""

    max_age: float
    max_entries: int


class CallFallback(ABC, Generic[A_co]):
    """A fallback that is told of the call that it answers for."""

    @abstractmethod
    def answer(self, error: Any, args: tuple[object, ...], kwargs: dict[str, object]) -> A_co:
        """Answer a call, or raise `error` if it cannot be answered.

        Args:
            error: The refusal, or the counted failure.
            args: The call's positional arguments.
            kwargs: Its keyword arguments.
        """

    @abstractmethod
    async def answer_async(self, error: Any, args: tuple[object, ...], kwargs: dict[str, object]) -> A_co:
        """Answer a call of a coroutine function, without holding its event loop up; else as `answer`."""


class Answering(Protocol[A_co]):
    """A decorator of functions that then may also return what a fallback answers."""

    @overload
    def __call__(
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> Callable[P, Coroutine[Any, Any, R | A_co]]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Callable[P, R | A_co]: ...


def last_good(max_age: float | timedelta, *, max_entries: int = 1024) -> LastGood:
    """Answer with the latest good result for the same arguments.

    Args:
        max_age: The oldest result that may answer (seconds).
        max_entries: Results kept per decorated function; the least recently made go first. Arguments (`self`
            too) and results are kept alive as long. Calls with unhashable arguments are not remembered.

    Raises:
        ConfigurationError: A limit is not positive.
    """
    seconds = max_age.total_seconds() if isinstance(max_age, timedelta) else max_age
    problems: list[Problem] = []
    if not seconds > 0:
        problems.append(Problem("max_age", repr(max_age), "must be a positive number of seconds"))
    if max_entries < 1:
        problems.append(Problem("max_entries", repr(max_entries), "must be a whole number, at least 1"))
    if problems:
        raise ConfigurationError(problems)
    return LastGood(seconds, max_entries)


def protect(driver: Driver, target: object, fallback: object, on: On) -> object:
    """Wrap a function so that `fallback` answers when its circuit is open, or also when it fails.

    Args:
        driver: Of the breaker that guards the calls.
        target: A function, coroutine function, static or class method.
        fallback: A value, a function of the error, `last_good(...)`, or a `CallFallback`.
        on: `"open"`: only refused calls; `"failure"`: counted failures too.

    Raises:
        TypeError: `target` cannot be protected in this way.
    """
    if isinstance(target, staticmethod | classmethod):
        return type(target)(protect(driver, target.__func__, fallback, on))  # type: ignore[arg-type]
    function = callable_target(driver.name, target)
    if is_kind(inspect.isgeneratorfunction, function) or is_kind(inspect.isasyncgenfunction, function):
        raise TypeError(
            f"breaker {driver.name!r}: a stream such as {function!r} has no fallback; protect what consumes it"
        )
    asynchronous = is_kind(inspect.iscoroutinefunction, function)
    if callable(fallback) and is_kind(inspect.iscoroutinefunction, fallback) and not asynchronous:
        raise TypeError(
            f"breaker {driver.name!r}: {function!r} is not async, so its fallback cannot be: {fallback!r}"
        )
    wrap = _async_wrapper if asynchronous else _wrapper
    return update_wrapper(
        wrap(driver, function, _Answers(driver, fallback, asynchronous=asynchronous), on), function
    )


def _wrapper(driver: Driver, function: Function, answers: _Answers, on: On) -> Function:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            permit = acquire(driver)
        except Exception as error:
            if not isinstance(error, CallRejectedError) and not answers.stand_in(error, on):
                raise
            answer = answers.to(error, args, kwargs)
            if answer is NO_ANSWER:
                raise
            return answer
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            if permit.finish(error) is not Outcome.FAILURE or on == "open":
                raise
            answer = answers.to(error, args, kwargs)
            if answer is NO_ANSWER:
                raise
            return answer
        if permit.returned(result) is not Outcome.FAILURE:
            answers.remember(args, kwargs, result)
        elif on == "failure":
            answer = answers.to(FailedResultError(result), args, kwargs)
            return result if answer is NO_ANSWER else answer
        return result

    return wrapper


def _async_wrapper(driver: Driver, function: Function, answers: _Answers, on: On) -> Function:
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            permit = acquire(driver)
        except Exception as error:
            if not isinstance(error, CallRejectedError) and not answers.stand_in(error, on):
                raise
            answer = answers.to(error, args, kwargs)
            if answer is NO_ANSWER:
                raise
            return await _awaited(answer)
        try:
            result = await function(*args, **kwargs)
        except BaseException as error:
            if permit.finish(error) is not Outcome.FAILURE or on == "open":
                raise
            answer = answers.to(error, args, kwargs)
            if answer is NO_ANSWER:
                raise
            return await _awaited(answer)
        if permit.returned(result) is not Outcome.FAILURE:
            answers.remember(args, kwargs, result)
        elif on == "failure":
            answer = answers.to(FailedResultError(result), args, kwargs)
            return result if answer is NO_ANSWER else await _awaited(answer)
        return result

    return wrapper


async def _awaited(answer: object) -> object:
    return await cast("Awaitable[object]", answer) if isinstance(answer, Awaitable) else answer


class _Answers:
    """One fallback's answers for one function."""

    __slots__ = ("__weakref__", "_asynchronous", "_driver", "_fallback", "_kept")

    def __init__(self, driver: Driver, fallback: object, *, asynchronous: bool) -> None:
        self._asynchronous = asynchronous
        self._driver = driver
        self._fallback = fallback
        self._kept: dict[object, tuple[object, float]] = {}
        living.memories.add(self)

    def stand_in(self, error: Exception, on: On) -> bool:
        """Tell whether to answer for a failure at admission, where tests inject them."""
        return on == "failure" and self._driver.judge.of_error(error) is Outcome.FAILURE

    def to(self, error: BaseException, args: tuple[object, ...], kwargs: dict[str, object]) -> object:
        """Answer a call that was refused or failed; `NO_ANSWER` if there is none."""
        fallback = self._fallback
        if isinstance(fallback, LastGood):
            answer = self._recall(fallback, args, kwargs)
            if answer is NO_ANSWER:
                return NO_ANSWER
        elif isinstance(fallback, CallFallback):
            elsewhere = cast("CallFallback[object]", fallback)
            answer = (elsewhere.answer_async if self._asynchronous else elsewhere.answer)(error, args, kwargs)
        else:
            answer = fallback(error) if callable(fallback) else fallback
        scope = current.get()
        if scope is not None:
            scope.note_degraded(self._driver.name)
        return answer

    def remember(self, args: tuple[object, ...], kwargs: dict[str, object], result: object) -> None:
        """Keep a good result. No lock: keys run foreign code, and single dict operations are atomic."""
        if not isinstance(self._fallback, LastGood):
            return
        try:
            key = _key(args, kwargs)
            self._kept.pop(key, None)
            self._kept[key] = result, self._driver.clock()
        except Exception:  # arguments that cannot be hashed or compared are not remembered
            return
        while len(self._kept) > self._fallback.max_entries:
            with suppress(Exception):  # another thread was there at the same moment
                self._kept.pop(next(iter(self._kept)), None)

    def forget(self) -> None:
        """Drop all results."""
        self._kept.clear()

    def _recall(self, fallback: LastGood, args: tuple[object, ...], kwargs: dict[str, object]) -> object:
        try:
            result, made = self._kept[_key(args, kwargs)]
        except Exception:  # never kept, or by arguments that cannot be hashed or compared
            return NO_ANSWER
        return result if self._driver.clock() - made <= fallback.max_age else NO_ANSWER


def _key(args: tuple[object, ...], kwargs: dict[str, object]) -> object:
    """Tell calls apart by their arguments and their types (1 is not True)."""
    named = tuple(sorted(kwargs.items()))
    return args, named, tuple(map(type, args)), tuple(type(value) for _, value in named)
