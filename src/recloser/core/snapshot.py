"""The numbers of one breaker at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import NamedTuple

from recloser.core.driver import Driver
from recloser.core.durations import Histogram
from recloser.core.events import Cause, Rejection
from recloser.core.state import Epoch, Override, State
from recloser.core.window import CallCounter, Counts


class Snapshot(NamedTuple):
    """What a breaker has counted and decided.

    Attributes:
        name: The breaker's name.
        state: Its state.
        mode: The operator's override.
        epoch: The state's identity.
        elapsed: Seconds since the state began.
        cause: Why it began; `None` for a new breaker.
        retry_after: Seconds until the open period ends; 0 in other states.
        last_failure: Type and bounded text of the last counted failure.
        window: Calls, failures and slow calls that rates are judged on; zeros where no rate is.
        consecutive_failures: The present run of failures (calls).
        reopenings: How often the circuit opened again without a lasting close.
        probes_in_flight: Probes that run within their lease.
        probe_successes: Successful probes in this half-open epoch.
        in_flight: Calls that hold a place of `max_concurrent_calls`.
        calls: Counted calls since the breaker was made (successes, failures and slow calls).
        failures: Those that failed.
        slow: Those that were slow, failed or not.
        ignored: Calls with an ignored outcome.
        rejected: Refused calls by reason.
        would_reject: Calls by the reason for which shadow mode would have refused them.
        probes: Probes admitted.
        opened: Transitions to open.
        half_opened: Transitions to half-open.
        closed: Transitions to closed.
        durations: How long counted calls took; `None` without `duration_buckets`.
    """

    name: str
    state: State
    mode: Override
    epoch: Epoch
    elapsed: float
    cause: Cause | None
    retry_after: float
    last_failure: str
    window: Counts
    consecutive_failures: int
    reopenings: int
    probes_in_flight: int
    probe_successes: int
    in_flight: int
    calls: int
    failures: int
    slow: int
    ignored: int
    rejected: Mapping[Rejection, int]
    would_reject: Mapping[Rejection, int]
    probes: int
    opened: int
    half_opened: int
    closed: int
    durations: Histogram | None


def take(driver: Driver) -> Snapshot:
    """Read a breaker's numbers. Nothing is decided by reading."""
    driver.condition()
    if driver.inside():  # a signal handler in the midst of counting: the window must not move under its hands
        return _read(driver, driver.clock(), Counts())
    return driver.run(lambda: read(driver))


def read(driver: Driver) -> Snapshot:
    """Read a breaker's numbers, by one who is in its section already."""
    now = driver.clock()
    driver.sort_durations()
    tally = driver.machine.condition.tally
    return _read(driver, now, Counts() if tally is None else tally.counts(now))


def _read(driver: Driver, now: float, window: Counts) -> Snapshot:
    machine = driver.machine
    condition, totals = machine.condition, machine.totals
    tally, probes = condition.tally, condition.probes
    return Snapshot(
        name=driver.name,
        state=condition.state,
        mode=condition.override,
        epoch=condition.epoch,
        elapsed=max(0.0, now - condition.since),
        cause=condition.cause,
        retry_after=max(0.0, condition.until - now) if condition.until < inf else 0.0,
        last_failure=machine.last_failure,
        window=window,
        consecutive_failures=tally.current_run() if tally is not None else 0,
        reopenings=condition.reopenings,
        probes_in_flight=sum(lease.deadline > now for lease in probes.active) if probes is not None else 0,
        probe_successes=probes.successes if probes is not None else 0,
        in_flight=machine.bulkhead.in_flight,
        calls=totals.calls + (tally.calls if tally is not None else 0),
        failures=totals.failures + (tally.failures if tally is not None else 0),
        slow=totals.slow + (tally.slow if tally is not None else 0),
        ignored=driver.ignored.read(),
        rejected=_numbers(driver.refused),
        would_reject=_numbers(driver.would_refuse),
        probes=totals.probes,
        opened=totals.opened,
        half_opened=totals.half_opened,
        closed=totals.closed,
        durations=driver.durations.read() if driver.durations is not None else None,
    )


def _numbers(counters: Mapping[Rejection, CallCounter]) -> dict[Rejection, int]:
    return {reason: number for reason, counter in list(counters.items()) if (number := counter.read())}
