"""The fleet's rules as breakers and their callers see them (SEMANTICS D, E), with time and rounds led by hand."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
import time

import pytest

from fleet import NAME, Fleet, fleet_in
from recloser import Registry
from recloser.core.events import FleetChanged, ModeChanged, StateChanged
from recloser.stores.health import Connection
from recloser.stores.operations import Flush, Lease, Settle
from recloser.stores.protocol import StoreError
from recloser.stores.rounds import BATCH
from recloser.stores.wakeup import Wakeup


@pytest.fixture
def fleet(tmp_path):
    with fleet_in(tmp_path) as fleet:
        yield fleet


def alone(tmp_path, size=2, **settings):
    return fleet_in(tmp_path, size, **settings)


# -- trips ---------------------------------------------------------------------------------------------------


def test_a_trip_in_one_worker_opens_all(fleet: Fleet):
    """Consecutive failures trip locally, and the trip is shared (D4)."""
    fleet.trip(0)

    assert fleet.states == ["open", "open"]
    assert fleet[0].epoch == fleet[1].epoch
    assert fleet[1].call() == "refused: open"


def test_all_tell_the_same_cause_and_the_same_deadline(fleet: Fleet):
    """Every worker says why and until when."""
    fleet.trip(0)
    snapshots = [member.breaker.snapshot() for member in fleet.members]

    assert str(snapshots[0].cause) == str(snapshots[1].cause) == "3 consecutive failures >= 3"
    assert snapshots[0].retry_after == pytest.approx(snapshots[1].retry_after) == pytest.approx(10)
    assert "ZeroDivisionError" in snapshots[1].last_failure


def test_one_process_tells_the_fleets_change_and_each_its_own(fleet: Fleet):
    """Listeners can tell a transition here, one that was adopted, and the one through which the fleet's changed."""
    fleet.trip(0)

    assert [event.adopted for event in fleet[0].told(StateChanged)] == [False]
    assert [event.adopted for event in fleet[1].told(StateChanged)] == [True]
    assert [len(member.told(FleetChanged)) for member in fleet.members] == [1, 0]


def test_two_trips_at_once_are_one(fleet: Fleet):
    """The second of two workers that trip in the same epoch follows the first (D1)."""
    for member in fleet.members:
        for _ in range(3):
            member.call(fails=True)
    fleet.step()

    assert fleet.states == ["open", "open"]
    assert fleet[0].epoch == fleet[1].epoch
    assert sum(len(member.told(FleetChanged)) for member in fleet.members) == 1


def test_an_eighth_of_the_failures_each_trips_all_as_one(tmp_path):
    """Time-window rates are judged by the store alone, on the counts of all (D4)."""
    with alone(tmp_path, 8, failure_threshold=None, failure_rate_threshold=0.5, minimum_calls=40) as fleet:
        for member in fleet.members:
            for fails in (True, False, True, False, True):
                member.call(fails=fails)
            assert member.state == "closed"
        fleet.pass_time(0.3)

        assert set(fleet.states) == {"open"}
        assert str(fleet[3].breaker.snapshot().cause) == "failures 24/40 = 60% >= 50%"


def test_a_healthy_fleet_is_not_tripped_by_who_tells_first(tmp_path):
    """Failures wait for the tick as successes do: a true 25 % does not trip at 50 %, whoever flushes first (D5)."""
    with alone(tmp_path, 4, failure_threshold=None, failure_rate_threshold=0.5, minimum_calls=8) as fleet:
        for _ in range(20):
            for member in fleet.members:
                for fails in (True, True, False, False, False, False, False, False):
                    member.call(fails=fails)
                member.step()
            fleet.pass_time(0.1)

        assert set(fleet.states) == {"closed"}


def test_failures_wait_for_the_tick(tmp_path):
    """Counts go out with the tick, not with each failure (D5)."""
    with alone(tmp_path, 1, failure_threshold=None, failure_rate_threshold=0.5) as fleet:
        fleet[0].cable.sent.clear()
        for _ in range(5):
            fleet[0].call(fails=True)
            fleet[0].step()
        assert not fleet[0].cable.sent
        fleet.pass_time(0.2)

        assert [(told.calls, told.failures) for told in fleet[0].cable.sent] == [(5, 5)]


def test_a_tick_finds_no_counts_in_an_open_circuit(tmp_path):
    """It asks for the probe that a call has wanted meanwhile, and for nothing else."""
    with alone(tmp_path, 1, failure_threshold=None, failure_rate_threshold=0.5, minimum_calls=2) as fleet:
        for _ in range(2):
            fleet[0].call(fails=True)
        fleet.pass_time(10.2)
        fleet[0].cable.sent.clear()
        assert fleet[0].call() == "refused: open"
        fleet.time.now += 1.1
        fleet[0].step()

        assert [type(told) for told in fleet[0].cable.sent] == [Lease]
        assert fleet[0].call() == "success"


def test_a_quorum_opens_the_fleet(tmp_path):
    """With a quorum of two, one worker's trip is its own; the second's is the fleet's (D4)."""
    with alone(tmp_path, 3, trip_quorum=2) as fleet:
        fleet.trip(0)
        assert fleet.states == ["open", "closed", "closed"]
        fleet.trip(1)

        assert fleet.states == ["open", "open", "open"]
        assert len({member.epoch for member in fleet.members}) == 1


def test_a_quorum_is_no_more_than_live_workers(tmp_path):
    """A single living worker opens the fleet, whatever quorum is asked for (D4)."""
    with alone(tmp_path, 1, trip_quorum=3) as fleet:
        fleet.trip(0)

        assert fleet[0].breaker._driver.machine.led
        assert fleet.join().state == "open"


def test_a_worker_short_of_the_quorum_recovers_by_itself(tmp_path):
    """It is open locally with local leases, and joins the fleet again when it closes (D4)."""
    with alone(tmp_path, 3, trip_quorum=2) as fleet:
        fleet.trip(0)
        fleet.pass_time(10.1)
        assert fleet[0].call() == "success"
        assert fleet[0].state == "closed"
        fleet.pass_time(3)

        assert fleet[0].breaker._driver.machine.led
        assert len({member.epoch for member in fleet.members}) == 1


def test_a_vote_lasts_while_its_worker_is_open(tmp_path):
    """A second trip some seconds later completes the quorum: votes are renewed while they hold (D4)."""
    with alone(tmp_path, 3, trip_quorum=2, recovery_timeout=60) as fleet:
        fleet.trip(0)
        fleet.pass_time(20)
        fleet.trip(1)

        assert fleet.states == ["open", "open", "open"]


# -- half-open -----------------------------------------------------------------------------------------------


def due(fleet: Fleet) -> None:
    fleet.trip(0)
    fleet.pass_time(10.1)


def test_only_a_lease_starts_half_open(fleet: Fleet):
    """The first call after the deadline is refused and wakes the hub; the grant waits for the next call (E3)."""
    due(fleet)
    assert fleet.states == ["open", "open"]
    assert fleet[0].call() == "refused: open"
    fleet[0].step()
    assert fleet[0].state == "half_open"

    assert fleet[0].call() == "success"
    fleet.step()
    assert fleet.states == ["closed", "closed"]


def test_one_probe_over_the_whole_fleet(fleet: Fleet):
    """At most `half_open_max_calls` probes run at once, whoever asks."""
    due(fleet)
    for member in fleet.members:
        member.call()
    fleet.step()
    permits = []
    for member in fleet.members:
        try:
            permits.append(member.breaker.acquire())
        except Exception as error:
            assert type(error).__name__ == "CircuitOpenError"
    assert len(permits) == 1

    permits[0].success()
    fleet.step()
    assert fleet.states == ["closed", "closed"]


def test_a_failing_probe_opens_all_again_and_they_wait_longer(fleet: Fleet):
    """Backoff is shared: reopenings are counted in the record."""
    due(fleet)
    fleet[1].call()
    fleet.step()
    assert fleet[1].call(fails=True) == "failure"
    fleet.step()

    assert fleet.states == ["open", "open"]
    assert fleet[0].breaker.snapshot().retry_after == pytest.approx(20, abs=0.2)
    assert fleet[0].breaker.snapshot().reopenings == 1


def test_a_probe_given_back_goes_to_another(fleet: Fleet):
    """An ignored outcome gives the place back to the fleet."""
    due(fleet)
    fleet[0].call()
    fleet[0].step()
    fleet[0].breaker.acquire().ignore()
    fleet[1].step()
    fleet[1].call()
    fleet.step()

    assert fleet[1].call() == "success"


def test_the_probe_of_a_dead_worker_is_granted_again_at_its_deadline(fleet: Fleet):
    """A killed worker's lease delays recovery by one lease, not more, whatever the traffic."""
    due(fleet)
    fleet[0].call()
    fleet[0].step()
    permit = fleet[0].breaker.acquire()
    dead = fleet.members.pop(0)
    fleet.step()
    assert fleet[0].call() == "refused: half_open"  # once: no more traffic is needed
    fleet.pass_time(6.2)

    assert fleet[0].call() == "success"
    fleet.step()
    assert fleet[0].state == "closed"
    permit.ignore()
    dead.close()


def test_an_unused_grant_is_renewed(fleet: Fleet):
    """A grant waits for its call for longer than a lease (E4)."""
    due(fleet)
    fleet[0].call()
    fleet.pass_time(30)

    assert fleet[0].call() == "success"


def test_an_unused_grant_goes_to_who_asks(fleet: Fleet):
    """The holder of an unused grant gives it back when another worker asks (E4)."""
    due(fleet)
    fleet[0].call()
    fleet.step()
    assert fleet[1].call() == "refused: half_open"
    fleet.pass_time(1.5)

    assert fleet[1].call() == "success"


@pytest.mark.parametrize("every", [0.4, 0.7, 1.3])
def test_low_traffic_closes_with_a_short_lease(tmp_path, every):
    """A call every 0.7 s with a lease of 0.5 s closes the circuit (E4; seen: 12 of 12 were refused for ever)."""
    with alone(tmp_path, 2, probe_timeout=0.5) as fleet:
        due(fleet)
        for _ in range(12):
            if fleet[1].call() == "success":
                break
            fleet.pass_time(every)
        fleet.step()

        assert fleet.states == ["closed", "closed"]


def test_a_dependency_slower_than_its_lease_closes(tmp_path):
    """A verdict after the lease's end still counts, once (C4)."""
    with alone(tmp_path, 2, probe_timeout=0.5) as fleet:
        due(fleet)
        fleet[0].call()
        fleet.step()
        permit = fleet[0].breaker.acquire()
        fleet.pass_time(1.0)
        permit.success()
        fleet.step()

        assert fleet.states == ["closed", "closed"]


def test_probes_that_hang_open_again(tmp_path):
    """Three expiries without a verdict open the circuit again: half-open cannot last (C4)."""
    with alone(tmp_path, 2, probe_timeout=0.5) as fleet:
        due(fleet)
        hung = []
        for _ in range(40):
            try:
                hung.append(fleet[len(hung) % 2].breaker.acquire())
            except Exception:
                if fleet.states == ["open", "open"] and hung:
                    break
            fleet.pass_time(0.2)

        assert fleet.states == ["open", "open"]
        assert str(fleet[0].breaker.snapshot().cause) == "3 probes without a verdict at the deadline"
        for permit in hung:
            permit.ignore()


def test_a_silent_hub_does_not_hold_up_recovery(fleet: Fleet):
    """If a request for a probe is unanswered for a second, the machine leads itself (E4)."""
    due(fleet)
    assert fleet[0].call() == "refused: open"
    fleet.time.now += 1.1

    assert fleet[0].call() == "success"
    assert fleet[0].state == "closed"


# -- modes ---------------------------------------------------------------------------------------------------


def test_an_operators_mode_reaches_all(fleet: Fleet):
    """Forced open on one worker refuses on all, with who and why."""
    fleet[0].breaker.force_open(by="ann", reason="migration")
    fleet.step()

    assert fleet[1].call() == "refused: forced_open"
    assert fleet[1].breaker.mode.by == "ann"
    assert [event.adopted for event in fleet[1].told(ModeChanged)] == [True]
    assert [event.adopted for event in fleet[0].told(ModeChanged)] == [False]

    fleet[1].breaker.auto(by="bob", reason="done")
    fleet.step()
    assert [member.call() for member in fleet.members] == ["success", "success"]


def test_who_looks_on_sees_within_a_second_that_all_obey(fleet: Fleet):
    """After a change no worker waits for its next heartbeat to say that it follows; between changes it does."""
    fleet.pass_time(5.1)
    fleet[0].breaker.force_open(by="ann", reason="migration")
    fleet.pass_time(0.7)

    heard = fleet[0].cable.view().workers
    assert [each.worker.beliefs["payments"].mode for each in heard] == ["forced_open"] * 2
    fleet.pass_time(1.5)
    assert all(each.ago > 1.4 for each in fleet[0].cable.view().workers)


def test_an_operators_open_has_no_first_probe(fleet: Fleet):
    """So nobody is told when that would be, not even that it is never."""
    fleet[0].breaker.force_open(by="ann", reason="migration")
    fleet.step(3)
    opened = [event for member in fleet.members for event in member.told(StateChanged)]
    assert [event.retry_after for event in opened] == [0.0, 0.0]


def test_a_mode_ends_by_itself_everywhere(fleet: Fleet):
    """It ends at its `until`, and once."""
    fleet[0].breaker.force_open(by="ann", reason="x", until=fleet.time.wall() + 5)
    fleet.step()
    fleet.pass_time(5.1)
    assert [member.call() for member in fleet.members] == ["success", "success"]
    fleet.step()

    assert len({member.epoch for member in fleet.members}) == 1
    assert [member.call() for member in fleet.members] == ["success", "success"]


def test_a_mode_survives_all_workers(fleet: Fleet):
    """It holds for workers that come after those that knew it."""
    fleet[0].breaker.force_open(by="ann", reason="x")
    fleet.step()
    for member in fleet.members:
        member.close()
    fleet.members.clear()

    assert fleet.join().call() == "refused: forced_open"


def test_reset_closes_all(fleet: Fleet):
    """A reset reaches all workers."""
    fleet.trip(0)
    fleet[1].breaker.reset(by="ann", reason="fixed")
    fleet.step()

    assert fleet.states == ["closed", "closed"]
    assert fleet[0].breaker.snapshot().cause.by == "ann"


def test_an_action_during_an_outage_is_told_afterwards(fleet: Fleet):
    """What an operator did while the store was lost reaches the fleet on its return."""
    fleet[0].cable.is_cut = True
    fleet.step()
    fleet[0].breaker.force_open(by="ann", reason="x")
    fleet.step()
    assert fleet[1].call() == "success"
    fleet[0].cable.is_cut = False
    fleet.pass_time(1)

    assert fleet[1].call() == "refused: forced_open"


# -- outages -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("act", "by", "state"),
    [("force_open", "ann", "open"), ("shadow", "ann", "open"), ("reset", "", "closed")],
)
def test_an_action_that_the_store_failed_on_is_told_again(fleet: Fleet, act, by, state):
    """Once it is back, and though nobody calls: another worker may have told it the rest of what was known."""
    fleet.trip(0)
    fleet[0].cable.is_cut = True
    getattr(fleet[0].breaker, act)(by="ann", reason="x")
    fleet[0].step()
    fleet[0].cable.is_cut = False
    fleet.pass_time(1)

    assert [(member.breaker.mode.by, member.state) for member in fleet.members] == [(by, state)] * 2


@pytest.mark.parametrize("is_done", [False, True])
def test_what_a_surprise_kept_from_the_store_is_told_again(fleet: Fleet, caplog, monkeypatch, is_done):
    """A defect of ours or of a client library: logged, seen in health, and it costs neither action nor hub (D6)."""
    fleet.trip(0)
    cable = fleet[0].cable
    cable.surprise = TypeError("unexpected")
    if not is_done:
        monkeypatch.setattr(cable, "exchange", lambda _operations: cable._fail())
    fleet[0].breaker.reset(by="ann", reason="x")
    fleet[0].step()
    health = fleet[0].registry.store_health
    assert (health.connection, "TypeError('unexpected')" in health.error) == (Connection.DOWN, True)
    assert "the hub of" in caplog.text
    monkeypatch.undo()
    cable.surprise = None
    fleet.pass_time(1)

    assert fleet[0].registry.store_health.connection is Connection.UP
    assert fleet.states == ["closed", "closed"]
    assert len(cable.view().transitions) == 2


def test_a_surprise_at_the_farewell_is_logged(fleet: Fleet, caplog):
    """The hub's thread comes to its end all the same."""
    fleet[0].breaker.reset(by="ann", reason="x")
    fleet[0].cable.surprise = TypeError("unexpected")
    fleet[0].hub._rounds.leave()
    fleet[0].cable.surprise = None

    assert "failed at its farewell" in caplog.text
    assert "not closed" in caplog.text


def test_a_store_that_can_only_be_read_is_lost_once(fleet: Fleet, caplog, monkeypatch):
    """A full disk, or a user without some right: no line in the log for each try, and tries become rare."""
    tries = []

    def refuse(_worker):
        tries.append(fleet.time.now)
        raise StoreError("the disk is full")

    monkeypatch.setattr(fleet[0].cable, "beat", refuse)
    fleet.pass_time(30)
    assert caplog.text.count("the disk is full") == 1
    assert tries[-1] - tries[-2] > 2
    assert fleet[0].registry.store_health.connection is Connection.DOWN
    monkeypatch.undo()
    fleet.pass_time(6)

    assert fleet[0].registry.store_health.connection is Connection.UP


def test_without_the_store_each_leads_itself(fleet: Fleet):
    """The same policies go on locally (E6), and health says so."""
    for member in fleet.members:
        member.cable.is_cut = True
    fleet.step()
    assert fleet[0].registry.store_health.connection is Connection.DOWN
    assert "cut" in fleet[0].registry.store_health.error
    fleet.trip(0)
    assert fleet.states == ["open", "closed"]
    fleet.pass_time(10.1)

    assert fleet[0].call() == "success"
    assert fleet[0].state == "closed"


def test_health_tells_what_stands_in_the_way_now(fleet: Fleet):
    """The file was deleted, and then the folder is open to others: who mends it must hear of the latter."""
    folder = fleet.folder / "fleet"
    for found in folder.iterdir():
        found.unlink()
    fleet.pass_time(2.1)
    folder.chmod(0o777)
    for found in folder.iterdir():
        found.unlink()
    fleet.pass_time(6)
    health = fleet[0].registry.store_health
    assert (health.connection, "chmod 700" in health.error) == (Connection.DOWN, True)
    since = health.since
    fleet.pass_time(6)
    assert fleet[0].registry.store_health.since == since
    folder.chmod(0o700)
    fleet.pass_time(6)

    assert fleet[0].registry.store_health.connection is Connection.UP


def test_rates_are_judged_here_while_the_store_is_lost(tmp_path):
    """Local judgement takes over for time windows too (E6)."""
    with alone(tmp_path, 1, failure_threshold=None, failure_rate_threshold=0.5, minimum_calls=4) as fleet:
        fleet[0].cable.is_cut = True
        fleet.step()
        for _ in range(4):
            fleet[0].call(fails=True)

        assert fleet.states == ["open"]


def test_an_unexpired_open_is_sent_as_a_trip_on_return(fleet: Fleet):
    """Reconciliation keeps an unexpired open (E6)."""
    fleet[0].cable.is_cut = True
    fleet.step()
    fleet.trip(0)
    assert fleet.states == ["open", "closed"]
    fleet[0].cable.is_cut = False
    fleet.pass_time(1)

    assert fleet.states == ["open", "open"]
    assert fleet[1].breaker.snapshot().retry_after == pytest.approx(9, abs=0.2)


def test_a_finished_open_is_not_resurrected(fleet: Fleet):
    """A worker that comes back with an open that has ended does not open the others (E6)."""
    fleet[0].cable.is_cut = True
    fleet.step()
    fleet.trip(0)
    fleet.pass_time(10.2)
    fleet[0].cable.is_cut = False
    fleet.pass_time(6)

    assert fleet[1].state == "closed"
    assert [member.call() for member in fleet.members] == ["success", "success"]


def test_a_local_half_open_yields_to_the_record(fleet: Fleet):
    """What the fleet decided meanwhile counts (E6)."""
    fleet[0].cable.is_cut = True
    fleet.step()
    fleet.trip(0)
    fleet.pass_time(10.2)
    permit = fleet[0].breaker.acquire()
    assert fleet[0].state == "half_open"
    fleet[0].cable.is_cut = False
    fleet.pass_time(6)
    assert fleet[0].state == "closed"
    permit.failure()
    fleet.step()

    assert fleet.states == ["closed", "closed"]


def test_a_store_that_comes_back_empty_is_seeded_again(fleet: Fleet):
    """The workers restore what they know: the open circuit stays open, and all agree again (D1)."""
    fleet.trip(0)
    for member in fleet.members:
        member.cable.is_cut = True
    fleet.step()
    for found in (fleet.folder / "fleet").iterdir():
        found.unlink()
    for member in fleet.members:
        member.cable.is_cut = False
    fleet.pass_time(3)

    assert fleet.states == ["open", "open"]
    assert fleet[0].epoch == fleet[1].epoch
    assert fleet.join().state == "open"


def test_a_circuit_that_was_due_when_its_store_came_back_empty_closes(fleet: Fleet):
    """Its open period ended while nobody called: the end must not be forgotten with it (D1)."""
    fleet.trip(0)
    for member in fleet.members:
        member.cable.is_cut = True
    fleet.step()
    for found in (fleet.folder / "fleet").iterdir():
        found.unlink()
    fleet.pass_time(10.5)
    assert fleet.states == ["open", "open"]
    for member in fleet.members:
        member.cable.is_cut = False
    fleet.pass_time(6)
    for member in fleet.members:
        member.call()
    fleet.step()
    fleet.members[0].call()
    fleet.step()

    assert fleet.states == ["closed", "closed"]


def test_a_store_that_lost_its_data_while_nobody_called_is_seeded_again(fleet: Fleet):
    """The same file, as it was before the operator acted: nobody has anything to tell it, and all notice (D1)."""
    with contextlib.closing(sqlite3.connect(fleet.folder / "fleet" / "store.db")) as file:
        before = sqlite3.connect(":memory:")
        file.backup(before)
        fleet[0].breaker.force_open(by="ann", reason="x")
        fleet.step()
        before.backup(file)
        before.close()
    fleet.pass_time(1)
    late = fleet.join()

    assert late.breaker.mode.by == "ann"
    assert fleet.states == ["open", "open", "open"]


def test_a_mode_is_restored_to_an_empty_store(fleet: Fleet):
    """An operator's mode outlives the store's data."""
    fleet[0].breaker.force_open(by="ann", reason="x")
    fleet.step()
    fleet[1].cable.is_cut = fleet[0].cable.is_cut = True
    fleet.step()
    for found in (fleet.folder / "fleet").iterdir():
        found.unlink()
    fleet[1].cable.is_cut = fleet[0].cable.is_cut = False
    fleet.pass_time(3)

    newcomer = fleet.join()
    assert newcomer.call() == "refused: forced_open"
    assert newcomer.breaker.mode.by == "ann"


def test_who_votes_restores_what_the_fleet_knew(tmp_path):
    """Neither its vote nor a lower epoch: an operator's mode outlives the store's data here, too (D1, D4)."""
    with fleet_in(tmp_path, 2, trip_quorum=2) as fleet:
        fleet[1].breaker.shadow(by="ann", reason="x")
        fleet.step()
        fleet.trip(0)
        assert fleet.states == ["open", "closed"]
        before = fleet[0].hub._rounds._links[NAME][0].known
        fleet[1].cable.is_cut = True
        for found in (fleet.folder / "fleet").iterdir():
            found.unlink()
        fleet.pass_time(3)

        assert fleet[0].breaker.mode.mode == "shadow"
        assert fleet[0].hub._rounds._links[NAME][0].known > before
        late = fleet.join()
        assert (late.state, late.breaker.mode.by) == ("closed", "ann")


def test_a_lost_answer_is_repeated_without_harm(fleet: Fleet):
    """Trips and verdicts repeat idempotently; the fleet changes once (D6)."""
    for _ in range(3):
        fleet[0].call(fails=True)
    fleet[0].cable.loses_answers = True
    fleet.step()
    fleet[0].cable.loses_answers = False
    fleet.pass_time(1)
    assert fleet.states == ["open", "open"]
    opened = fleet[0].cable.view().transitions
    assert len(opened) == 1

    fleet.pass_time(10)
    fleet[0].call()
    fleet.step()
    permit = fleet[0].breaker.acquire()
    permit.success()
    fleet[0].cable.loses_answers = True
    fleet.step()
    fleet[0].cable.loses_answers = False
    fleet.pass_time(1)

    assert fleet.states == ["closed", "closed"]


def test_no_outcome_of_another_epoch_is_counted(tmp_path):
    """Counts of a closed epoch that has ended are dropped (D4)."""
    settings = {"failure_threshold": None, "failure_rate_threshold": 0.5, "minimum_calls": 10}
    with alone(tmp_path, 2, **settings) as fleet:
        for _ in range(9):
            fleet[0].call(fails=True)
        fleet[1].breaker.reset(by="ann", reason="x")
        fleet[1].step()
        fleet.pass_time(0.3)
        for _ in range(5):
            fleet[0].call(fails=True)
        fleet.pass_time(0.3)

        assert fleet.states == ["closed", "closed"]


def test_what_many_breakers_have_to_tell_goes_in_batches(tmp_path, monkeypatch):
    """None holds up a store for long, nor another worker; of one that fails nothing is lost that must be told."""
    with alone(tmp_path, 1) as fleet:
        cable, sizes = fleet[0].cable, []
        names = [f"b-{number}" for number in range(2 * BATCH + 50)]
        with Registry({"BREAKERS": {name: {} for name in names}}, store=cable, clock=fleet.time) as registry:
            registry._hub.begun = True
            registry._hub.step()
            for name in names:
                registry[name].force_open(by="ann", reason="x")
            exchange = cable.exchange

            def once(operations):
                sizes.append(len(operations))
                if len(sizes) == 2:
                    raise StoreError("the answer was lost")
                return exchange(operations)

            monkeypatch.setattr(cable, "exchange", once)
            registry._hub.step()
            fleet.time.now += 1
            registry._hub.step()

            assert sizes[:2] == [BATCH, BATCH]
            assert max(sizes) == BATCH
            view = cable.view()
            assert {view.breakers[name].record.override.by for name in names} == {"ann"}


def test_what_was_not_sent_yet_is_not_lost(tmp_path, monkeypatch):
    """Counts under way are dropped with a store that fails (D6), not those of a batch whose turn had not come."""
    with alone(tmp_path, 1) as fleet:
        cable, settings = fleet[0].cable, {"failure_rate_threshold": 0.5}
        names = [f"b-{number}" for number in range(BATCH + 50)]
        breakers = dict.fromkeys(names, settings)
        with Registry({"BREAKERS": breakers}, store=cable, clock=fleet.time) as registry:
            registry._hub.begun = True
            registry._hub.step()
            for name in names:
                registry[name].call(int)
            cable.loses_answers = True
            fleet.time.now += 1
            registry._hub.step()
            cable.loses_answers = False
            cable.sent.clear()
            fleet.time.now += 1
            registry._hub.step()

            told = [operation.breaker for operation in cable.sent if isinstance(operation, Flush)]
            assert told == names[BATCH:]
            assert {shared.calls for name, shared in cable.view().breakers.items() if name != NAME} == {1}


def test_before_the_first_sync_a_worker_is_closed(fleet: Fleet):
    """It serves at once, and learns within its first round what the fleet knows (E7)."""
    fleet.trip(0)
    newcomer = fleet.join()

    assert newcomer.state == "open"
    assert newcomer.registry.ready(0)


def test_who_has_no_breakers_is_no_worker(fleet: Fleet):
    """A command that only looks counts in no quorum, and is not listed."""
    onlooker = Registry({}, store=fleet.store(), clock=fleet.time, wall_clock=fleet.time.wall)
    onlooker._hub.begun = True
    onlooker._hub.step()
    fleet.pass_time(3)

    assert len(onlooker._hub._rounds.store.view().workers) == 2
    assert fleet[0].registry.store_health.workers == 2
    onlooker.close()
    onlooker._hub._rounds.store.close()


def test_reading_the_view_agrees_with_the_workers(fleet: Fleet):
    """The fleet view tells breakers, workers and what they believe, and the last transitions."""
    fleet.trip(0)
    fleet.pass_time(2.5)
    view = fleet[0].cable.view()

    assert view.breakers["payments"].record.state == "open"
    assert len(view.workers) == 2
    assert {heard.worker.beliefs["payments"].state for heard in view.workers} == {"open"}
    assert [(change.old, change.new) for change in view.transitions] == [("closed", "open")]
    assert sum(heard.worker.beliefs["payments"].failures for heard in view.workers) == 3


def test_a_quiet_closed_fleet_tells_nothing_but_heartbeats(fleet: Fleet):
    """There is no polling per breaker."""
    fleet.pass_time(1)
    for member in fleet.members:
        member.cable.sent.clear()
    for _ in range(100):
        assert fleet[0].call() == "success"
    fleet.pass_time(5)

    assert fleet[0].cable.sent == fleet[1].cable.sent == []


def test_every_operation_of_a_recovery_is_told_once(fleet: Fleet):
    """A trip, a lease and a verdict: three operations bring the fleet through an outage of its dependency."""
    due(fleet)
    fleet[0].call()
    fleet.step()
    fleet[0].call()
    fleet.step()

    kinds = [type(told) for told in fleet[0].cable.sent]
    assert kinds.count(Flush) == 1
    assert kinds.count(Settle) == 1
    assert kinds.count(Lease) <= 2


# -- the thread ----------------------------------------------------------------------------------------------


def test_nothing_starts_before_the_first_call(tmp_path):
    """Neither the declaration nor a decorator starts a thread or makes a file (E1)."""
    store = tmp_path / "fleet" / "store.db"
    with Registry({"STORE": f"sqlite://{store}", "BREAKERS": {NAME: {}}}) as registry:
        charge = registry[NAME](lambda: "charged")
        assert "recloser-hub" not in {thread.name for thread in threading.enumerate()}
        assert not store.parent.exists()
        assert charge() == "charged"
        assert registry.ready(20)
        assert "recloser-hub" in {thread.name for thread in threading.enumerate()}


def test_a_thread_that_cannot_start_is_logged_and_never_raised(tmp_path, monkeypatch, caplog):
    """A process out of threads goes on alone, and its health says why (E1)."""

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with Registry({"STORE": f"sqlite://{tmp_path}/fleet/store.db", "BREAKERS": {NAME: {}}}) as registry:
        with caplog.at_level(logging.ERROR, "recloser"):
            assert registry[NAME].call(lambda: 1) == 1
            assert registry[NAME].call(lambda: 1) == 1
        assert "can't start new thread" in str(registry.store_health)
    assert len([record for record in caplog.records if "did not start" in record.message]) == 1


def test_a_lease_counts_from_when_it_was_asked_for(fleet: Fleet):
    """So that its holder's ends before the store's, however long the answer took (E5)."""
    fleet.trip(0)
    fleet.pass_time(10.1)
    fleet[0].call()
    exchange = fleet[0].cable.exchange

    def slowly(operations):
        answers = exchange(operations)
        fleet.time.now += 0.2
        return answers

    asked = fleet.time.now
    fleet[0].cable.exchange = slowly
    fleet[0].step()
    (lease,) = fleet[0].breaker._driver.machine.grants
    assert lease.deadline == asked + 6


def test_an_open_period_counts_from_when_it_was_heard_of(fleet: Fleet):
    """Nobody probes before the store's own end, however long the news took (E5)."""
    fleet.trip(0)
    news = fleet[1].cable.news
    fleet[1].cable.is_cut = True
    fleet.pass_time(0.3)

    def slowly():
        told = news()
        fleet.time.now += 0.2
        return told

    fleet[1].cable.is_cut = False
    fleet[1].cable.news = slowly
    fleet.time.now += 6
    fleet[1].step()
    ends = [member.breaker._driver.machine.condition.until for member in fleet.members]
    assert ends[1] == pytest.approx(ends[0] + 0.2)


def test_callers_wake_the_hub_by_one_byte_however_many_they_are():
    """Wake-ups are coalesced, and the next wait hears the next one (E2)."""
    bell = Wakeup()
    try:
        for _ in range(100_000):
            bell.ring()
        assert len(bell._ear.recv(4096)) == 1
        bell.wait(0, None)
        bell.ring()
        started = time.monotonic()
        bell.wait(60, None)
        assert time.monotonic() - started < 30
    finally:
        bell.close()
