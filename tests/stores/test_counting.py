"""What a fleet counts together, and what opens it (SEMANTICS D4, D6, D7)."""

from __future__ import annotations

import pytest

from recloser.core.events import Cause, Rule
from recloser.core.state import Epoch, Mode, State
from recloser.stores.operations import Chance, Flush, new_tag
from stores.fleet import NO_WINDOW, TERMS

FIVE_IN_A_ROW = Cause(Rule.CONSECUTIVE_FAILURES, 5, 0, 5.0)


def test_d4_eight_workers_with_an_eighth_of_the_failures_each_trip_as_one(fleet):
    """No worker sees enough calls to judge by, and all together do."""
    workers = [fleet.member(terms=TERMS._replace(minimum_calls=16)) for _ in range(8)]
    for worker in workers[:-1]:
        assert worker.flush(calls=2, failures=1).record.state is State.CLOSED
    last = workers[-1].flush(calls=2, failures=1)

    assert last.record.state is State.OPEN
    assert last.record.cause == Cause(Rule.FAILURE_RATE, 8, 16, 0.5)


def test_d4_whoever_completes_the_window_has_begun_the_epoch(fleet):
    """One worker alone learns that it was its flush that opened the circuit."""
    ann, bob = fleet.member(), fleet.member()
    assert not ann.flush(calls=5, failures=3).won
    assert bob.flush(calls=5, failures=3, last_failure="Timeout").won
    answer = ann.flush(calls=1)
    assert not answer.won
    assert answer.record == bob.records["shop"]
    assert answer.record.last_failure == "Timeout"
    assert answer.record.open_until == fleet.clock() + 10


def test_d4_counts_of_another_epoch_are_dropped(fleet):
    """What happened before the circuit opened or closed says nothing about now."""
    ann, bob = fleet.member(), fleet.member()
    ann.force(Mode.SHADOW)
    assert bob.epoch() != ann.epoch()
    assert bob.flush(calls=50, failures=50).record.state is State.CLOSED
    assert ann.store.view().breakers["shop"].calls == 0


@pytest.mark.parametrize("calls", [9, 10])
def test_d4_no_rate_is_judged_below_the_minimum(fleet, calls):
    """Nine failures of nine are too few; ten of ten are not."""
    state = fleet.member().flush(calls=calls, failures=calls).record.state
    assert state is (State.OPEN if calls == 10 else State.CLOSED)


def test_d4_slow_calls_trip_by_their_own_rate(fleet):
    """The slow rate is judged after the failure rate."""
    ann = fleet.member(terms=TERMS._replace(slow_rate=0.4))
    assert ann.flush(calls=10, failures=1, slow=4).record.cause == Cause(Rule.SLOW_CALL_RATE, 4, 10, 0.4)


def test_b5_what_is_older_than_the_window_is_forgotten(fleet):
    """Failures of eleven seconds ago are no part of the last ten."""
    ann = fleet.member()
    ann.flush(calls=9, failures=9)
    fleet.clock.advance(11)
    assert ann.flush(calls=1, failures=1).record.state is State.CLOSED
    assert ann.store.view().breakers["shop"].calls == 1


def test_d4_a_window_slides_by_tenths(fleet):
    """What is nine tenths of a window old counts, and what is a whole one old does not."""
    ann = fleet.member()
    ann.flush(calls=4, failures=4)
    fleet.clock.advance(9)
    ann.flush(calls=5, failures=0)
    assert ann.store.view().breakers["shop"].calls == 9
    fleet.clock.advance(1)
    assert ann.store.view().breakers["shop"].calls == 5


def test_d4_a_local_trip_opens_the_fleet(fleet):
    """Consecutive failures are seen by one worker, and their verdict is shared with its cause."""
    ann, bob = fleet.member(terms=NO_WINDOW), fleet.member(terms=NO_WINDOW)
    answer = ann.trip(FIVE_IN_A_ROW, period=12.0, reopenings=1, last_failure="Refused")
    assert answer.won
    record = bob.read()
    assert (record.state, record.cause, record.reopenings) == (State.OPEN, FIVE_IN_A_ROW, 1)
    assert record.open_until == pytest.approx(fleet.clock() + 12, abs=1e-6)
    assert record.last_failure == "Refused"


def test_d2_a_trip_opens_no_longer_than_the_policy_allows(fleet):
    """A worker whose clock jumped cannot hold the circuit."""
    ann = fleet.member(terms=NO_WINDOW._replace(recovery_timeout_max=60.0, recovery_jitter=0.1))
    record = ann.trip(FIVE_IN_A_ROW, period=1e9).record
    assert record.open_until - fleet.clock() == pytest.approx(66)


def test_d4_a_retry_after_lengthens_the_period_up_to_the_cap(fleet):
    """What the dependency asks for is honoured, within reason."""
    ann = fleet.member(terms=TERMS._replace(recovery_timeout_max=60.0))
    record = ann.flush(calls=10, failures=10, retry_after=25.0).record
    assert record.open_until - fleet.clock() == pytest.approx(25)
    record = ann.flush(breaker="other", calls=10, failures=10, retry_after=3600.0).record
    assert record.open_until - fleet.clock() == pytest.approx(60)


def test_c6_the_period_is_jittered_by_the_chance_that_the_worker_brings(fleet):
    """A store draws no lots."""
    ann = fleet.member(terms=TERMS._replace(recovery_jitter=0.5))
    low = ann.flush(breaker="low", calls=10, failures=10, jitter=0.0).record
    high = ann.flush(breaker="high", calls=10, failures=10, jitter=1.0).record
    assert low.open_until - fleet.clock() == pytest.approx(5)
    assert high.open_until - fleet.clock() == pytest.approx(15)


def test_d4_a_quorum_opens_at_the_second_vote(fleet):
    """One worker that trips is a worker with a problem; two are a dependency with one."""
    ann, bob, eve = (fleet.member(terms=NO_WINDOW._replace(trip_quorum=2)) for _ in range(3))
    for worker in (ann, bob, eve):
        worker.beat()
    assert ann.trip(FIVE_IN_A_ROW).record.state is State.CLOSED
    assert ann.trip(FIVE_IN_A_ROW).record.state is State.CLOSED  # its own second vote is none
    assert ann.store.view().breakers["shop"].votes == 1
    assert bob.trip(FIVE_IN_A_ROW).record.state is State.OPEN


def test_d4_a_vote_is_forgotten_after_its_time(fleet):
    """Two workers that trip a minute apart have not tripped together."""
    ann, bob = (fleet.member(terms=NO_WINDOW._replace(trip_quorum=2)) for _ in range(2))
    ann.beat()
    bob.beat()
    assert ann.trip(FIVE_IN_A_ROW, vote_ttl=6.0).record.state is State.CLOSED
    fleet.clock.advance(6)
    ann.beat()
    bob.beat()
    assert bob.trip(FIVE_IN_A_ROW).record.state is State.CLOSED


def test_d4_a_quorum_is_never_more_than_the_workers_alive(fleet):
    """The last worker of a fleet can open it alone; one not heard of for six seconds does not count."""
    ann, bob = (fleet.member(terms=NO_WINDOW._replace(trip_quorum=3)) for _ in range(2))
    bob.beat()
    fleet.clock.advance(5)
    ann.beat()
    assert ann.trip(FIVE_IN_A_ROW).record.state is State.CLOSED
    fleet.clock.advance(1)
    assert ann.trip(FIVE_IN_A_ROW).record.state is State.OPEN


def test_c9_forced_closed_counts_and_never_trips(fleet):
    """Neither the window nor a local trip opens what an operator holds closed."""
    ann = fleet.member()
    ann.force(Mode.FORCED_CLOSED)
    assert ann.flush(calls=50, failures=50).record.state is State.CLOSED
    assert ann.trip(FIVE_IN_A_ROW).record.state is State.CLOSED
    assert ann.store.view().breakers["shop"].failures == 50


def test_d6_a_trip_that_is_repeated_opens_once(fleet):
    """Its answer was lost: the second one says that it had won, and nothing moves."""
    ann = fleet.member(terms=NO_WINDOW)
    before, tag = ann.epoch(), new_tag()
    first = ann.trip(FIVE_IN_A_ROW, tag=tag)
    again = ann.trip(FIVE_IN_A_ROW, tag=tag, epoch=before)
    assert again.won
    assert again.record == first.record
    assert len(ann.store.view().transitions) == 1


def test_d7_policies_with_other_windows_do_not_erase_each_others_counts(fleet):
    """In a rolling deployment the old workers go on judging by what they count, and the new ones by theirs."""
    old, new = fleet.member(), fleet.member(terms=TERMS._replace(window_seconds=60.0))
    for _ in range(4):
        old.flush(calls=2, failures=2)
        new.flush(calls=2, failures=2)
    assert old.records["shop"].state is State.CLOSED
    assert new.flush(calls=1, failures=1).record.state is State.CLOSED
    assert old.flush(calls=2, failures=2).record.cause == Cause(Rule.FAILURE_RATE, 10, 10, 0.5)


def test_c6_a_close_that_did_not_last_opens_for_longer(fleet):
    """A flapping dependency backs off; one that held for a while starts afresh."""
    ann = fleet.member()
    for lasted, reopenings in ((5, 1), (5, 2), (15, 0)):
        if ann.records.get("shop"):
            fleet.clock.advance(lasted)
        else:
            ann.flush(calls=10, failures=10)
            _recover(fleet, ann)
            fleet.clock.advance(lasted)
        record = ann.flush(calls=10, failures=10).record
        assert record.reopenings == reopenings
        assert record.open_until - fleet.clock() == pytest.approx(10 * 2**reopenings)
        _recover(fleet, ann)


def _recover(fleet, member):
    fleet.clock.advance(100)
    (grant,) = member.lease().grants
    assert member.settle(grant.id).record.state is State.CLOSED


def test_d4_a_batch_is_one_round_trip_for_many_breakers(fleet):
    """Operations are answered in their order, also several on one breaker."""
    ann = fleet.member()

    def flush(name):
        return Flush(name, "w", TERMS, Chance(new_tag()), Epoch(0, 0), calls=6, failures=6)

    answers = ann.store.exchange([flush("a"), flush("b"), flush("a"), flush("a")]).answers
    assert [answer.record.state.value for answer in answers] == ["closed", "closed", "open", "open"]
    assert [answer.won for answer in answers] == [False, False, True, False]


@pytest.mark.parametrize("name", ["a:b", "x{y}", "{", "}", "ключ", "a b\n", "100%", "%7B", "../x", "😀"])
def test_d7_any_name_is_a_name(fleet, name):
    """Names mean nothing to a store; those that look alike when escaped are still two."""
    ann, bob = fleet.member(), fleet.member()
    ann.flush(breaker=name, calls=10, failures=10)
    assert bob.hears(name).state is State.OPEN
    assert bob.read(name + "x").state is State.CLOSED
    assert bob.store.view().breakers[name].record == ann.records[name]


def test_d2_texts_come_back_as_they_went(fleet):
    """Quotes, line ends, zero bytes and other alphabets; half a surrogate pair harms nobody."""
    ann, bob = fleet.member(), fleet.member()
    text = 'Ошибка "x"\n\\ \x00 / 😀 </script>'
    ann.trip(FIVE_IN_A_ROW, last_failure=text)
    assert bob.read().last_failure == text
    assert ann.trip(FIVE_IN_A_ROW, breaker="other", last_failure="half \ud83d").record.state is State.OPEN
    bob.read("other")
