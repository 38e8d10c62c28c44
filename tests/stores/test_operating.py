"""Operators' modes, stores that came back empty or older, heartbeats and the view (SEMANTICS C9, D1, D6, D9)."""

from __future__ import annotations

import pytest

from recloser.core.events import Cause, Rule
from recloser.core.state import Epoch, Mode, Override, State
from recloser.stores.operations import new_tag
from recloser.stores.record import UNKNOWN
from stores.fleet import START
from stores.test_counting import FIVE_IN_A_ROW
from stores.test_probing import opened

LOST = UNKNOWN._replace(epoch=Epoch(7, 77))  # of a store that has forgotten it


def test_c9_forced_open_reaches_every_worker_with_its_reason(fleet):
    """Who, why and until when."""
    ann, bob = fleet.member(), fleet.member()
    answer = ann.force(Mode.FORCED_OPEN, by="eve", why="migration", expires=START + 60.25)
    assert answer.won
    record = bob.hears()
    assert record.state is State.OPEN
    assert record.override == Override(Mode.FORCED_OPEN, "eve", "migration", START + 60.25)
    assert record.cause == Cause(Rule.MODE, by="eve", why="migration")


def test_c9_leaving_forced_open_starts_closed(fleet):
    """With an empty window, whatever was before."""
    ann = fleet.member()
    ann.trip(FIVE_IN_A_ROW)
    ann.force(Mode.FORCED_OPEN)
    record = ann.force(Mode.AUTO).record
    assert (record.state, record.override.mode, record.reopenings) == (State.CLOSED, Mode.AUTO, 0)


def test_c9_shadow_lets_the_state_go_on_in_a_new_epoch(fleet):
    """What is open stays open for as long as it was to be, for the same cause."""
    ann = fleet.member()
    before = ann.trip(FIVE_IN_A_ROW).record
    fleet.clock.advance(3)
    record = ann.force(Mode.SHADOW).record
    assert record.epoch.number == before.epoch.number + 1
    assert (record.state, record.open_until, record.since) == (State.OPEN, before.open_until, before.since)
    assert record.cause == before.cause


def test_c9_a_mode_empties_the_window(fleet):
    """Nine failures before, and one after, are not ten."""
    ann = fleet.member()
    ann.flush(calls=9, failures=9)
    ann.force(Mode.SHADOW)
    assert ann.flush(calls=1, failures=1).record.state is State.CLOSED


@pytest.mark.parametrize(
    ("mode", "state"),
    [(Mode.AUTO, State.CLOSED), (Mode.SHADOW, State.CLOSED), (Mode.FORCED_OPEN, State.OPEN)],
)
def test_c9_reset_closes_and_keeps_the_mode(fleet, mode, state):
    """A circuit that is held open stays so."""
    ann = fleet.member()
    if mode is not Mode.AUTO:
        ann.force(mode)
    ann.trip(FIVE_IN_A_ROW)
    record = ann.reset(by="eve", why="fixed").record
    assert (record.state, record.override.mode) == (state, mode)
    assert record.cause == Cause(Rule.RESET, by="eve", why="fixed")


def test_d1_an_operator_who_saw_another_epoch_is_told_so(fleet):
    """And nothing has happened."""
    ann, bob = fleet.member(), fleet.member()
    seen = ann.read().epoch
    bob.trip(FIVE_IN_A_ROW)
    answer = ann.force(Mode.FORCED_OPEN, expected=seen)
    assert answer.is_conflict
    assert answer.record == bob.records["shop"]
    assert not ann.force(Mode.FORCED_OPEN, expected=bob.epoch()).is_conflict


@pytest.mark.parametrize("resets", [False, True])
def test_d6_an_action_that_is_repeated_acts_once(fleet, resets):
    """Also when the epoch that the operator saw has moved by his own action."""
    ann = fleet.member()
    seen, tag = ann.read().epoch, new_tag()
    first = ann.force(Mode.FORCED_CLOSED, expected=seen, tag=tag, resets=resets)
    again = ann.force(Mode.FORCED_CLOSED, expected=seen, tag=tag, resets=resets)
    assert (again.record, again.won, again.is_conflict) == (first.record, True, False)
    later = ann.force(Mode.SHADOW)
    assert ann.force(Mode.FORCED_CLOSED, tag=tag, resets=resets).record == later.record


def test_d1_reading_an_unknown_breaker_leaves_nothing_behind(fleet):
    """Whoever asks for names at random does not fill the store."""
    ann = fleet.member()
    assert ann.read("nonsense") == UNKNOWN
    assert not [name for name, held in ann.store.view().breakers.items() if held.record != UNKNOWN]


def test_d1_an_empty_store_gets_the_workers_record(fleet):
    """An unexpired open survives a store that was restarted empty, in a higher epoch."""
    ann = fleet.member()
    lost = LOST._replace(state=State.OPEN, reopenings=2, cause=FIVE_IN_A_ROW, last_failure="Refused")
    answer = ann.restore(lost, remaining=8.0)
    record = answer.record
    assert answer.won
    assert (record.epoch.number, record.state, record.reopenings) == (8, State.OPEN, 2)
    assert record.open_until == pytest.approx(fleet.clock() + 8)
    assert (record.cause, record.last_failure) == (FIVE_IN_A_ROW, "Refused")
    assert ann.store.view().transitions[0].cause == Cause(Rule.RESTORED)


def test_d1_an_operators_mode_survives_an_empty_store(fleet):
    """With who, why and until when."""
    override = Override(Mode.FORCED_CLOSED, "eve", "sale", START + 500)
    assert fleet.member().restore(LOST._replace(override=override)).record.override == override


def test_d1_of_two_workers_the_first_restores_and_the_second_follows(fleet):
    """The second one's record is of a lower epoch by now."""
    ann, bob = fleet.member(), fleet.member()
    first = ann.restore(LOST._replace(state=State.OPEN), remaining=8.0)
    second = bob.restore(LOST._replace(state=State.OPEN), remaining=8.0)
    assert not second.won
    assert second.record == first.record


def test_d1_a_finished_open_period_is_not_resurrected(fleet):
    """An older store says open, and the fleet had closed since."""
    ann = fleet.member()
    ann.restore(UNKNOWN._replace(epoch=Epoch(3, 3), state=State.OPEN), remaining=5.0)
    fleet.clock.advance(6)
    record = ann.restore(LOST).record
    assert (record.epoch.number, record.state) == (8, State.CLOSED)


def test_d1_an_unexpired_open_of_the_older_store_is_kept(fleet):
    """Of two that disagree the more restrictive one stands."""
    ann = fleet.member()
    kept = ann.restore(UNKNOWN._replace(epoch=Epoch(3, 3), state=State.OPEN), remaining=50.0).record
    record = ann.restore(LOST).record
    assert (record.epoch.number, record.state, record.open_until) == (8, State.OPEN, kept.open_until)


def test_d1_the_same_number_with_another_tag_is_another_lineage(fleet):
    """Neither side may believe that the other knows its state."""
    ann = fleet.member()
    theirs = ann.trip(FIVE_IN_A_ROW).record
    answer = ann.restore(UNKNOWN._replace(epoch=Epoch(theirs.epoch.number, 99)))
    assert (answer.won, answer.record.epoch.number) == (True, theirs.epoch.number + 1)
    assert answer.record.state is State.OPEN


def test_e6_a_half_open_that_was_lost_is_open_and_due(fleet):
    """Its leases are gone with the store that knew them."""
    ann = fleet.member()
    record = ann.restore(LOST._replace(state=State.HALF_OPEN)).record
    assert (record.state, record.open_until) == (State.OPEN, fleet.clock())
    assert ann.lease().record.state is State.HALF_OPEN


def test_d1_an_open_period_that_ended_in_the_outage_is_due_at_once(fleet):
    """An end is never lost: no circuit stays open because nobody knows until when."""
    ann = fleet.member()
    record = ann.restore(LOST._replace(state=State.OPEN), remaining=0.0).record
    assert (record.state, record.open_until) == (State.OPEN, fleet.clock())
    assert ann.lease().record.state is State.HALF_OPEN


def test_d1_a_forced_open_circuit_has_no_end(fleet):
    """Only its mode ends."""
    override = Override(Mode.FORCED_OPEN, "eve", "migration", START + 500)
    record = fleet.member().restore(LOST._replace(state=State.OPEN, override=override)).record
    assert (record.state, record.open_until, record.override) == (State.OPEN, 0.0, override)


def test_d1_nothing_is_restored_over_a_higher_epoch(fleet):
    """The store knows better."""
    ann, bob = fleet.member(), fleet.member()
    for mode in (Mode.SHADOW, Mode.FORCED_OPEN, Mode.AUTO):
        bob.force(mode)
    answer = ann.restore(UNKNOWN._replace(epoch=Epoch(2, 22), state=State.OPEN), remaining=9.0)
    assert (answer.won, answer.record) == (False, bob.records["shop"])


def test_d6_a_restoration_that_is_repeated_restores_once(fleet):
    """The second one finds a higher epoch, which is its own."""
    ann, tag = fleet.member(), new_tag()
    first = ann.restore(LOST, tag=tag)
    again = ann.restore(LOST, tag=tag)
    assert again.won
    assert again.record == first.record


def test_heartbeats_count_the_living(fleet):
    """For six seconds; who leaves is gone at once, and who is silent for a minute is forgotten."""
    ann, bob = fleet.member("ann"), fleet.member("bob")
    assert ann.beat() == 1
    assert bob.beat() == 2
    fleet.clock.advance(6)
    assert ann.beat() == 1
    assert {heard.worker.id for heard in ann.store.view().workers} == {"ann", "bob"}
    fleet.clock.advance(55)
    ann.beat()
    assert [heard.worker.id for heard in ann.store.view().workers] == ["ann"]
    bob.beat()
    ann.store.leave("bob")
    assert [heard.worker.id for heard in ann.store.view().workers] == ["ann"]


def test_the_view_tells_what_workers_believe_and_when_they_said_so(fleet):
    """As it went in."""
    ann = fleet.member("ann")
    ann.trip(FIVE_IN_A_ROW)
    ann.beat("shop", "other")
    fleet.clock.advance(1.5)
    (heard,) = ann.store.view().workers
    assert heard.worker == ann.described("shop", "other")
    assert heard.ago == pytest.approx(1.5)


def test_the_view_tells_leases_with_their_age(fleet):
    """Whose they are, how old, how long they still run, and whether a call runs on them."""
    ann, bob = opened(fleet, 2, half_open_max_calls=2)
    (first,) = ann.lease().grants
    fleet.clock.advance(1)
    bob.read()
    bob.lease()
    ann.lease(0, used=(first.id,))
    view = ann.store.view()
    assert view.now == fleet.clock()
    held, fresh = view.breakers["shop"].leases
    assert (held.worker, held.is_used, fresh.worker, fresh.is_used) == (ann.worker, True, bob.worker, False)
    assert (held.age, held.remaining) == (pytest.approx(1), pytest.approx(2))
    assert (fresh.age, fresh.remaining) == (pytest.approx(0), pytest.approx(3))


def test_transitions_are_kept_for_the_audit_newest_first(fleet):
    """With who acted, through which worker, and when."""
    ann = fleet.member("ann")
    ann.trip(FIVE_IN_A_ROW)
    ann.force(Mode.FORCED_OPEN, by="eve", why="migration")
    newest, oldest = ann.store.view().transitions
    assert (oldest.breaker, oldest.worker, oldest.old, oldest.new) == ("shop", "ann", "closed", "open")
    assert (newest.old_mode, newest.new_mode) == (Mode.AUTO, Mode.FORCED_OPEN)
    assert newest.cause == Cause(Rule.MODE, by="eve", why="migration")
    assert newest.revision > oldest.revision
    assert newest.at == pytest.approx(fleet.clock())
    assert ann.store.view(transitions=1).transitions == [newest]


def test_news_tell_what_others_did_and_not_what_one_did_oneself(fleet):
    """The answer told that already."""
    ann, bob = fleet.member(), fleet.member()
    ann.store.news()
    bob.store.news()
    ann.trip(FIVE_IN_A_ROW)
    assert bob.hears() == ann.records["shop"]
    assert ann.store.news() is None
    assert bob.store.news() is None


def test_after_connect_all_records_are_news(fleet):
    """Also those that the worker knew, as the store may be another one."""
    ann = fleet.member()
    ann.trip(FIVE_IN_A_ROW)
    ann.force(Mode.SHADOW, breaker="other")
    ann.store.close()
    ann.store.connect()
    news = ann.store.news()
    assert news is not None
    assert set(news.records) == {"shop", "other"}
    assert news.records["shop"] == ann.records["shop"]
    assert news.now == pytest.approx(fleet.clock())


def test_counts_are_no_news(fleet):
    """A fleet of closed circuits has nothing to say to each other."""
    ann, bob = fleet.member(), fleet.member()
    bob.store.news()
    before = ann.store.exchange([]).revision
    ann.flush(calls=3, failures=1)
    assert ann.store.exchange([]).revision == before
    assert bob.store.news() is None
