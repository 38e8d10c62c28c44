"""What an adversary would try on a fleet whose time and rounds are led by hand."""

from __future__ import annotations

import gc
import logging
import math
import threading

import pytest

from fleet import NAME, Fleet, Member, fleet_in
from recloser import CallRejectedError
from recloser.core.state import Mode


@pytest.fixture
def fleet(tmp_path):
    with fleet_in(tmp_path) as fleet:
        yield fleet


def cut_off(fleet: Fleet, **settings: object) -> Member:
    """Add a worker that has never seen the store."""
    member = Member(fleet.store(), fleet.time, {**fleet.settings, **settings}, seed=99)
    member.cable.is_cut = True
    fleet.members.append(member)
    member.step()
    return member


def test_a_known_close_is_followed_by_one_who_probes(fleet: Fleet):
    """Where the fleet has a record, a local half-open yields to it (E6)."""
    fleet.trip(0)
    fleet[0].breaker.reset(by="ann", reason="well again")
    fleet.step()
    member = cut_off(fleet)
    for _ in range(3):
        member.call(fails=True)
    fleet.time.now += 11
    member.breaker.acquire()
    member.cable.is_cut = False
    fleet.time.now += 6
    member.step(2)

    assert member.state == "closed"


def test_a_probe_finds_the_bulkhead_full(tmp_path):
    """A place in the bulkhead comes before a lease: refused, and the grant stays for the next call (C2)."""
    with fleet_in(tmp_path, 1, max_concurrent_calls=1) as fleet:
        held = fleet[0].breaker.acquire()
        machine = fleet[0].breaker._driver.machine
        fleet[0].breaker.force_open(by="ann", reason="test")
        fleet.step()
        fleet[0].breaker.auto(by="ann", reason="test")
        fleet.step()
        del held
        fleet.trip(0)
        fleet.pass_time(10.1)
        fleet[0].call()
        fleet.pass_time(0.2)
        assert len(machine.grants) == 1
        slot = machine.bulkhead.slot()
        assert fleet[0].call() == "refused: bulkhead"
        assert len(machine.grants) == 1
        del slot
        gc.collect()
        assert fleet[0].call() == "success"


def test_a_grant_that_has_ended_is_not_used(fleet: Fleet):
    """The hub was late: a lease whose deadline has passed admits nobody (E5)."""
    fleet.trip(0)
    fleet.pass_time(10.1)
    fleet[0].call()
    fleet.step()
    machine = fleet[0].breaker._driver.machine
    assert machine.grants
    fleet.time.now += 7

    assert fleet[0].call().startswith("refused")
    assert not machine.grants


def test_one_who_asks_in_vain_for_a_second_leads_the_way(fleet: Fleet):
    """Neither grant nor refusal for a second: the machine probes by itself, half-open as well (E4)."""
    fleet.trip(0)
    fleet.time.now += 10.1
    assert fleet[0].call() == "refused: open"
    assert fleet[0].call() == "refused: open"
    fleet.time.now += 1.1

    assert fleet[0].call() == "success"
    assert fleet[0].state == "closed"
    fleet.pass_time(0.5)
    fleet[0].call()
    fleet.pass_time(0.3)
    assert fleet[0].call() == "success"
    fleet.pass_time(0.3)
    assert fleet.states == ["closed", "closed"]


def test_a_file_that_became_read_only_leaves_each_to_itself(fleet: Fleet):
    """Writes are refused: the worker leads itself, says why, and joins again when it may write."""
    store = fleet[0].cable._store
    store._database.execute("PRAGMA query_only = ON")  # SQLITE_READONLY, as of a disk that was remounted
    for _ in range(3):
        fleet[0].call(fails=True)
    fleet[0].step()
    assert "readonly" in str(fleet[0].registry.store_health)
    assert fleet.states == ["open", "closed"]
    fleet.pass_time(0.5)
    assert fleet.states == ["open", "open"]
    assert fleet[0].registry.store_health.connection == "up"


def test_a_listener_that_raises_or_is_slow_holds_up_neither_hub_nor_fleet(fleet: Fleet, caplog):
    """The hub hands events over, and goes on."""

    def explode(_event: object) -> None:
        raise RuntimeError("listener")

    fleet[1].registry.add_listener(explode)
    with caplog.at_level(logging.CRITICAL, "recloser"):
        fleet.trip(0)
    assert fleet[1].state == "open"


def test_calls_go_on_after_the_registry_was_closed(fleet: Fleet):
    """It leaves the fleet and decides alone; it neither starts a hub again nor hears of others."""
    fleet[0].registry.close()
    before = threading.active_count()
    for _ in range(3):
        assert fleet[0].call(fails=True) == "failure"
    assert fleet[0].call() == "refused: open"
    assert fleet[1].state == "closed"
    assert threading.active_count() == before
    assert fleet[0].registry.store_health.connection == "closed"


def test_breakers_nobody_holds_leave_the_hub(fleet: Fleet):
    """Per-origin breakers come and go; the hub keeps no links to those that are gone."""
    registry, rounds = fleet[0].registry, fleet[0].hub._rounds
    from recloser import registry as module

    for number in range(module.MAX_ORIGINS + 50):
        registry.for_origin(f"host-{number}:80")
    gc.collect()
    fleet[0].step()

    assert len(rounds._links) <= module.MAX_ORIGINS + 1


def test_a_clock_that_jumps_ahead_does_not_hold_a_circuit(fleet: Fleet):
    """An hour passes at once, for store and workers: what was open is due, and closes by one probe."""
    fleet.trip(0)
    fleet.time.now += 3600
    fleet.step()
    fleet[1].call()
    fleet.pass_time(0.3)
    assert fleet[1].call() == "success"
    fleet.pass_time(0.3)
    assert fleet.states == ["closed", "closed"]


def test_a_retry_after_without_end_is_cut_to_the_cap(fleet: Fleet):
    """A dependency that asks for infinity, or for no number, is heeded up to `recovery_timeout_max`."""

    class Busy(Exception):
        retry_after = math.inf

    for _ in range(3):
        with pytest.raises(Busy):
            fleet[0].breaker.call(_raise, Busy())
    fleet.step()
    with pytest.raises(CallRejectedError) as refused:
        fleet[1].breaker.call(lambda: 1)
    assert 0 <= refused.value.retry_after <= 660


def _raise(error: Exception) -> None:
    raise error


def test_shadow_probes_on_leases_and_rejects_nobody(tmp_path):
    """Two workers in shadow: one lease at a time, and every call runs."""
    with fleet_in(tmp_path, 2) as fleet:
        fleet[0].breaker.shadow(by="ann", reason="test")
        fleet.step()
        fleet.trip(0)
        assert fleet.states == ["open", "open"]
        fleet.pass_time(10.1)
        for _ in range(20):
            for member in fleet.members:
                assert member.call() == "success"
            fleet.pass_time(0.1)
        assert fleet.states == ["closed", "closed"]
        assert {member.breaker.mode.mode for member in fleet.members} == {Mode.SHADOW}


def test_what_is_remembered_is_bounded(fleet: Fleet):
    """A thousand trips and resets: nothing grows with them."""
    for _ in range(200):
        fleet.trip(0)
        fleet[1].breaker.reset(by="ann", reason="again")
        fleet.step()
    rounds = fleet[0].hub._rounds
    link = rounds._links[NAME][0]

    assert set(rounds._records) == {NAME}
    assert len(link._unsent) <= 16
    assert len(fleet[0].breaker._driver.machine.outbox) <= 64


def test_the_longest_retry_after_of_counted_failures_reaches_the_fleet(tmp_path):
    """The store trips on the counts of all, and for as long as a failure among them asked (C6, D4)."""

    class Busy(Exception):
        retry_after = 40.0

    rates = {"failure_threshold": None, "failure_rate_threshold": 0.5, "minimum_calls": 4}
    with fleet_in(tmp_path, 2, **rates) as fleet:
        for member in fleet.members:
            for _ in range(2):
                with pytest.raises(Busy):
                    member.breaker.call(_raise, Busy())
        fleet.pass_time(0.3)

        assert fleet.states == ["open", "open"]
        assert 39 < fleet[1].breaker.snapshot().retry_after <= 40


def test_a_verdict_of_an_epoch_that_has_ended_is_dropped(fleet: Fleet):
    """The operator has reset while the probe ran: what it says is past (D1)."""
    fleet.trip(0)
    fleet.pass_time(10.1)
    fleet[0].call()
    fleet.pass_time(0.2)
    probe = fleet[0].breaker.acquire()
    fleet[1].breaker.reset(by="ann", reason="well again")
    fleet.step()
    assert fleet.states == ["closed", "closed"]
    probe.failure(ConnectionError())
    fleet.pass_time(0.3)

    assert fleet.states == ["closed", "closed"]


def test_all_workers_ramp_after_the_fleet_has_closed(tmp_path):
    """Who adopts a recovery admits a growing share too (C7)."""
    with fleet_in(tmp_path, 2, recovery_ramp=20) as fleet:
        fleet.trip(0)
        fleet.pass_time(10.1)
        fleet[0].call()
        fleet.pass_time(0.2)
        assert fleet[0].call() == "success"
        fleet.pass_time(0.2)
        assert fleet.states == ["closed", "closed"]
        for member in fleet.members:
            answers = [member.call() for _ in range(10)]
            assert answers.count("refused: ramp") >= 7
        fleet.pass_time(21)
        assert {member.call() for member in fleet.members} == {"success"}


def test_a_probe_begun_alone_says_nothing_to_the_fleet(fleet: Fleet):
    """The store was lost and came back within one half-open epoch: only a lease's verdict counts there (E6)."""
    fleet.trip(0)
    fleet.pass_time(10.1)
    fleet[0].call()
    fleet.pass_time(0.2)
    fleet[1].cable.is_cut = True
    fleet.step()
    alone = fleet[1].breaker.acquire()
    fleet[1].cable.is_cut = False
    fleet.pass_time(0.5)
    assert fleet[1].epoch == fleet[0].epoch
    alone.success()
    fleet.pass_time(0.3)

    assert fleet.states == ["half_open", "half_open"]
    assert fleet[0].call() == "success"
    fleet.pass_time(0.3)
    assert fleet.states == ["closed", "closed"]
