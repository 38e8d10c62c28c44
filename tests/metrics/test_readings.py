"""What exporters read: labels stay few, and no counter goes back, whatever becomes of breakers."""

from __future__ import annotations

import gc
from collections.abc import Callable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

import recloser.registry
from core.acting import fail, succeed
from core.test_fork import in_child
from http_tools import Clock
from recloser import Registry, retry
from recloser.core.events import Rejection
from recloser.core.state import Mode, State
from recloser.metrics import readings
from recloser.metrics.catalogue import (
    CALLS,
    DISAGREEING,
    HUB_LAG,
    OPENED,
    REJECTIONS,
    RETRIES,
    SERIES,
    STORE_UP,
    WORKERS,
    Metric,
)
from recloser.metrics.readings import OTHER_ORIGINS, Ledger, Reading, fleet
from recloser.stores.health import Connection, Health

Make = Callable[..., Registry]


def told(ledger: Ledger) -> dict[str, Reading]:
    return {reading.name: reading for reading in ledger.read()}


def count(reading: Reading, metric: Metric, own: str = "") -> int:
    (number,) = [
        n for series, n in zip(SERIES, reading.totals.counts, strict=True) if series == (metric, own)
    ]
    return number


def test_a_breaker_is_told_before_it_was_called(make: Make):
    """Every series is there from the first look, at zero: a rate needs a beginning."""
    registry = make(stock={})
    reading = told(Ledger(registry))["stock"]

    assert set(reading.totals.counts) == {0}
    assert len(reading.totals.counts) == len(SERIES)
    assert (reading.state, reading.mode.mode) == (State.CLOSED, Mode.AUTO)


def test_retries_are_told_by_what_their_budget_said(make: Make, clock: Clock):
    """Granted or exhausted, as the breaker's retry budget counts them."""
    registry = make(stock={})
    for _ in range(7):
        retry.budget(registry["stock"]).take(clock(), 0)

    reading = told(Ledger(registry))["stock"]

    assert (count(reading, RETRIES, "granted"), count(reading, RETRIES, "exhausted")) == (5, 2)


def test_counts_are_those_of_the_breaker(make: Make, clock: Clock):
    """What a breaker counted is told by outcome and reason."""
    registry = make(stock={"failure_threshold": 2})
    succeed(registry["stock"], 3)
    fail(registry["stock"], 2)
    registry["stock"].snapshot()
    for _ in range(4):
        with_refusal(registry, "stock")
    clock.advance(3)

    reading = told(Ledger(registry))["stock"]

    assert count(reading, CALLS, "success") == 3
    assert count(reading, CALLS, "failure") == 2
    assert count(reading, REJECTIONS, Rejection.OPEN) == 4
    assert count(reading, OPENED) == 1
    assert (reading.state, reading.elapsed) == (State.OPEN, 3.0)


def with_refusal(registry: Registry, name: str) -> None:
    try:
        registry[name].acquire()
    except recloser.CircuitOpenError:
        return
    raise AssertionError("not refused")


def test_origins_beyond_the_first_share_a_label(make: Make, monkeypatch):
    """However many origins an application speaks to, labels are bounded, and nothing is left out of the sums."""
    monkeypatch.setattr(readings, "MAX_ORIGINS", 2)
    registry = make(stock={})
    ledger = Ledger(registry)
    for number in range(5):
        succeed(registry.for_origin(f"host{number}:80"), number + 1)
    fail(registry.for_origin("host4:80"))

    found = told(ledger)

    assert list(found) == ["stock", "host0:80", "host1:80", OTHER_ORIGINS]
    assert count(found[OTHER_ORIGINS], CALLS, "success") == 3 + 4 + 5
    assert found[OTHER_ORIGINS].state is State.OPEN, "the most severe state of those that share it"


def test_degraded_answers_share_the_labels(make: Make, monkeypatch):
    """What is answered for an origin without a label of its own is told with the others, too."""
    monkeypatch.setattr(readings, "MAX_ORIGINS", 1)
    registry = make(stock={})
    for breaker in ("stock", "a:80", "b:80", "*", "stock"):
        registry.degraded.note(breaker, "stale")
    ledger = Ledger(registry)
    ledger.read()

    assert ledger.degraded() == {
        ("stock", "unavailable"): 0,
        ("stock", "stale"): 2,
        ("a:80", "stale"): 1,
        (OTHER_ORIGINS, "stale"): 2,
    }


def test_answers_that_plans_have_room_for_are_told_before_any_is_given(make: Make):
    """A rate needs a beginning; what was given beside them is told as ever, and forgetting it leaves the zeros."""
    registry = make(stock={})
    registry.degraded.expect("stock", ["stale", "json"])
    registry.degraded.note("stock", "json")
    registry.degraded.expect("stock", ["stale", "defer"])
    zeros = dict.fromkeys([("stock", name) for name in ("unavailable", "stale", "json", "defer")], 0)
    ledger = Ledger(registry)
    ledger.read()

    assert ledger.degraded() == {**zeros, ("stock", "json"): 1}
    assert registry.degraded.counts() == {("stock", "json"): 1}
    registry.degraded.forget()
    assert ledger.degraded() == {**zeros, ("stock", "json"): 1}


def test_answers_stay_counted_when_another_registry_takes_over(make: Make):
    """A settings module that is loaded anew makes new registries: the sum of both is told, as for calls."""
    old, new = make(stock={}), make(stock={})
    ledger = Ledger(old)
    for registry, answers in ((old, 5), (new, 3)):
        for _ in range(answers):
            registry.degraded.note("stock", "stale")
    assert ledger.degraded()["stock", "stale"] == 5
    ledger.remove(old)
    ledger.add(new)
    assert ledger.degraded()["stock", "stale"] == 8


def test_an_origin_that_lost_its_place_keeps_its_counts(make: Make, monkeypatch):
    """A breaker that was displaced, forgotten and made again counts from zero; its label does not."""
    monkeypatch.setattr(recloser.registry, "MAX_ORIGINS", 1)
    registry = make()
    ledger = Ledger(registry)
    succeed(registry.for_origin("a:80"), 5)
    told(ledger)
    succeed(registry.for_origin("b:80"))
    gc.collect()
    assert count(told(ledger)["a:80"], CALLS, "success") == 5
    succeed(registry.for_origin("a:80"), 2)

    assert count(told(ledger)["a:80"], CALLS, "success") == 7


def test_a_displaced_breaker_that_comes_back_is_not_counted_twice(make: Make, monkeypatch):
    """Whoever held on to it brings the same breaker back, with all that it ever counted."""
    monkeypatch.setattr(recloser.registry, "MAX_ORIGINS", 1)
    registry = make()
    ledger = Ledger(registry)
    held = registry.for_origin("a:80")
    succeed(held, 5)
    told(ledger)
    registry.for_origin("b:80")
    told(ledger)
    succeed(held)

    assert registry.for_origin("a:80") is held
    assert count(told(ledger)["a:80"], CALLS, "success") == 6


def test_breakers_of_one_name_share_a_label(make: Make):
    """Two registries in one process are told together."""
    one, two = make(stock={}), make(stock={})
    ledger = Ledger(one, two)
    succeed(one["stock"], 2)
    fail(two["stock"])

    (reading,) = ledger.read()

    assert count(reading, CALLS, "success") == 2
    assert reading.state is State.OPEN


def test_a_registry_is_not_kept_alive(make: Make):
    """What was measured of a registry outlives it, the registry does not outlive its application."""
    registry = make(stock={})
    ledger = Ledger(registry)
    succeed(registry["stock"], 2)
    ledger.read()

    del registry
    gc.collect()

    assert ledger.registries == []
    assert count(told(ledger)["stock"], CALLS, "success") == 2


def test_a_forked_child_counts_from_zero(make: Make):
    """A worker tells what it has done itself: its parent tells the rest."""
    registry = make(stock={})
    ledger = Ledger(registry)
    succeed(registry["stock"], 5)
    ledger.read()

    def check() -> None:
        assert count(told(ledger)["stock"], CALLS, "success") == 0
        succeed(registry["stock"], 2)
        assert count(told(ledger)["stock"], CALLS, "success") == 2

    in_child(check)
    assert count(told(ledger)["stock"], CALLS, "success") == 5


def test_the_older_of_two_looks_takes_nothing_back(make: Make):
    """Two scrapes at once: the one that looked first may be accounted last."""
    registry = make(stock={})
    ledger = Ledger(registry)
    breaker = registry["stock"]
    succeed(breaker)
    older = breaker.snapshot()
    succeed(breaker)
    ledger.read()

    ledger._account(breaker, older)

    assert count(told(ledger)["stock"], CALLS, "success") == 2


def test_the_worst_of_several_stores_is_told(make: Make, monkeypatch):
    """One store that is lost, and the longest lag, are what somebody must know; no store is no news."""
    one, two, closed, alone, idle = (make() for _ in range(5))
    health = {
        one: Health(connection=Connection.UP, lag=0.1, workers=4, disagreeing=1),
        two: Health(connection=Connection.DOWN, lag=7.0, workers=2, disagreeing=2),  # as it last saw
        closed: Health(connection=Connection.CLOSED, lag=99.0),
        alone: Health(connection=Connection.NONE),
        idle: Health(connection=Connection.STARTING, lag=500.0),
    }
    monkeypatch.setattr(Registry, "store_health", property(health.__getitem__))

    assert fleet(Ledger(closed, alone)) == ()
    told = {metric: value for metric, value, _ in fleet(Ledger(one, closed))}
    assert told == {STORE_UP: 1, HUB_LAG: 0.1, WORKERS: 4, DISAGREEING: 1}
    told = {metric: value for metric, value, _ in fleet(Ledger(one, two, closed, alone))}
    assert told == {STORE_UP: 0, HUB_LAG: 7.0, WORKERS: 4, DISAGREEING: 1}
    assert {metric: value for metric, value, _ in fleet(Ledger(idle))} == {
        STORE_UP: 1,
        HUB_LAG: 0,
        WORKERS: 0,
        DISAGREEING: 0,
    }, "a process that nobody has called yet has not lost its store"
    # Between workers the rank decides the same way.
    ranks = [rank for up in (one, two) for metric, _, rank in fleet(Ledger(up)) if metric is STORE_UP]
    assert 0 < ranks[0] < ranks[1]


@settings(max_examples=60, stateful_step_count=30, deadline=None)
class Coming(RuleBasedStateMachine):
    """Origins come and go at random, while somebody looks now and then."""

    def __init__(self) -> None:
        super().__init__()
        self.before, recloser.registry.MAX_ORIGINS = recloser.registry.MAX_ORIGINS, 2
        self.labels, readings.MAX_ORIGINS = readings.MAX_ORIGINS, 3
        self.registry = Registry({"DEFAULTS": {"duration_buckets": [1]}, "BREAKERS": {"stock": {}}})
        self.ledger = Ledger(self.registry)
        self.seen: dict[str, tuple[int, ...]] = {}
        self.made = 0

    @rule(origin=st.integers(0, 5), calls=st.integers(1, 3))
    def call(self, origin: int, calls: int) -> None:
        breaker = self.registry.for_origin(f"host{origin}:80")
        succeed(breaker, calls)
        self.made += calls
        self.ledger.read()  # or a breaker could be lost with counts that nobody has seen
        del breaker
        gc.collect(0)

    @invariant()
    def counters_only_grow(self) -> None:
        found = told(self.ledger)
        assert len(found) <= 1 + 3 + 1
        for name, counts in self.seen.items():
            assert all(new >= old for new, old in zip(found[name].totals.counts, counts, strict=True))
        self.seen = {name: reading.totals.counts for name, reading in found.items()}
        assert sum(count(reading, CALLS, "success") for reading in found.values()) == self.made
        measured = [reading.totals.durations for reading in found.values()]
        assert sum(sum(durations.counts) for durations in measured if durations is not None) == self.made

    def teardown(self) -> None:
        recloser.registry.MAX_ORIGINS, readings.MAX_ORIGINS = self.before, self.labels


TestComing = Coming.TestCase
