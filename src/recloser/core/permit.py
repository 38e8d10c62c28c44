"""A call's admission in the caller's hands: the two-step permit, and the context manager."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

from recloser.core.driver import Driver, Recorder, Ticket
from recloser.core.errors import CircuitOpenError
from recloser.core.machine import Admission
from recloser.core.outcome import Outcome
from recloser.core.retry_after import parse
from recloser.core.scope import current

P = ParamSpec("P")
R = TypeVar("R")


class Permit:
    """The right to one call, and the duty to say how it ended.

    The first verdict counts, later ones change nothing. A permit that is dropped without a verdict is ignored
    and gives its place back.
    """

    __slots__ = ("_answered", "_started", "_ticket", "driver", "settled")

    def __init__(
        self, driver: Driver, ticket: Ticket, started: float | None = None, answered: float | None = None
    ) -> None:
        self.driver = driver
        self._ticket = ticket
        self.settled = False
        self._answered = answered
        if started is not None:
            self._started = started
        else:
            self._started = driver.clock() if driver.times else 0.0

    def success(self) -> None:
        """The dependency did its work."""
        self.finish(None)

    def failure(self, error: BaseException | None = None, *, retry_after: float | None = None) -> None:
        """The dependency failed, whatever the policy says of `error`.

        Args:
            error: What happened; named in `last_failure`, and asked for its `Retry-After`.
            retry_after: How long the dependency asks to be left alone (seconds).
        """
        if not self.settled:
            self.settled = True
            now = self.driver.clock()
            slow = self.driver.took(self._started, now if self._answered is None else self._answered)
            wait = parse(retry_after, self.driver.wall_clock)
            self.driver.conclude(self._ticket, Outcome.FAILURE, now, slow=slow, error=error, wait=wait)

    def ignore(self) -> None:
        """The call says nothing about the dependency."""
        if not self.settled:
            self.settled = True
            self.driver.conclude(self._ticket, Outcome.IGNORED, self.driver.clock())

    def answered(self) -> None:
        """The dependency begins to answer: `slow_call_duration` is measured up to here."""
        if self.driver.times and self._answered is None:
            self._answered = self.driver.clock()

    def finish(self, error: BaseException | None) -> Outcome:
        """The call raised `error`, or returned (`None`): judge that as the policy says.

        Returns:
            The outcome that was counted; ignored if there was a verdict before.
        """
        if self.settled:
            return Outcome.IGNORED
        self.settled = True
        if error is None:
            return self.driver.succeeded(self._ticket, self._started, self._answered)
        return self.driver.failed(self._ticket, error, self._started, self._answered)

    def returned(self, result: object) -> Outcome:
        """The call returned `result`: judge it by `failure_if`.

        Returns:
            The outcome that was counted; ignored if there was a verdict before.
        """
        if self.settled:
            return Outcome.IGNORED
        self.settled = True
        return self.driver.returned(self._ticket, result, self._started, self._answered)

    def __del__(self) -> None:
        # Asks the admission, not the permit: a verdict that was interrupted has given nothing back.
        ticket = getattr(self, "_ticket", None)  # `__init__` may have been interrupted too
        if isinstance(ticket, Admission) and not ticket.settled:
            self.driver.conclude(ticket, Outcome.IGNORED, self.driver.clock())


RIDING = Admission(None)
RIDING.settled = True  # there is nothing of its own to give back


class RidingPermit(Permit):
    """An inner call's share in a permit that is held for the whole request: it takes no place of its own."""

    __slots__ = ("_held",)

    def __init__(self, held: Permit) -> None:
        self._held = held
        super().__init__(held.driver, RIDING)

    def failure(self, error: BaseException | None = None, *, retry_after: float | None = None) -> None:
        """Settle the held permit with this failure."""
        if not self.settled:
            self.settled = True
            self._held.failure(error, retry_after=retry_after)

    def ignore(self) -> None:
        """Leave the held permit to its holder."""
        self.settled = True

    def answered(self) -> None:
        """The request's own answer is not this one."""

    def finish(self, error: BaseException | None) -> Outcome:
        """Settle the held permit, unless this call says nothing about the dependency."""
        if not self.settled:
            self.settled = True
            if error is None or self.driver.judge.of_error(error) is not Outcome.IGNORED:
                return self._held.finish(error)
        return Outcome.IGNORED

    def returned(self, result: object) -> Outcome:
        """Settle the held permit."""
        if not self.settled:
            self.settled = True
            return self._held.returned(result)
        return Outcome.IGNORED


def acquire(driver: Driver) -> Permit:
    """Admit one call.

    Raises:
        CircuitOpenError: The circuit does not let it through.
        BulkheadFullError: Too many calls are in flight.
    """
    record = driver.machine.recorder
    if record is not None:
        return Permit(driver, record)
    now, scope = driver.clock(), current.get()
    refusal = driver.refusal(now, scope)
    if refusal is not None:
        raise CircuitOpenError(refusal, now)
    if scope is not None:
        held = scope.held(driver)
        if held is not None:
            return RidingPermit(held)
    return Permit(driver, driver.admit(now, scope))


def run(permit: Permit, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a function and settle its permit."""
    try:
        result = function(*args, **kwargs)
    except BaseException as error:
        permit.finish(error)
        raise
    permit.returned(result)
    return result


async def run_async(
    permit: Permit, function: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs
) -> R:
    """Await a coroutine function and settle its permit."""
    try:
        result = await function(*args, **kwargs)
    except BaseException as error:
        permit.finish(error)
        raise
    permit.returned(result)
    return result


class Calling:
    """One protected block: `with` or `async with`. Nothing is kept on the breaker, so any thread may leave it."""

    __slots__ = ("_permit", "_succeed", "driver")

    driver: Driver  # set by `CircuitBreaker.calling`: an `__init__` would cost more than all the rest
    _permit: Permit | None
    _succeed: Recorder

    def __enter__(self) -> Self:
        record = self.driver.machine.recorder
        if record is None:
            self._hold()
        else:
            self._permit = None
            self._succeed = record
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        if error is None:
            self._succeed()
        elif self._permit is None:
            self.driver.failed(self._succeed, error)
        else:
            self._permit.finish(error)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        self.__exit__(kind, error, traceback)

    def failure(self, error: BaseException | None = None, *, retry_after: float | None = None) -> None:
        """Say from inside the block that the dependency failed.

        Args:
            error: What happened; named in `last_failure`, and asked for its `Retry-After`.
            retry_after: How long the dependency asks to be left alone (seconds).
        """
        self._two_step().failure(error, retry_after=retry_after)

    def ignore(self) -> None:
        """Say from inside the block that this call tells nothing about the dependency."""
        self._two_step().ignore()

    def _two_step(self) -> Permit:
        if self._permit is None:
            self._permit = Permit(self.driver, self._succeed)
            self._succeed = self._permit.success
        return self._permit

    def _hold(self) -> None:
        self._permit = acquire(self.driver)
        self._succeed = self._permit.success


class TimedCalling(Calling):
    """A block whose policy needs to know when calls begin or end."""

    __slots__ = ()

    def __enter__(self) -> Self:
        self._hold()
        return self
