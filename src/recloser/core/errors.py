"""The exception family: what a refused call raises, and what a wrong declaration raises."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

from recloser.core.events import Cause, Rejection
from recloser.core.state import State


class RecloserError(Exception):
    """The base of every exception that recloser raises on purpose."""


class Problem(NamedTuple):
    """One thing wrong with a declaration: where, what was found there, and how to mend it."""

    path: str
    value: str
    fix: str

    def __str__(self) -> str:
        return f"{self.path} {self.fix}, got {self.value}"


class ConfigurationError(RecloserError, ValueError):
    """A declaration is wrong. Lists every problem at once; nothing was created from it.

    Attributes:
        problems: Each with the `path` of the setting, a `repr` of its value, and the fix.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        if len(self.problems) == 1:
            return str(self.problems[0])
        return f"{len(self.problems)} problems:\n" + "\n".join(f"- {problem}" for problem in self.problems)


class Refusal(NamedTuple):
    """All that a refused caller may ask about: immutable, so that refusals of one state share it.

    Attributes:
        breaker: The breaker's name.
        state: Its state at the refusal.
        reason: Why it refused.
        since: When that state began, in seconds of `clock`.
        due: When a call is worth trying, in seconds of `clock`.
        cause: What brought the state about.
        last_failure: Type and bounded text of the last counted failure.
        clock: The breaker's monotonic clock; `None` in another process.
    """

    breaker: str
    state: State = State.OPEN
    reason: Rejection = Rejection.OPEN
    since: float = 0.0
    due: float = 0.0
    cause: Cause | None = None
    last_failure: str = ""
    clock: Callable[[], float] | None = None


class CallRejectedError(RecloserError):
    """A breaker refused a call before it reached the dependency.

    Text and remaining time are made when they are read: a refusal must stay cheap.

    Args:
        refusal: What the breaker said.
        now: The moment of the refusal, in seconds of the breaker's clock.
    """

    __slots__ = ()

    if TYPE_CHECKING:  # `BaseException` keeps the arguments: an `__init__` would cost a sixth more

        def __init__(self, refusal: Refusal, now: float = 0.0) -> None: ...

    @property
    def _refusal(self) -> Refusal:
        refusal: Refusal = self.args[0]
        return refusal

    @property
    def _now(self) -> float:
        return self.args[1] if len(self.args) > 1 else 0.0

    @property
    def breaker(self) -> str:
        """The breaker's name."""
        return self._refusal.breaker

    @property
    def state(self) -> State:
        """The breaker's state at the refusal."""
        return self._refusal.state

    @property
    def reason(self) -> Rejection:
        """Why: open, half-open with all probes taken, forced open, ramping up, or a full bulkhead."""
        return self._refusal.reason

    @property
    def cause(self) -> Cause | None:
        """What brought the state about, with the numbers that decided."""
        return self._refusal.cause

    @property
    def last_failure(self) -> str:
        """Type and bounded text of the last counted failure, `""` if there was none."""
        return self._refusal.last_failure

    @property
    def retry_after(self) -> float:
        """Seconds until a call is worth trying: finite, at least 0, counting down; frozen when pickled."""
        clock = self._refusal.clock
        return max(0.0, self._refusal.due - (self._now if clock is None else clock()))

    @property
    def elapsed(self) -> float:
        """Seconds between the breaker's last change of state and this refusal."""
        return max(0.0, self._now - self._refusal.since)

    def __reduce__(self) -> tuple[object, ...]:
        # Another process has another monotonic clock: only the differences mean anything there.
        frozen = self._refusal._replace(since=-self.elapsed, due=self.retry_after, clock=None)
        return type(self), (frozen, 0.0)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"


class CircuitOpenError(CallRejectedError):
    """The circuit does not let this call through: it is open, probing, ramping up, or forced open."""

    __slots__ = ()

    def __str__(self) -> str:
        since = f"{self.state.prose} for {self.elapsed:.1f} s"
        why = f" ({self.cause})" if self.cause is not None else ""
        last = f"; last failure: {self.last_failure}" if self.last_failure else ""
        return f"circuit {self.breaker!r} is {since}{why}{last}; retry in {self.retry_after:.1f} s"


class BulkheadFullError(CallRejectedError):
    """As many calls as `max_concurrent_calls` allows are in flight already in this process."""

    __slots__ = ()

    def __str__(self) -> str:
        return (
            f"breaker {self.breaker!r} has max_concurrent_calls in flight; retry in {self.retry_after:.1f} s"
        )


class FailedResultError(RecloserError):
    """A call returned, but `failure_if` counted its result as a failure. Given to fallbacks, never raised.

    Attributes:
        result: What the call returned.
    """

    def __init__(self, result: object) -> None:
        super().__init__(result)
        self.result = result

    def __str__(self) -> str:
        return f"failure_if counted a {type(self.result).__name__} result as a failure"
