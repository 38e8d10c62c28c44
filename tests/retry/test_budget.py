"""The retry budget: at most every fifth of a breaker's recent calls is a retry."""

from __future__ import annotations

import gc
import os
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.acting import Clock, crowd, succeed
from recloser import CircuitBreaker, ConfigurationError, retry
from recloser.retry.budgets import RetryBudget


def take(breaker: CircuitBreaker, clock: Clock, times: int = 1) -> int:
    """Ask for so many retries; return how many were granted."""
    budget = retry.budget(breaker)
    return sum(budget.take(clock(), breaker.snapshot().calls) for _ in range(times))


def test_a_breaker_with_few_calls_may_retry_five_times_in_ten_seconds(build, clock):
    """The floor lets a quiet service retry at all; it comes back when the retries are ten seconds old."""
    breaker = build()

    assert take(breaker, clock, 10) == 5
    clock.advance(8)
    assert take(breaker, clock) == 0
    clock.advance(3)
    assert take(breaker, clock, 10) == 5


def test_a_fifth_of_recent_calls_may_be_retries(build, clock):
    """The share is of the calls that the breaker counted in the last ten seconds, however they were made."""
    breaker = build()
    retry.budget(breaker)

    succeed(breaker, 100)

    assert take(breaker, clock, 50) == 20


def test_old_calls_earn_nothing(build, clock):
    """Calls of ten seconds ago and before are forgotten, with the retries that they paid for."""
    breaker = build()
    take(breaker, clock, 5)
    succeed(breaker, 1000)
    assert take(breaker, clock) == 1

    clock.advance(11)

    assert take(breaker, clock, 10) == 5


def test_calls_since_the_last_look_count_as_evenly_spread(build, clock):
    """A thousand calls in the hundred seconds since the budget was last asked are a hundred in the last ten."""
    breaker = build()
    retry.budget(breaker)
    clock.advance(100)
    succeed(breaker, 1000)

    assert 18 <= take(breaker, clock, 100) <= 20


def test_the_limits_are_the_breaker_s_own(build, clock):
    """`configure` sets share and floor, for whoever retries through the breaker."""
    breaker = build()
    retry.budget(breaker).configure(share=0.5, floor=0)

    assert take(breaker, clock) == 0
    succeed(breaker, 10)
    assert take(breaker, clock, 10) == 5
    assert (retry.budget(breaker).share, retry.budget(breaker).floor) == (0.5, 0)


def test_wrong_limits_are_refused_together(build):
    """Each names the breaker, the value and the fix; nothing was changed."""
    budget = retry.budget(build("stock"))

    for share, floor in (("0.2", 5), (0.2, None), (float("nan"), 5), (0.2, True)):
        with pytest.raises(ConfigurationError, match="the retry budget of 'stock'"):
            budget.configure(share=share, floor=floor)
    with pytest.raises(ConfigurationError) as caught:
        budget.configure(share=1, floor=-1)

    assert str(caught.value) == (
        "2 problems:\n"
        "- the retry budget of 'stock': share must be a ratio, at least 0 and below 1, got 1\n"
        "- the retry budget of 'stock': floor must be a number of retries, at least 0, got -1"
    )
    assert (budget.share, budget.floor) == (0.2, 5)


def test_what_was_granted_and_what_was_not_is_counted(build, clock):
    """The numbers are kept for metrics, by breaker."""
    breaker, other = build(), build()

    take(breaker, clock, 7)

    assert retry.counts(breaker) == (5, 2)
    assert retry.counts(other) == (0, 0)


def test_a_budget_is_one_for_its_breaker_and_lives_no_longer(build):
    """Two breakers of one name have a budget each; with the breaker its budget goes."""
    from recloser.retry import budgets as module

    breaker = build()
    assert retry.budget(breaker) is retry.budget(breaker)
    assert retry.budget(breaker) is not retry.budget(build())
    gc.collect()
    kept = len(module._budgets)

    del breaker
    gc.collect()

    assert len(module._budgets) == kept - 1


def test_threads_share_one_budget():
    """However many threads ask at once, no more is granted than was earned."""
    budget = RetryBudget("payments", 0.0, 0)
    granted = []

    crowd([lambda: granted.extend(budget.take(1.0, 400) for _ in range(100))] * 8)

    assert sum(granted) == 80
    assert budget.counts() == (80, 720)


def test_a_fork_s_child_begins_anew():
    """The child inherits neither a held lock nor its parent's retries."""
    budget = RetryBudget("payments", 0.0, 0)
    assert budget.take(0.0, 0)
    budget._lock.acquire()
    child = os.fork()
    if child == 0:
        granted = sum(budget.take(1.0, 10) for _ in range(10))
        os._exit(0 if (granted, budget.counts()) == (5, (5, 5)) else 1)
    budget._lock.release()

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert budget.counts() == (1, 0)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("calls"), st.integers(1, 60)),
        st.tuples(st.just("wait"), st.floats(0.01, 25, allow_nan=False)),
        st.tuples(st.just("retry"), st.integers(1, 30)),
    ),
    max_size=60,
)


@given(STEPS, st.floats(0, 0.9), st.integers(0, 8))
def test_retries_of_any_nine_seconds_stay_under_the_share_or_the_floor(steps, share, floor):
    """Whatever comes when, each granted retry found the share or the floor of its last nine seconds respected."""
    now, calls = 50.0, 0
    budget = RetryBudget("payments", now, calls)
    budget.configure(share=share, floor=floor)
    granted: list[float] = []
    looks = [(now, calls)]
    for kind, amount in steps:
        if kind == "calls":
            calls += amount
        elif kind == "wait":
            now += amount
        else:
            for _ in range(amount):
                looks.append((now, calls))
                if budget.take(now, calls):
                    granted.append(now)
                    recent = sum(now - at < 9 for at in granted)
                    assert recent <= max(floor, share * calls_within(looks, now - 10, now) + 1e-6)


def calls_within(looks: list[tuple[float, int]], start: float, end: float) -> float:
    """Count calls, those between two looks evenly spread."""
    total = 0.0
    for (before, had), (after, has) in pairwise(looks):
        if after == before:
            total += (has - had) * (start <= after <= end)
        else:
            # A burst shorter than a second may count at its end.
            overlap = max(0.0, min(after, end) - max(before, start))
            spread = (has - had) * overlap / (after - before)
            total += max(spread, (has - had) * (after - before <= 1 and after >= start))
    return total
