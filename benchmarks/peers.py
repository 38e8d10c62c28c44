"""The other breakers, each in its quickest documented form that checks the state and counts the outcome.

All trip on five failures in a row, or on the nearest thing they know (all of at least five calls in the window
failed), stay open for the whole run, keep their state in memory and log nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from importlib import metadata

from benchmarks.targets import FAILURES, OPEN

Function = Callable[..., object]


@dataclass(frozen=True)
class Use:
    """How a breaker calls a function.

    Attributes:
        form: As it is shown.
        call: The statement; for an async function the expression that makes the coroutine.
        names: What the statement refers to.
        refused: What it raises while open.
        prepare: Runs before each timed loop.
    """

    form: str
    call: str
    names: dict[str, object]
    refused: type[BaseException]
    prepare: Callable[[], object] = lambda: None


@dataclass(frozen=True)
class Peer:
    """Another breaker.

    Attributes:
        name: Its distribution.
        sync: Protects a function.
        asynchronous: Protects a coroutine function; `None` where only Tornado's are known.
    """

    name: str
    sync: Callable[[Function], Use]
    asynchronous: Callable[[Function], Use] | None


def _circuitbreaker(function: Function) -> Use:
    import circuitbreaker

    # `.call` and `with` do not look at the state.
    breaker = circuitbreaker.CircuitBreaker(failure_threshold=FAILURES, recovery_timeout=OPEN, name="bench")
    return Use("@", "f(1)", {"f": breaker(function)}, circuitbreaker.CircuitBreakerError)


def _pybreaker(function: Function) -> Use:
    import pybreaker

    breaker = pybreaker.CircuitBreaker(fail_max=FAILURES, reset_timeout=OPEN)
    return Use(".call", "c(f, 1)", {"c": breaker.call, "f": function}, pybreaker.CircuitBreakerError)


def _aiobreaker(function: Function) -> Use:
    import aiobreaker

    breaker = aiobreaker.CircuitBreaker(fail_max=FAILURES, timeout_duration=timedelta(seconds=OPEN))
    return Use(".call", "c(f, 1)", {"c": breaker.call, "f": function}, aiobreaker.CircuitBreakerError)


def _aiobreaker_async(function: Function) -> Use:
    import aiobreaker

    breaker = aiobreaker.CircuitBreaker(fail_max=FAILURES, timeout_duration=timedelta(seconds=OPEN))
    names = {"c": breaker.call_async, "f": function}
    return Use(".call_async", "c(f, 1)", names, aiobreaker.CircuitBreakerError)


def _purgatory(function: Function) -> Use:
    from purgatory import SyncCircuitBreakerFactory
    from purgatory.domain.model import OpenedState

    factory = SyncCircuitBreakerFactory(default_threshold=FAILURES, default_ttl=OPEN)

    def forget_tracebacks() -> None:
        # It raises one error over and over, which grows with each time: not for ever, here.
        state = factory.get_breaker("bench").context._state
        if isinstance(state, OpenedState):
            state.__traceback__ = None

    call = "with get('bench'): f(1)"
    return Use("with", call, {"get": factory.get_breaker, "f": function}, OpenedState, forget_tracebacks)


def _purgatory_async(function: Function) -> Use:
    from purgatory import AsyncCircuitBreakerFactory
    from purgatory.domain.model import OpenedState

    factory = AsyncCircuitBreakerFactory(default_threshold=FAILURES, default_ttl=OPEN)
    return Use("@", "f(1)", {"f": factory("bench")(function)}, OpenedState)


def _nopanic(function: Function) -> Use:
    import nopanic

    # Rates only. While a success is in the window, five failures in a row do not trip it.
    breaker = nopanic.circuit_breaker(failure_threshold=1.0, min_calls=FAILURES, reset_timeout=OPEN)
    return Use("@", "f(1)", {"f": breaker(function)}, nopanic.CircuitOpen)


def _interlock(function: Function) -> Use:
    import interlock

    breaker = interlock.CircuitBreaker(name="bench", config=_interlock_config())
    return Use(".call_sync", "c(f, 1)", {"c": breaker.call_sync, "f": function}, interlock.CircuitOpenError)


def _interlock_async(function: Function) -> Use:
    import interlock

    breaker = interlock.CircuitBreaker(name="bench", config=_interlock_config())
    return Use(".call_async", "c(f, 1)", {"c": breaker.call_async, "f": function}, interlock.CircuitOpenError)


def _interlock_config() -> object:
    import interlock

    return interlock.Config(
        failure_rate_threshold=1.0,
        minimum_number_of_calls=FAILURES,
        window_size=FAILURES,
        wait_duration_in_open=OPEN,
    )


def _fluxgate(function: Function) -> Use:
    import fluxgate
    from fluxgate.errors import CallNotPermittedError
    from fluxgate.retries import Cooldown
    from fluxgate.trippers import FailureStreak

    breaker = fluxgate.CircuitBreaker(tripper=FailureStreak(FAILURES), retry=Cooldown(OPEN))
    return Use(".call", "c(f, 1)", {"c": breaker.call, "f": function}, CallNotPermittedError)


def _fluxgate_async(function: Function) -> Use:
    import fluxgate
    from fluxgate.errors import CallNotPermittedError
    from fluxgate.retries import Cooldown
    from fluxgate.trippers import FailureStreak

    breaker = fluxgate.AsyncCircuitBreaker(tripper=FailureStreak(FAILURES), retry=Cooldown(OPEN))
    return Use(".call", "c(f, 1)", {"c": breaker.call, "f": function}, CallNotPermittedError)


PEERS = (
    Peer("circuitbreaker", _circuitbreaker, _circuitbreaker),
    Peer("pybreaker", _pybreaker, None),
    Peer("aiobreaker", _aiobreaker, _aiobreaker_async),
    Peer("purgatory", _purgatory, _purgatory_async),
    Peer("nopanic", _nopanic, _nopanic),
    Peer("interlock-cb", _interlock, _interlock_async),
    Peer("fluxgate", _fluxgate, _fluxgate_async),
)


def versions() -> dict[str, str | None]:
    """The installed version of each peer; `None` where it is not installed."""
    return {name: _version(name) for name in (*(peer.name for peer in PEERS), "hishel")}


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
