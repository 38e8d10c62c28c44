"""What the retry companion costs when the first attempt succeeds, against tenacity's own usual retry."""

from __future__ import annotations

import tenacity

from benchmarks import targets
from benchmarks.rows import Budget
from benchmarks.timing import Candidate, TimedCase
from recloser import CircuitBreaker
from recloser.retry.tenacity import retrying

FLOOR = "tenacity"
OWN = "recloser retrying"
ATTEMPTS = 3


def usual():
    """What is written without recloser: as many attempts, exponential waits with jitter."""
    return tenacity.retry(
        stop=tenacity.stop_after_attempt(ATTEMPTS), wait=tenacity.wait_random_exponential(max=5), reraise=True
    )


def first_try() -> TimedCase:
    """A plain function."""
    own, guarded = _own(targets.charge)
    candidates = [
        Candidate("bare", "f(1)", {"f": targets.charge}, shown=False),
        Candidate("guarded", "f(1)", {"f": guarded}, shown=False),
        Candidate(FLOOR, "f(1)", {"f": usual()(targets.charge)}, "bare"),
        Candidate(OWN, "f(1)", {"f": own}, "guarded", FLOOR, Budget("<", 2.0)),
    ]
    return TimedCase("retry, first try succeeds", candidates)


def first_try_async() -> TimedCase:
    """A coroutine function, driven by hand."""
    own, guarded = _own(targets.charge_async)

    def driven(name, function, *rest, **more) -> Candidate:
        return Candidate(name, targets.DRIVEN.format(call="f(1)"), {"f": function}, *rest, **more)

    candidates = [
        driven("bare", targets.charge_async, shown=False),
        driven("guarded", guarded, shown=False),
        driven(FLOOR, usual()(targets.charge_async), "bare"),
        driven(OWN, own, "guarded", FLOOR, Budget("<", 2.0)),
    ]
    return TimedCase("retry, first try succeeds, async", candidates)


def _own(function):
    breaker = CircuitBreaker("bench")
    guarded = breaker(function)
    return retrying(breaker, ATTEMPTS)(guarded), guarded
