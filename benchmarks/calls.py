"""What a protected call costs while the circuit is closed."""

from __future__ import annotations

import functools
from collections.abc import Iterable

from benchmarks import targets
from benchmarks.peers import Peer
from benchmarks.rows import Budget
from benchmarks.timing import Candidate, TimedCase
from recloser import CircuitBreaker

CHEAPER_THAN = {"circuitbreaker": 5, "pybreaker": 10, "interlock-cb": 30}

FLOOR = "empty *args, **kwargs wrapper"
OWN = "recloser"
TIMED = "recloser, time window"


def default_breaker() -> CircuitBreaker:
    return CircuitBreaker("bench")


def window_breaker() -> CircuitBreaker:
    return CircuitBreaker("bench", failure_rate_threshold=0.5, window_seconds=60)


def plain(peers: Iterable[Peer]) -> TimedCase:
    """A plain function: the wrapper has its signature."""
    candidates = _quartet(targets.charge, own=1.0, timed=1.6)
    for peer in peers:
        use = peer.sync(targets.charge)
        times = CHEAPER_THAN.get(peer.name)
        budget = Budget(">=", times) if times is not None else None
        name = f"{peer.name} {use.form}"
        candidates.append(Candidate(name, use.call, use.names, "bare", OWN, budget, prepare=use.prepare))
    return TimedCase("closed, plain function", candidates)


def bound_method() -> TimedCase:
    """The same for a method that is bound already."""
    return TimedCase("closed, bound method", _quartet(targets.Client().charge, own=1.0, timed=1.6))


def callable_object() -> TimedCase:
    """The same for an object that is called: the call itself is slower, and the empty wrapper's share smaller."""
    return TimedCase("closed, callable object", _quartet(targets.Client(), own=1.0, timed=1.6))


def partial() -> TimedCase:
    """No function of Python's: the wrapper takes `*args, **kwargs`."""
    return TimedCase("closed, partial", _quartet(functools.partial(targets.charge), own=2.0, timed=3.0))


def several() -> TimedCase:
    """Functions of one signature in turn, as in an application: wrappers that share code would get in each other's way."""
    functions = {"f": targets.charge, "g": targets.refund, "h": targets.ship}
    statement = "f(1); g(1); h(1)"
    wrapped = {name: targets.empty_wrapper(function) for name, function in functions.items()}
    own = {name: default_breaker()(function) for name, function in functions.items()}
    candidates = [
        Candidate("bare", statement, functions, calls=3, shown=False),
        Candidate(FLOOR, statement, wrapped, "bare", calls=3),
        Candidate(OWN, statement, own, "bare", FLOOR, Budget("<=", 1.0), calls=3),
    ]
    return TimedCase("closed, three functions", candidates)


def coroutine(peers: Iterable[Peer]) -> TimedCase:
    """A coroutine function, driven by hand: no event loop is measured."""

    def driven(name, call, names, *rest, **more) -> Candidate:
        return Candidate(name, targets.DRIVEN.format(call=call), names, *rest, **more)

    function, floor = targets.charge_async, "empty async wrapper"
    empty = targets.empty_async_wrapper(function)
    own = default_breaker()(function)
    candidates = [
        driven("bare", "f(1)", {"f": function}, shown=False),
        driven(floor, "f(1)", {"f": empty}, "bare"),
        driven(OWN, "f(1)", {"f": own}, "bare", floor, Budget("<=", 1.5)),
    ]
    for peer in peers:
        if peer.asynchronous is not None:
            use = peer.asynchronous(function)
            candidates.append(driven(f"{peer.name} {use.form}", use.call, use.names, "bare", OWN))
    return TimedCase("closed, async function", candidates)


def block() -> TimedCase:
    """A `with` block."""
    floor = "empty context manager"
    breaker = default_breaker()
    candidates = [
        Candidate("bare", "f(1)", {"f": targets.charge}, shown=False),
        Candidate(floor, "with C(): f(1)", {"f": targets.charge, "C": targets.EmptyBlock}, "bare"),
        Candidate(
            "recloser .calling()",
            "with b.calling(): f(1)",
            {"f": targets.charge, "b": breaker},
            "bare",
            floor,
            Budget("<=", 2.0),
        ),
    ]
    return TimedCase("closed, with block", candidates)


def _quartet(function, *, own: float, timed: float) -> list[Candidate]:
    protected = window_breaker()(function)
    for _ in range(20):  # past `minimum_calls`: from there on calls only tick
        protected(1)
    return [
        Candidate("bare", "f(1)", {"f": function}, shown=False),
        Candidate(FLOOR, "f(1)", {"f": targets.empty_wrapper(function)}, "bare"),
        Candidate(OWN, "f(1)", {"f": default_breaker()(function)}, "bare", FLOOR, Budget("<=", own)),
        Candidate(TIMED, "f(1)", {"f": protected}, "bare", FLOOR, Budget("<=", timed)),
    ]
