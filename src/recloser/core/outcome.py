"""What counts: the judgement of exceptions and results, the text kept of a failure, its `Retry-After`."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Final

from recloser.core.errors import CallRejectedError
from recloser.core.log import logger
from recloser.core.policy import ErrorTest, Policy

FAILURE_TEXT_LENGTH: Final = 200
KNOWN_TYPES: Final = 256


class Outcome(StrEnum):
    """What a call says about its dependency."""

    SUCCESS = "success"
    FAILURE = "failure"
    SLOW = "slow"
    IGNORED = "ignored"


class Judge:
    """Turns exceptions and results into outcomes, as one policy wants it.

    Args:
        breaker: The breaker's name, for the log.
        policy: Whose `failure_on`, `ignore` and `failure_if` apply.
    """

    __slots__ = (
        "_breaker",
        "_failure_tests",
        "_failure_types",
        "_ignore_tests",
        "_ignore_types",
        "_known",
        "failure_if",
    )

    def __init__(self, breaker: str, policy: Policy) -> None:
        self._breaker = breaker
        self._failure_types, self._failure_tests = _split(policy.failure_on)
        self._ignore_types, self._ignore_tests = _split(policy.ignore)
        self.failure_if = policy.failure_if
        self._known: dict[type[BaseException], Outcome] = {}

    def of_error(self, error: BaseException) -> Outcome:
        """Judge an exception: success means that the dependency answered, if not as hoped."""
        kind = type(error)
        known = self._known.get(kind)
        if known is not None:
            return known
        if isinstance(error, BaseExceptionGroup):
            return self._of_group(error)  # pyright: ignore[reportUnknownArgumentType]
        outcome = self._of_leaf(error)
        # Where no predicate has a say, the type alone decides, and need not be asked twice.
        if not (self._ignore_tests or self._failure_tests) and len(self._known) < KNOWN_TYPES:
            self._known[kind] = outcome
        return outcome

    def _of_group(self, group: BaseExceptionGroup[BaseException]) -> Outcome:
        verdicts = {self._of_leaf(leaf) for leaf in _leaves(group)}
        if Outcome.FAILURE in verdicts:
            return Outcome.FAILURE
        return Outcome.IGNORED if verdicts == {Outcome.IGNORED} else Outcome.SUCCESS

    def of_result(self, result: object) -> Outcome:
        """Judge a returned value by `failure_if`."""
        if self.failure_if is not None and self._holds(self.failure_if, result):
            return Outcome.FAILURE
        return Outcome.SUCCESS

    def _of_leaf(self, error: BaseException) -> Outcome:
        if isinstance(error, (CallRejectedError, GeneratorExit, KeyboardInterrupt, SystemExit)):
            return Outcome.IGNORED
        if is_cancellation(error) or isinstance(error, self._ignore_types):
            return Outcome.IGNORED
        if any(self._holds(test, error) for test in self._ignore_tests):
            return Outcome.IGNORED
        if isinstance(error, self._failure_types):
            return Outcome.FAILURE
        # With no type to fall back on, a broken predicate must not turn an outage into successes.
        broken = not self._failure_types and isinstance(error, Exception)
        if any(self._holds(test, error, broken=broken) for test in self._failure_tests):
            return Outcome.FAILURE
        # Outside Exception are the ways to end a process, a thread or a greenlet: no answer of a dependency.
        return Outcome.SUCCESS if isinstance(error, Exception) else Outcome.IGNORED

    def _holds(self, test: Callable[..., object], subject: object, *, broken: bool = False) -> bool:
        try:
            return bool(test(subject))
        except Exception:
            logger().exception(
                "breaker %r: the predicate %r raised; judged by exception types alone", self._breaker, test
            )
            return broken


def is_cancellation(error: BaseException) -> bool:
    """Tell whether `error` is how asyncio, trio or a cancelled future unwinds its caller."""
    # An instance exists only where its module is loaded, so nothing needs importing to know it.
    for module, name in _CANCELLATIONS:
        kind = getattr(sys.modules.get(module), name, None)
        if kind is not None and isinstance(error, kind):
            return True
    return False


def describe(error: BaseException) -> str:
    """Put a failure into one bounded line: type and text, without line breaks, credentials or queries of URLs."""
    kind = type(error).__name__
    try:
        text = "".join([str(error)])  # of a subclass of str, only the text
    except Exception:  # somebody else's __str__ must not harm the call
        return kind
    long = len(text) > FAILURE_TEXT_LENGTH
    if long or "@" in text or "?" in text or "  " in text or not text.isprintable():
        text = _tidy(text)
    return f"{kind}: {text}" if text else kind


def _tidy(text: str) -> str:
    text = " ".join(text[: FAILURE_TEXT_LENGTH * 2].split())
    if "@" in text:
        text = _CREDENTIALS.sub("://***@", text)
    if "?" in text:
        text = _QUERY.sub(r"\1?***", text)
    if not text.isprintable():
        text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    if len(text) > FAILURE_TEXT_LENGTH:
        text = text[: FAILURE_TEXT_LENGTH - 1] + "\N{HORIZONTAL ELLIPSIS}"
    return text


_CREDENTIALS: Final = re.compile(r"://[^/\s]*@")
_QUERY: Final = re.compile(r"(/[^\s?'\"<>()]*)\?[^\s'\"<>()]+")
_CANCELLATIONS: Final = (
    ("asyncio.exceptions", "CancelledError"),
    ("trio", "Cancelled"),
    ("concurrent.futures._base", "CancelledError"),
)


def _split(
    tests: tuple[ErrorTest, ...],
) -> tuple[tuple[type[BaseException], ...], tuple[Callable[[BaseException], object], ...]]:
    types = tuple(test for test in tests if isinstance(test, type))
    return types, tuple(test for test in tests if not isinstance(test, type))


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    pending = [group]
    while pending:
        for error in pending.pop().exceptions:
            if isinstance(error, BaseExceptionGroup):
                pending.append(error)  # pyright: ignore[reportUnknownArgumentType]
            else:
                yield error
