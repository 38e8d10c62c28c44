"""The five operations of a store, and what they answer."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from recloser.core.events import Cause
from recloser.core.policy import Policy
from recloser.core.state import Epoch, Override
from recloser.stores.record import UNKNOWN, Record


class Terms(NamedTuple):
    """What of a breaker's policy the store decides by; travels with each operation, so that a store keeps no policy.

    Attributes:
        recovery_timeout: Seconds.
        recovery_backoff: Factor, at least 1.
        recovery_timeout_max: Seconds.
        recovery_jitter: Ratio, 0 <= ratio < 1.
        lasting: A close that lasts so long resets the backoff (seconds).
        honor_retry_after: Whether a failure may lengthen the open period.
        half_open_max_calls: Probes at once over the fleet.
        success_threshold: Successful probes that close.
        probe_timeout: A lease's length (seconds).
        window_seconds: The window that rates are judged on, in the store's time; 0: none is judged here.
        minimum_calls: No rate is judged on fewer.
        failure_rate: Share of failures that trips; 0: off.
        slow_rate: Share of slow calls that trips; 0: off.
        trip_quorum: Workers that must have tripped before the fleet opens.
    """

    recovery_timeout: float = 30.0
    recovery_backoff: float = 2.0
    recovery_timeout_max: float = 600.0
    recovery_jitter: float = 0.1
    lasting: float = 30.0
    honor_retry_after: bool = True
    half_open_max_calls: int = 1
    success_threshold: int = 1
    probe_timeout: float = 30.0
    window_seconds: float = 0.0
    minimum_calls: int = 10
    failure_rate: float = 0.0
    slow_rate: float = 0.0
    trip_quorum: int = 1

    @classmethod
    def of(cls, policy: Policy) -> Terms:
        """Take from a policy what the store needs to know."""
        shared = policy.window_seconds if policy.judges_rates and policy.window_seconds is not None else 0.0
        return cls(
            policy.recovery_timeout,
            policy.recovery_backoff,
            policy.recovery_timeout_max,
            policy.recovery_jitter,
            policy.recovery_ramp + policy.recovery_timeout,
            policy.honor_retry_after,
            policy.half_open_max_calls,
            policy.success_threshold,
            policy.probe_timeout,
            shared,
            policy.minimum_calls,
            policy.failure_rate_threshold or 0.0,
            policy.slow_call_rate_threshold or 0.0,
            policy.trip_quorum,
        )


class Chance(NamedTuple):
    """What an operation brings along because a store must not draw lots itself.

    Attributes:
        tag: Of the epoch that the operation begins, if it begins one. Also tells a repetition from a second one.
        jitter: 0 <= x < 1.
    """

    tag: int
    jitter: float = 0.5


class Trip(NamedTuple):
    """A worker has tripped by what it saw alone.

    Attributes:
        cause: Why, with the numbers that decided.
        period: For how long its circuit opens (seconds).
        reopenings: How often it has opened again without a lasting close.
        last_failure: The failure that decided.
        vote_ttl: How long it counts as a vote, where a quorum is asked for (seconds).
    """

    cause: Cause
    period: float
    reopenings: int
    last_failure: str = ""
    vote_ttl: float = 6.0


class Flush(NamedTuple):
    """Add counts if the epoch is the record's; carry a trip or vote; trip the fleet if the shared window says so.

    Attributes:
        breaker: Its name.
        worker: Who tells.
        terms: Of its policy.
        chance: For the epoch that this may begin.
        epoch: In which all this happened.
        calls: Counted since the last flush.
        failures: Those that failed.
        slow: Those that were slow.
        retry_after: The longest that a failure among them asked for (seconds), 0 if none did.
        last_failure: The latest failure among them.
        trip: A local trip, if there was one.
    """

    breaker: str
    worker: str
    terms: Terms
    chance: Chance
    epoch: Epoch
    calls: int = 0
    failures: int = 0
    slow: int = 0
    retry_after: float = 0.0
    last_failure: str = ""
    trip: Trip | None = None


class Lease(NamedTuple):
    """Ask for probes, renew unused grants and give them back; an open circuit that is due becomes half-open.

    Attributes:
        breaker: Its name.
        worker: Who asks.
        terms: Of its policy.
        chance: For the epoch that this may begin.
        epoch: Of the record as the worker knows it.
        wanted: How many grants are asked for; 0: none.
        kept: Unused grants to renew.
        used: Grants that calls run on since the last time.
        back: Unused grants to give back.
    """

    breaker: str
    worker: str
    terms: Terms
    chance: Chance
    epoch: Epoch
    wanted: int = 0
    kept: tuple[str, ...] = ()
    used: tuple[str, ...] = ()
    back: tuple[str, ...] = ()


class Settle(NamedTuple):
    """A probe's verdict, counted once, also after its lease has ended.

    Attributes:
        breaker: Its name.
        worker: Whose probe it was.
        terms: Of its policy.
        chance: For the epoch that this may begin.
        epoch: Of the lease.
        lease: Which one.
        counts: False gives the place back without a verdict.
        failed: The probe failed.
        slow: It was too slow.
        retry_after: What the failure asked for (seconds), 0 if nothing.
        last_failure: The failure.
    """

    breaker: str
    worker: str
    terms: Terms
    chance: Chance
    epoch: Epoch
    lease: str
    counts: bool = True
    failed: bool = False
    slow: bool = False
    retry_after: float = 0.0
    last_failure: str = ""


class Force(NamedTuple):
    """An operator's mode, or his reset.

    Attributes:
        breaker: Its name.
        worker: Through whom he acts.
        chance: For the epoch that this begins.
        override: The mode with who, why and until when; of a reset, who and why.
        resets: Close and keep the mode, rather than set it.
        expected: The epoch that he saw; another one is a conflict and nothing happens. `None`: whatever it is.
    """

    breaker: str
    worker: str
    chance: Chance
    override: Override
    resets: bool = False
    expected: Epoch | None = None


class Sync(NamedTuple):
    """Read the record; or, where the store came back empty or older, restore it (SEMANTICS D1).

    Attributes:
        breaker: Its name.
        worker: Who asks.
        chance: For the epoch that a restoration begins.
        epoch: Of the worker's record; `None`: only read.
        remaining: Of the worker's open period (seconds); 0: it is not open.
        record: The worker's record, apart from its times.
    """

    breaker: str
    worker: str
    chance: Chance
    epoch: Epoch | None = None
    remaining: float = 0.0
    record: Record = UNKNOWN


Operation: TypeAlias = Flush | Lease | Settle | Force | Sync


class Grant(NamedTuple):
    """A probe's lease: its id, and how long it lasts from the moment of the answer (seconds)."""

    id: str
    remaining: float


class Answer(NamedTuple):
    """What an operation came to.

    Attributes:
        record: As it is now.
        won: This operation began the record's epoch.
        is_conflict: The operator saw another epoch; nothing happened.
        grants: Leases granted or renewed.
        is_wanted: Another worker asks for a place while this one keeps an unused grant.
        wait: Seconds until a place may be free, where fewer were granted than asked for.
    """

    record: Record
    won: bool = False
    is_conflict: bool = False
    grants: tuple[Grant, ...] = ()
    is_wanted: bool = False
    wait: float = 0.0


class Answers(NamedTuple):
    """One round trip's answers, in the order of its operations.

    Attributes:
        now: The store's clock (seconds).
        revision: Of the latest change in the namespace.
        answers: One for each operation.
    """

    now: float
    revision: int
    answers: Sequence[Answer]


def new_tag() -> int:
    """Draw a tag; not from any seeded randomness, which forked children would share."""
    return int.from_bytes(os.urandom(8), "big")


def open_period(terms: Terms, reopenings: int, jitter: float, retry_after: float) -> float:
    """Return for how long a circuit opens (seconds; SEMANTICS C6).

    Args:
        terms: Of its policy.
        reopenings: How often it has opened again without a lasting close.
        jitter: 0 <= x < 1.
        retry_after: What the failure asked for (seconds), 0 if nothing.
    """
    try:
        period = min(terms.recovery_timeout * terms.recovery_backoff**reopenings, terms.recovery_timeout_max)
    except OverflowError:
        period = terms.recovery_timeout_max
    period *= 1 + terms.recovery_jitter * (2 * jitter - 1)
    if terms.honor_retry_after:
        period = max(period, min(retry_after, terms.recovery_timeout_max))
    return period
