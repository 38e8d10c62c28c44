"""CircuitBreaker: the guard of one downstream dependency."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from types import CoroutineType
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec, TypeVar, Unpack, overload

from recloser.core import living, snapshot
from recloser.core.decorate import decorate
from recloser.core.driver import Driver, Recorder
from recloser.core.errors import ConfigurationError, Problem
from recloser.core.events import Listener
from recloser.core.fallback import Answering, CallFallback, On, protect
from recloser.core.permit import Calling, Permit, TimedCalling, acquire, run_async
from recloser.core.policy import Knobs, Policy
from recloser.core.snapshot import Snapshot
from recloser.core.state import Mode, Override, State, end_of_mode

if TYPE_CHECKING:
    from recloser.core.leading import Lead

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F")
A = TypeVar("A")

DEFAULT_POLICY = Policy()


def _random() -> float:
    from random import random  # noqa: PLC0415 - dear to import, and only an opening circuit needs it

    return random()  # noqa: S311 - jitter is no secret


def _policy(name: str, knobs: Knobs) -> Policy:
    try:
        return Policy(**knobs)
    except ConfigurationError as error:
        problems = [problem._replace(path=f"breaker {name!r}: {problem.path}") for problem in error.problems]
        raise ConfigurationError(problems) from None


def _driver(
    name: str,
    policy: Policy,
    clock: Callable[[], float],
    wall_clock: Callable[[], float],
    random: Callable[[], float],
    *,
    lead: Lead | None,
) -> Driver:
    if lead is None:
        return Driver(name, policy, clock, wall_clock, random)
    from recloser.core.leading import LedDriver  # noqa: PLC0415 - most processes have no fleet

    return LedDriver(name, policy, clock, wall_clock, random, lead=lead)


class CircuitBreaker:
    """Guards one downstream dependency: lets calls through while it works, refuses them while it does not.

    Safe for any mix of threads, event loops and forks. As a decorator it wraps functions, coroutine functions,
    generators and async generators, static and class methods.

    Args:
        name: The dependency's name, as it appears in errors, events and metrics.
        policy: When to trip and how to recover; or give its knobs as keyword arguments.
        clock: Monotonic time (seconds).
        wall_clock: Time of day (seconds since the epoch), for the end of a mode and for HTTP dates only.
        random: Gives 0 <= x < 1 for the jitter of open periods.
        lead: Brings the word of the fleet that the breaker belongs to; a registry with a store gives it.
        **knobs: Those of `Policy`.

    Raises:
        ConfigurationError: Lists every knob that is wrong.
        TypeError: Both a policy and knobs were given.
    """

    __slots__ = ("__weakref__", "_calling", "_driver", "name", "policy")

    name: str
    policy: Policy

    def __init__(
        self,
        name: str,
        policy: Policy | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        random: Callable[[], float] = _random,
        lead: Lead | None = None,
        **knobs: Unpack[Knobs],
    ) -> None:
        if policy is not None and knobs:
            raise TypeError(f"breaker {name!r}: give a policy or its knobs ({', '.join(knobs)}), not both")
        if not name or not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError([Problem("name", repr(name), "must be a non-empty string")])
        if policy is None:
            policy = _policy(name, knobs) if knobs else DEFAULT_POLICY
        self.name = name
        self.policy = policy
        self._driver = _driver(name, policy, clock, wall_clock, random, lead=lead)
        self._calling = TimedCalling if self._driver.times or self._driver.rolls else Calling
        living.born(self._driver)

    def __repr__(self) -> str:
        mode = self.mode.mode
        return f"<CircuitBreaker {self.name!r} {self.state}{'' if mode is Mode.AUTO else f' ({mode})'}>"

    def __reduce__(self) -> NoReturn:
        fix = "it lives in this process; send its name, and share its state by a registry's store"
        raise TypeError(f"breaker {self.name!r} cannot be pickled or copied: {fix}")

    # -- calls ---------------------------------------------------------------------------------------------

    def __call__(self, function: F, /) -> F:
        """Protect a function: decorate it.

        Raises:
            TypeError: It is a class or no function; raised at decoration.
        """
        # A wrapper has its function's own signature.
        return decorate(self._driver, function)  # type: ignore[return-value]

    @overload
    def protect(  # type: ignore[overload-overlap] # of what is left, functions are taken at their word
        self, *, fallback: CallFallback[A], on: On = "open"
    ) -> Answering[A]: ...
    @overload
    def protect(self, *, fallback: None, on: On = "open") -> Answering[None]: ...
    @overload
    def protect(self, *, fallback: object, on: On = "open") -> Callable[[F], F]: ...
    def protect(self, *, fallback: object, on: On = "open") -> Callable[..., Any]:
        """Protect a function, and answer in its place when the circuit is open.

        Args:
            fallback: A value; or a function (sync, or async for an async function) that is given the error; or
                `last_good(max_age)`.
            on: `"open"`: answer refused calls; `"failure"`: counted failures too.

        Raises:
            TypeError: What is decorated cannot have a fallback; raised at decoration.
            ValueError: `on` is neither.
        """
        if on not in ("open", "failure"):
            raise ValueError(f"breaker {self.name!r}: on must be 'open' or 'failure', got {on!r}")

        def decorator(function: F) -> F:
            return protect(self._driver, function, fallback, on)  # type: ignore[return-value]

        return decorator

    def call(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a function under the breaker's guard.

        Raises:
            CircuitOpenError: The circuit does not let the call through.
            BulkheadFullError: `max_concurrent_calls` are in flight.
            TypeError: The function is async: use `call_async`.
        """
        permit = acquire(self._driver)
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            permit.finish(error)
            raise
        if isinstance(result, CoroutineType):
            permit.ignore()
            result.close()
            raise TypeError(
                f"breaker {self.name!r}: {function!r} is async: use `await breaker.call_async(...)`"
            )
        permit.returned(result)
        return result

    async def call_async(
        self, function: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Await a coroutine function under the breaker's guard.

        Raises:
            CircuitOpenError: The circuit does not let the call through.
            BulkheadFullError: `max_concurrent_calls` are in flight.
        """
        return await run_async(acquire(self._driver), function, *args, **kwargs)

    def calling(self) -> Calling:
        """Guard a block: `with breaker.calling():` or `async with breaker.calling():`.

        The block is admitted on entry, which may raise `CircuitOpenError` or `BulkheadFullError`.
        """
        calling = self._calling()
        calling.driver = self._driver
        return calling

    def acquire(self) -> Permit:
        """Ask for one call, to settle it later by `permit.success()`, `.failure(error)` or `.ignore()`.

        Raises:
            CircuitOpenError: The circuit does not let the call through.
            BulkheadFullError: `max_concurrent_calls` are in flight.
        """
        return acquire(self._driver)

    # -- state ---------------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """Closed, open or half-open."""
        return self._driver.condition().state

    @property
    def mode(self) -> Override:
        """The operator's override, with who, why and until when."""
        return self._driver.condition().override

    @property
    def recorder(self) -> Recorder | None:
        """Counts one success of the present epoch; `None` unless every call is admitted and counted in it."""
        return self._driver.machine.recorder

    def snapshot(self) -> Snapshot:
        """Read the breaker's numbers."""
        return snapshot.take(self._driver)

    def add_listener(self, listener: Listener) -> Callable[[], None]:
        """Send every event to `listener`, from now on; the function returned ends that."""
        return self._driver.delivery.add(listener)

    # -- operators -----------------------------------------------------------------------------------------

    def force_open(self, *, by: str, reason: str, until: datetime | float | None = None) -> None:
        """Refuse every call.

        Args:
            by: Who decides.
            reason: Why.
            until: When to return to automatic: an aware `datetime`, or seconds of the wall clock.

        Raises:
            ValueError: `until` is naive, past, or beyond the year 9998.
        """
        self._override(Mode.FORCED_OPEN, by, reason, until)

    def force_closed(self, *, by: str, reason: str, until: datetime | float | None = None) -> None:
        """Admit and count every call, never trip; arguments as for `force_open`."""
        self._override(Mode.FORCED_CLOSED, by, reason, until)

    def shadow(self, *, by: str, reason: str, until: datetime | float | None = None) -> None:
        """Decide and report, never refuse; arguments as for `force_open`."""
        self._override(Mode.SHADOW, by, reason, until)

    def auto(self, *, by: str, reason: str) -> None:
        """Return to normal. Leaving a forced mode starts closed.

        Args:
            by: Who decides.
            reason: Why.
        """
        self._override(Mode.AUTO, by, reason, None)

    def reset(self, *, by: str, reason: str) -> None:
        """Close the circuit and forget counts and backoff; the mode stays.

        Args:
            by: Who decides.
            reason: Why.
        """
        machine = self._driver.machine
        self._driver.post(lambda now: machine.reset(now, by, reason))

    def _override(self, mode: Mode, by: str, reason: str, until: datetime | float | None) -> None:
        until = end_of_mode(self.name, until, self._driver.wall_clock())
        machine, override = self._driver.machine, Override(mode, by, reason, until)
        self._driver.post(lambda now: machine.override(override, now))
