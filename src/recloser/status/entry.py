"""What is told of one breaker."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, cast

from recloser.config.report import shown
from recloser.core.events import Cause
from recloser.core.policy import Policy
from recloser.core.state import Epoch, Mode, Override, State
from recloser.status.redaction import plain, redacted
from recloser.status.sight import Sight
from recloser.status.window import described, window_of
from recloser.stores.record import UNKNOWN
from recloser.stores.view import Belief, Heard, Shared, Transition

EPOCH: Final = "[0-9]{1,18}-[0-9a-f]{1,16}"  # as it is written
DIFFERING_SHOWN: Final = 20
HEARD_LATE: Final = 1.0  # seconds after a change in which a worker may not have followed yet
TOTALS: Final = Belief._fields[3:10]


class _Now(NamedTuple):
    state: State
    epoch: Epoch
    override: Override
    elapsed: float
    retry_in: float | None
    cause: Cause | None
    reopenings: int
    last_error: str


def entry_of(sight: Sight, name: str, held: list[tuple[Heard, Belief]]) -> dict[str, Any]:
    """Describe one breaker, apart from its rates.

    Args:
        sight: What was seen.
        name: The breaker's.
        held: The workers that have it, and what each believes of it.
    """
    shared = sight.fleet.breakers.get(name) if sight.fleet is not None else None
    breaker = sight.breakers.get(name)
    policy = breaker.policy if breaker is not None else None
    beliefs = [belief for _, belief in held]
    window = described(policy, window_of(policy, shared, beliefs))
    now = _now(sight, name, shared)
    others = [
        (heard, belief)
        for heard, belief in held
        if (belief.state, belief.mode) != (now.state, now.override.mode)
    ]
    # A heartbeat from before the change says nothing about it.
    changed = _changed(sight, name, now)
    differ = [
        {**_process(heard), "state": belief.state.value, "mode": belief.mode.value}
        for heard, belief in others
        if heard.ago + HEARD_LATE < changed
    ]
    return {
        "name": name,
        "declared": name in sight.registry.declared,
        "severity": _severity(now, disagree=bool(differ)),
        "state": now.state.value,
        "epoch": epoch_text(now.epoch),
        "since": moment(sight.at - now.elapsed) if now.cause is not None else None,
        "elapsed": round(now.elapsed, 3),
        "retry_in": None if now.retry_in is None else round(now.retry_in, 3),
        "due": None if now.retry_in is None else moment(sight.at + now.retry_in),
        "cause": None if now.cause is None else cause_of(now.cause),
        "reopenings": now.reopenings,
        "last_error": redacted(
            now.last_error or next((b.last_failure for b in beliefs if b.last_failure), "")
        ),
        "mode": mode_of(now.override, sight.at),
        "window": window,
        "pressure": window["pressure"],
        "probes": _probes(sight, name, shared, policy),
        "votes": {"count": shared.votes if shared else 0, "quorum": policy.trip_quorum if policy else None},
        "totals": _totals(beliefs),
        "rates": None,
        "agreement": {
            "workers": len(held),
            "agree": len(held) - len(others),
            "pending": len(others) - len(differ),
            "differ": differ[:DIFFERING_SHOWN],
        },
    }


def _totals(beliefs: list[Belief]) -> dict[str, int]:
    sums = map(sum, zip(*(belief[3:10] for belief in beliefs), strict=True))
    return dict.fromkeys(TOTALS, 0) | dict(zip(TOTALS, sums, strict=bool(beliefs)))


def _now(sight: Sight, name: str, shared: Shared | None) -> _Now:
    own = sight.own.get(name)
    if sight.fleet is None and own is not None:
        retry_in = (
            own.retry_after if own.state is State.OPEN and own.mode.mode is not Mode.FORCED_OPEN else None
        )
        return _Now(
            own.state, own.epoch, own.mode, own.elapsed, retry_in, own.cause, own.reopenings, own.last_failure
        )
    record = shared.record if shared is not None else UNKNOWN
    there = sight.fleet.now if sight.fleet is not None else 0.0
    retry_in = max(0.0, record.open_until - there) if record.is_timed else None
    return _Now(
        record.state,
        record.epoch,
        record.override,
        max(0.0, there - record.since) if record.cause is not None else 0.0,
        retry_in,
        record.cause,
        record.reopenings,
        record.last_failure,
    )


def _changed(sight: Sight, name: str, now: _Now) -> float:
    """Return how long ago state or mode changed (seconds)."""
    if sight.fleet is None:
        return now.elapsed
    latest = next((each.at for each in sight.fleet.transitions if each.breaker == name), None)
    return now.elapsed if latest is None else max(0.0, min(now.elapsed, sight.at - latest))


def _severity(now: _Now, *, disagree: bool) -> int:
    mode = now.override.mode
    if mode is Mode.AUTO and now.state is not State.CLOSED:
        return 5 if now.state is State.OPEN else 4
    if mode is Mode.FORCED_OPEN:
        return 3
    if disagree:
        return 2
    return int(mode is not Mode.AUTO)


def _probes(sight: Sight, name: str, shared: Shared | None, policy: Policy | None) -> dict[str, Any]:
    own = sight.own.get(name)
    leases: list[dict[str, Any]] = []
    if shared is not None:
        known = {heard.worker.id: heard for heard in sight.workers} if shared.leases else {}
        leases = [
            {
                **(_process(known[lease.worker]) if lease.worker in known else {"worker": lease.worker}),
                "age": round(lease.age, 3),
                "remaining": round(max(0.0, lease.remaining), 3),
                "used": lease.is_used,
            }
            for lease in shared.leases
        ]
        in_flight = sum(lease.is_used for lease in shared.leases)
        successes, expiries = shared.probe_successes, shared.probe_expiries
    else:
        in_flight = own.probes_in_flight if own is not None else 0
        successes, expiries = own.probe_successes if own is not None else 0, 0
    return {
        "in_flight": in_flight,
        "allowed": policy.half_open_max_calls if policy is not None else None,
        "successes": successes,
        "needed": policy.success_threshold if policy is not None else None,
        "expiries": expiries,
        "leases": leases,
    }


def _process(heard: Heard) -> dict[str, Any]:
    return {"worker": heard.worker.id, "host": plain(heard.worker.host, 64), "pid": heard.worker.pid}


def mode_of(override: Override, at: float) -> dict[str, Any]:
    """Describe an operator's mode."""
    return {
        "mode": override.mode.value,
        "by": plain(override.by),
        "reason": plain(override.why),
        "until": None if override.until is None else moment(override.until),
        "remaining": None if override.until is None else round(max(0.0, override.until - at), 3),
    }


def cause_of(cause: Cause) -> dict[str, Any]:
    """Describe why a state began, in words and in numbers."""
    safe = cause._replace(by=plain(cause.by), why=plain(cause.why))
    return {
        "rule": safe.rule.value,
        "text": str(safe),
        "number": safe.number,
        "total": safe.total,
        "threshold": safe.threshold,
        "by": safe.by,
        "why": safe.why,
    }


def transition_of(transition: Transition, workers: Mapping[str, Heard]) -> dict[str, Any]:
    """Describe one change."""
    known = workers.get(transition.worker)
    return {
        "revision": transition.revision,
        "at": moment(transition.at),
        "breaker": transition.breaker,
        "worker": transition.worker,
        "process": "" if known is None else f"{known.worker.pid} on {plain(known.worker.host, 64)}",
        "old": transition.old.value,
        "new": transition.new.value,
        "old_mode": transition.old_mode.value,
        "new_mode": transition.new_mode.value,
        "cause": cause_of(transition.cause),
    }


def policy_of(sight: Sight, name: str) -> dict[str, Any] | None:
    """Describe each effective value of a policy and where it came from; `None` if this process does not know it."""
    breaker = sight.breakers.get(name)
    if breaker is None:
        return None
    declaration = sight.registry.declaration
    declared = declaration.breakers.get(name, declaration.defaults)
    return {
        knob.name: {
            "value": _value(getattr(breaker.policy, knob.name)),
            "from": declared.provenance.get(knob.name, "default"),
        }
        for knob in fields(Policy)
    }


def _value(value: object) -> object:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple):
        return [_value(each) for each in cast("tuple[object, ...]", value)]
    return plain(str(getattr(value, "__qualname__", "") or shown(value)), 120)


def epoch_text(epoch: Epoch) -> str:
    """Write an epoch, as an operator's action must name it."""
    return f"{epoch.number}-{epoch.tag:x}"


def epoch_from_text(text: str) -> Epoch:
    """Read an epoch.

    Raises:
        ValueError: It is none.
    """
    if not re.fullmatch(EPOCH, text):
        raise ValueError("epoch must be copied from the status that the operator saw, such as 12-9f3c")
    number, _, tag = text.partition("-")
    return Epoch(int(number), int(tag, 16))


def moment(seconds: float) -> str:
    """Write a moment of the wall clock (RFC 3339)."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
