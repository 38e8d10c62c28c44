"""What a failing call costs, and that the window's size has no part in it."""

from __future__ import annotations

from benchmarks import targets
from benchmarks.rows import Budget
from benchmarks.timing import Candidate, TimedCase
from recloser import CircuitBreaker

SMALL, LARGE = 10, 10_000


def frequent() -> TimedCase:
    """Every other call fails, so that nothing trips."""
    statement = targets.FAILED.format(call="f(1)") + "\ng(1)"
    small, large = f"{SMALL}-call window", f"{LARGE:,}-call window"
    candidates = [
        Candidate("bare", statement, {"f": targets.broken, "g": targets.charge}, shown=False),
        Candidate("default policy", statement, _pair(CircuitBreaker("bench")), "bare"),
        Candidate(small, statement, _pair(_windowed(SMALL)), "bare"),
        Candidate(large, statement, _pair(_windowed(LARGE)), "bare", small, Budget("<", 4.0)),
    ]
    return TimedCase("failing call, each second", candidates)


def rare() -> TimedCase:
    """Nearly a whole window of successes comes before each failure: all that it must forget at once."""
    statement = targets.FAILED.format(call="f(1)")
    small, large = f"{SMALL}-call window", f"{LARGE:,}-call window"
    candidates = [
        Candidate("bare", statement, {"f": targets.broken}, shown=False, once=True),
        _after_successes(small, SMALL),
        _after_successes(large, LARGE, small, Budget("<", 4.0)),
    ]
    return TimedCase("failing call, one per window", candidates)


def _after_successes(name: str, window: int, to: str = "", budget: Budget | None = None) -> Candidate:
    breaker = _windowed(window)
    statement = targets.FAILED.format(call="f(1)")

    def succeed() -> None:
        record = breaker.recorder
        assert record is not None
        for _ in range(window - 5):
            record()

    return Candidate(name, statement, _pair(breaker), "bare", to, budget, prepare=succeed, once=True)


def _windowed(calls: int) -> CircuitBreaker:
    return CircuitBreaker("bench", failure_rate_threshold=1.0, window_calls=calls)


def _pair(breaker: CircuitBreaker) -> dict[str, object]:
    succeed = breaker(targets.charge)
    for _ in range(2 * LARGE):
        succeed(1)
    return {"f": breaker(targets.broken), "g": succeed}
