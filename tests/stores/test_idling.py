"""What a process that does nothing costs, and what it is told and tells all the same (SEMANTICS E1)."""

from __future__ import annotations

import pytest

from fleet import NAME, Fleet, fleet_in
from recloser.stores import sqlite
from recloser.stores.rounds import BUSY, IDLE, IDLE_POLL, TICK

ORIGIN = "shop.example:443"


@pytest.fixture
def fleet(tmp_path):
    """Two workers whose store judges rates; the first one's process does nothing else."""
    rates = {"failure_threshold": None, "failure_rate_threshold": 0.5, "minimum_calls": 100}
    with fleet_in(tmp_path, 2, **rates) as fleet:
        fleet[0].hub._rounds.cpu = lambda: 0.0
        fleet.pass_time(5)
        for member in fleet.members:
            member.cable.sent.clear()
        yield fleet


def until_told(fleet: Fleet) -> float:
    """Let time pass until the first worker tells its counts; how long that took (seconds)."""
    began = fleet.time.now
    while not fleet[0].cable.sent and fleet.time.now < began + 10:
        fleet.pass_time(0.05, 0.05)
    return fleet.time.now - began


def belief(fleet: Fleet):
    """What the first worker's heartbeat tells."""
    fleet.pass_time(2.1)
    worker = fleet[0].hub.worker
    return next(
        heard.worker.beliefs[NAME] for heard in fleet[0].cable.view().workers if heard.worker.id == worker
    )


def test_an_idle_process_counts_within_a_second(fleet: Fleet):
    """A call that takes hardly any time is told with the next tick, which is a second away at most."""
    fleet[0].call()

    assert until_told(fleet) <= IDLE + 0.1


def test_a_process_that_works_counts_at_its_next_look(fleet: Fleet):
    """Who has used the processor is not idle: the counts do not wait for the slow tick, nor for the fast ones after it."""
    fleet.pass_time(IDLE)
    fleet[0].cable.sent.clear()
    fleet[0].call()
    fleet[0].hub._rounds.cpu = lambda: 2 * BUSY
    fleet[0].step()

    assert len(fleet[0].cable.sent) == 1
    assert fleet[0].hub.step() <= fleet[0].cable.poll_interval


def test_who_works_is_told_at_once(fleet: Fleet):
    """A process that computes, if it calls no breaker yet, looks for news as often as one that does."""
    fleet[0].hub._rounds.cpu = fleet.time
    fleet.pass_time(IDLE)
    fleet.time.now += 2 * TICK

    assert fleet[0].hub.step() <= fleet[0].cable.poll_interval


def test_counts_of_a_busy_process_wait_for_the_tick(fleet: Fleet):
    """However much the processor works, counts go out ten times a second (D5)."""
    member = fleet[1]
    member.hub._rounds.cpu = iter(range(10_000)).__next__
    member.call()
    fleet.pass_time(TICK)
    member.cable.sent.clear()
    for _ in range(5):
        member.call(fails=True)
        member.step()

    assert not member.cable.sent


def test_a_look_at_which_nothing_is_due_asks_no_breaker(fleet: Fleet, monkeypatch):
    """An idle hub asks its store for news, four times a second, and no breaker for anything."""
    rounds = fleet[0].hub._rounds
    fleet.pass_time(0.3)
    rounds._flush_at = rounds._beat_at = fleet.time.now + 10

    def asked():
        raise AssertionError("a breaker was asked")

    monkeypatch.setattr(rounds, "_living", asked)
    fleet.time.now += 0.3

    assert fleet[0].hub.step() == pytest.approx(IDLE_POLL)
    assert fleet[0].hub.health.connection == "up"


def test_an_idle_process_hears_at_each_look(fleet: Fleet):
    """What another worker, or an operator, has done is followed at once."""
    fleet[1].breaker.force_open(by="ann", reason="migration")
    fleet[1].step()
    fleet.time.now += IDLE_POLL
    fleet[0].step()

    assert fleet[0].state == "open"


def test_a_breaker_that_is_made_later_joins_at_once(fleet: Fleet):
    """A breaker of a new origin does not wait for a tick to hear that its fleet's is open."""
    fleet[1].registry.for_origin(ORIGIN).force_open(by="ann", reason="migration")
    fleet[1].step(2)
    fleet[0].step()
    late = fleet[0].registry.for_origin(ORIGIN)
    fleet[0].hub.step()

    assert late.state == "open"


def test_a_wake_during_a_round_is_heard_by_the_next(fleet: Fleet):
    """A caller may be about to add its breaker to what a round has just taken."""
    waking = fleet[0].hub._rounds.dirty.add
    fleet[0].hub.wake(NAME)
    fleet[0].step()
    waking(NAME)

    assert fleet[0].hub._rounds.pause() == 0


def test_counts_since_the_last_tick_are_told_at_the_end(fleet: Fleet):
    """A process that ends, as a short job does, leaves no counts untold."""
    fleet.pass_time(IDLE)
    fleet[0].step()
    for fails in (True, False, True):
        fleet[0].call(fails=fails)
    fleet[0].cable.sent.clear()
    fleet[0].hub._rounds.leave()

    assert [(told.calls, told.failures) for told in fleet[0].cable.sent] == [(3, 2)]


def test_an_idle_worker_tells_what_it_believes_anew(fleet: Fleet):
    """What has not changed is not read again; each thing that a heartbeat tells is a change."""
    breaker = fleet[0].breaker
    assert belief(fleet).calls == 0
    fleet[0].call()
    assert (belief(fleet).calls, belief(fleet).window_calls) == (1, 1)
    fleet.pass_time(120)
    assert (belief(fleet).calls, belief(fleet).window_calls) == (1, 0)
    with pytest.raises(KeyboardInterrupt):
        breaker.call(_interrupt)
    assert belief(fleet).ignored == 1
    fleet[0].registry.degraded.note(NAME, "stale")
    assert belief(fleet).degraded == 1
    breaker.force_closed(by="ann", reason="test")
    assert belief(fleet).mode == "forced_closed"
    breaker.force_open(by="ann", reason="migration")
    fleet[0].call()
    assert (belief(fleet).mode, belief(fleet).rejected) == ("forced_open", 1)


def test_an_idle_worker_tells_whom_a_closed_circuit_refused(tmp_path):
    """A bulkhead's refusals are told, too."""
    with fleet_in(tmp_path, 1, max_concurrent_calls=1) as fleet:
        fleet.pass_time(5)
        first = fleet[0].breaker.acquire()
        assert fleet[0].call() == "refused: bulkhead"
        assert belief(fleet).rejected == 1
        assert fleet[0].call() == "refused: bulkhead"
        assert belief(fleet).rejected == 2
        first.success()


def test_a_breaker_in_use_is_remembered_and_one_that_nobody_has_is_not(fleet: Fleet):
    """A worker says now and then which breakers it has; a day after the last one that had it, one at rest is dropped."""
    fleet[1].registry.for_origin(ORIGIN).reset(by="ann", reason="new")
    fleet[1].step(2)
    fleet[1].call()
    fleet.pass_time(1)
    assert set(fleet[0].cable.view().breakers) == {NAME, ORIGIN}
    fleet.members.pop().close()
    fleet.pass_time(sqlite.AT_REST + 3, sqlite.EXTEND)

    assert set(fleet[0].cable.view().breakers) == {NAME}


def _interrupt() -> None:
    raise KeyboardInterrupt
