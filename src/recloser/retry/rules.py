"""When another attempt is right, whichever library makes it."""

from __future__ import annotations

import math
from random import random
from typing import Final, cast

from recloser.core import retry_after
from recloser.core.breaker import CircuitBreaker
from recloser.core.driver import Driver
from recloser.core.errors import CallRejectedError, ConfigurationError, Problem
from recloser.core.outcome import Outcome
from recloser.core.state import Mode, State
from recloser.retry.budgets import budget

LONGEST_WAIT: Final = 60.0
JITTER: Final = 0.1


class Rules:
    """The rules of one breaker.

    Args:
        breaker: Guards every attempt. What stands for one of Django's present settings is looked at when an attempt
            has ended, not before.
        longest: The cap on what a failure asks for (seconds).

    Raises:
        ConfigurationError: Lists what is wrong.
    """

    __slots__ = ("_breaker", "_longest")

    def __init__(self, breaker: CircuitBreaker, longest: float = LONGEST_WAIT) -> None:
        problems: list[Problem] = []
        if not callable(cast("object", breaker)):
            problems.append(
                Problem("breaker", repr(breaker), "must be a breaker, such as registry['payments']")
            )
        if not isinstance(cast("object", longest), int | float) or not 0 < longest < math.inf:
            problems.append(Problem("longest", repr(longest), "must be a positive number of seconds"))
        if problems:
            raise ConfigurationError(problems)
        self._breaker = breaker
        self._longest = longest
        if CircuitBreaker in type(breaker).__mro__:
            budget(breaker)  # calls are counted from now on

    @property
    def _driver(self) -> Driver:
        return self._breaker._driver  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]

    @property
    def judges_results(self) -> bool:
        """Whether returned values can be failures."""
        return self._driver.judge.failure_if is not None

    def retries_error(self, error: BaseException) -> bool:
        """Tell whether an attempt that raised `error` may be repeated: it counted, and the circuit is closed."""
        return self._driver.judge.of_error(error) is Outcome.FAILURE and not self.refuses()

    def retries_result(self, result: object) -> bool:
        """Tell whether an attempt that returned `result` may be repeated: `failure_if` says so, the circuit too."""
        return self._driver.judge.of_result(result) is Outcome.FAILURE and not self.refuses()

    def ends(self, error: BaseException | None) -> bool:
        """Tell whether no further attempt is to be made whoever wants it: a refusal, now or at the next call."""
        return isinstance(error, CallRejectedError) or self.refuses()

    def refuses(self) -> bool:
        """Tell whether the circuit would refuse the next attempt, or risk a probe on it."""
        condition = self._driver.condition()
        mode = condition.override.mode
        if mode is Mode.AUTO:
            return condition.state is not State.CLOSED
        return mode is Mode.FORCED_OPEN

    def pays(self) -> bool:
        """Take one retry from the budget.

        Returns:
            Whether there was one.
        """
        return budget(self._breaker).take(self._driver.clock(), self._breaker.snapshot().calls)

    def told(self, failed: object) -> float | None:
        """Return how long a failure asks to be left alone.

        Args:
            failed: The exception or result, with a `retry_after` or a `Retry-After` header.

        Returns:
            Seconds, up to a tenth more than was asked, so that those who were told the same do not come back as
            one; `None` if nothing was asked.
        """
        asked = retry_after.of(failed, self._driver.wall_clock)
        return None if asked is None else min(asked, self._longest) * (1 + JITTER * random())  # noqa: S311 - no secret
