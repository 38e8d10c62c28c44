"""Probes of a whole fleet: leases, verdicts, and what becomes of those who die with one (SEMANTICS C4, D6, E4)."""

from __future__ import annotations

import pytest

from recloser.core.events import Cause, Rule
from recloser.core.state import Mode, State
from recloser.stores.operations import new_tag
from stores.fleet import TERMS
from stores.test_counting import FIVE_IN_A_ROW


def opened(fleet, members=1, **terms):
    """Return members of a fleet whose circuit is open and due."""
    team = [fleet.member(terms=TERMS._replace(**terms)) for _ in range(members)]
    team[0].trip(FIVE_IN_A_ROW)
    fleet.clock.advance(10)
    for member in team:
        member.read()
    return team


def test_c4_an_open_circuit_that_is_not_due_grants_nothing(fleet):
    """It says how long it still takes, and stays open."""
    ann = fleet.member()
    ann.trip(FIVE_IN_A_ROW)
    fleet.clock.advance(4)
    answer = ann.lease()
    assert (answer.record.state, answer.grants) == (State.OPEN, ())
    assert answer.wait == pytest.approx(6)


def test_c4_the_first_request_when_it_is_due_begins_half_open(fleet):
    """And takes the first place; the next one waits for it to end."""
    ann, bob = opened(fleet, 2)
    first = ann.lease()
    assert (first.record.state, first.won, len(first.grants)) == (State.HALF_OPEN, True, 1)
    assert first.grants[0].remaining == pytest.approx(3)
    bob.read()
    second = bob.lease()
    assert (second.won, second.grants) == (False, ())
    assert second.wait == pytest.approx(3)


def test_e5_a_timer_may_ring_a_moment_early(fleet):
    """Five milliseconds before the end of the open period are its end."""
    ann = fleet.member()
    ann.trip(FIVE_IN_A_ROW)
    fleet.clock.advance(9.996)
    assert ann.lease().record.state is State.HALF_OPEN


def test_c4_no_more_probes_than_allowed_over_the_fleet(fleet):
    """Three places, four workers that each want two."""
    team = opened(fleet, 4, half_open_max_calls=3)
    got = []
    for member in team:
        member.read()
        got += member.lease(2).grants
        member.read()
        got += member.lease(2).grants
    assert len(got) == len({grant.id for grant in got}) == 3
    assert len(team[0].store.view().breakers["shop"].leases) == 3


def test_c4_asking_for_nothing_does_not_begin_half_open(fleet):
    """Without a call that wants to probe, an open circuit stays open, however late."""
    (ann,) = opened(fleet)
    assert ann.lease(0).record.state is State.OPEN


def test_c5_a_successful_probe_closes(fleet):
    """With the backoff kept until the close has lasted."""
    ann, bob = opened(fleet, 2)
    (grant,) = ann.lease().grants
    answer = ann.settle(grant.id)
    assert (answer.record.state, answer.won) == (State.CLOSED, True)
    assert answer.record.cause == Cause(Rule.PROBES_SUCCEEDED, 1, 0, 1.0)
    assert bob.hears().state is State.CLOSED


def test_c5_as_many_successes_close_as_the_policy_says_over_the_fleet(fleet):
    """Two workers' verdicts add up."""
    ann, bob = opened(fleet, 2, success_threshold=2, half_open_max_calls=2)
    (first,) = ann.lease().grants
    bob.read()
    (second,) = bob.lease().grants
    assert ann.settle(first.id).record.state is State.HALF_OPEN
    assert ann.store.view().breakers["shop"].probe_successes == 1
    assert bob.settle(second.id).record.state is State.CLOSED


@pytest.mark.parametrize(("verdict", "rule"), [("failed", Rule.PROBE_FAILED), ("slow", Rule.PROBE_SLOW)])
def test_c5_one_bad_probe_opens_again_for_longer(fleet, verdict, rule):
    """Twice as long, with its failure."""
    (ann,) = opened(fleet)
    (grant,) = ann.lease().grants
    record = ann.settle(grant.id, **{verdict: True}, last_failure="ReadTimeout").record
    assert (record.state, record.cause, record.reopenings) == (State.OPEN, Cause(rule, 1), 1)
    assert record.open_until - fleet.clock() == pytest.approx(20)
    assert record.last_failure == "ReadTimeout"


def test_c6_a_probes_retry_after_is_honoured(fleet):
    """Up to the cap."""
    (ann,) = opened(fleet)
    (grant,) = ann.lease().grants
    record = ann.settle(grant.id, failed=True, retry_after=45.0).record
    assert record.open_until - fleet.clock() == pytest.approx(45)


def test_c4_a_place_given_back_is_free_at_once(fleet):
    """A cancelled probe says nothing."""
    (ann,) = opened(fleet)
    (grant,) = ann.lease().grants
    assert ann.settle(grant.id, counts=False).record.state is State.HALF_OPEN
    assert len(ann.lease().grants) == 1


@pytest.mark.parametrize("used", [True, False])
def test_c4_the_place_of_a_dead_worker_is_granted_again_at_its_deadline(fleet, used):
    """Whether a call ran on it or not: one lease later another worker probes."""
    ann, bob = opened(fleet, 2)
    (grant,) = ann.lease().grants
    ann.lease(0, used=(grant.id,) if used else ())
    bob.read()
    fleet.clock.advance(2.9)
    assert bob.lease().grants == ()
    fleet.clock.advance(0.1)
    (fresh,) = bob.lease().grants
    assert fresh.id != grant.id
    assert bob.settle(fresh.id).record.state is State.CLOSED


@pytest.mark.parametrize("told", [True, False])
def test_c4_expiry_frees_the_place_and_not_the_verdict(fleet, told):
    """A dependency slower than its lease must close, also where the use of the lease was never told."""
    ann, bob = opened(fleet, 2)
    (grant,) = ann.lease().grants
    if told:
        ann.lease(0, used=(grant.id,))
    fleet.clock.advance(4)
    bob.read()
    assert len(bob.lease().grants) == 1
    assert ann.settle(grant.id).record.state is State.CLOSED


def test_c4_a_late_failure_counts_as_well(fleet):
    """It opens the circuit again, although another probe runs."""
    ann, bob = opened(fleet, 2)
    (grant,) = ann.lease().grants
    ann.lease(0, used=(grant.id,))
    fleet.clock.advance(4)
    bob.read()
    bob.lease()
    assert ann.settle(grant.id, failed=True).record.cause == Cause(Rule.PROBE_FAILED, 1)


def test_c4_three_expiries_without_a_verdict_open_again(fleet):
    """Probes that hang say something, too."""
    (ann,) = opened(fleet)
    for _ in range(3):
        (grant,) = ann.lease().grants
        ann.lease(0, used=(grant.id,))
        fleet.clock.advance(3)
    answer = ann.lease()
    assert (answer.record.state, answer.grants) == (State.OPEN, ())
    assert answer.record.cause == Cause(Rule.PROBE_TIMEOUT, 3)
    assert answer.record.reopenings == 1


def test_c4_expiries_of_unused_places_do_not_open(fleet):
    """Workers that die before they probe say nothing about the dependency."""
    (ann,) = opened(fleet)
    for _ in range(5):
        assert len(ann.lease().grants) == 1
        fleet.clock.advance(3)
    assert ann.lease().record.state is State.HALF_OPEN


def test_c4_a_late_verdict_takes_its_expiry_back(fleet):
    """Three slow successes with a threshold of four do not open."""
    (ann,) = opened(fleet, success_threshold=4)
    for expected in (1, 2, 3):
        (grant,) = ann.lease().grants
        ann.lease(0, used=(grant.id,))
        fleet.clock.advance(3)
        ann.lease(0)
        assert ann.settle(grant.id).record.state is State.HALF_OPEN
        shared = ann.store.view().breakers["shop"]
        assert (shared.probe_successes, shared.probe_expiries) == (expected, 0)


def test_d6_a_verdict_counts_once(fleet):
    """However often it is told."""
    (ann,) = opened(fleet, success_threshold=2, half_open_max_calls=2)
    (first, second) = ann.lease(2).grants
    for _ in range(3):
        assert ann.settle(first.id).record.state is State.HALF_OPEN
    assert ann.settle(second.id).record.state is State.CLOSED


def test_d6_a_verdict_that_is_repeated_after_its_transition_has_still_won(fleet):
    """The worker whose answer was lost is told that it began the epoch."""
    (ann,) = opened(fleet)
    epoch = ann.lease().record.epoch
    (held,) = ann.store.view().breakers["shop"].leases
    assert held.worker == ann.worker
    (grant,) = ann.lease(epoch=epoch).grants or ann.lease(tag=epoch.tag, epoch=epoch).grants
    tag = new_tag()
    first = ann.settle(grant.id, tag=tag)
    again = ann.settle(grant.id, tag=tag, epoch=epoch)
    assert first.won
    assert again.won
    assert again.record == first.record


def test_d6_a_request_that_is_repeated_gets_the_same_places(fleet):
    """Its answer was lost: otherwise nobody would probe for a whole lease."""
    ann, bob = opened(fleet, 2, half_open_max_calls=2)
    before, tag = ann.epoch(), new_tag()
    first = ann.lease(2, tag=tag)
    again = ann.lease(2, tag=tag, epoch=before)  # it knows of no half-open yet
    assert first.won
    assert again.won
    assert again.grants == first.grants
    tag = new_tag()
    ann.settle(first.grants[0].id, counts=False)
    bob.read()
    assert bob.lease(1, tag=tag).grants == bob.lease(1, tag=tag).grants != ()


def test_d6_an_epoch_begun_by_another_grants_nothing_to_an_old_request(fleet):
    """A worker that knows of no half-open learns of it, and asks again."""
    ann, bob = opened(fleet, 2, half_open_max_calls=2)
    ann.lease()
    answer = bob.lease()
    assert (answer.record.state, answer.grants) == (State.HALF_OPEN, ())
    assert len(bob.lease().grants) == 1


def test_e4_an_unused_grant_is_renewed_for_as_long_as_its_hub_lives(fleet):
    """With one call in a long while, the grant is there when it comes."""
    (ann,) = opened(fleet)
    (grant,) = ann.lease().grants
    for _ in range(5):
        fleet.clock.advance(1)
        (renewed,) = ann.lease(0, kept=(grant.id,)).grants
        assert renewed.id == grant.id
        assert renewed.remaining == pytest.approx(3)


def test_e4_a_used_grant_runs_to_its_own_deadline(fleet):
    """A probe that hangs cannot be renewed."""
    ann, bob = opened(fleet, 2)
    (grant,) = ann.lease().grants
    ann.lease(0, used=(grant.id,))
    fleet.clock.advance(2)
    assert ann.lease(0, kept=(grant.id,)).grants == ()
    fleet.clock.advance(1)
    bob.read()
    assert len(bob.lease().grants) == 1


def test_e4_who_keeps_a_place_unused_is_told_that_another_asks(fleet):
    """It gives the place back, and the other one hears of it at once."""
    ann, bob = opened(fleet, 2)
    (grant,) = ann.lease().grants
    bob.hears()
    assert bob.lease().grants == ()
    fleet.clock.advance(1)
    assert ann.lease(0, kept=(grant.id,)).is_wanted
    ann.lease(0, back=(grant.id,))
    assert bob.hears().state is State.HALF_OPEN
    assert len(bob.lease().grants) == 1


def test_e4_a_request_is_forgotten_after_two_seconds(fleet):
    """Who no longer asks takes nothing from anybody."""
    ann, bob = opened(fleet, 2)
    (grant,) = ann.lease().grants
    bob.read()
    bob.lease()
    fleet.clock.advance(2)
    assert not ann.lease(0, kept=(grant.id,)).is_wanted


def test_e4_calls_that_are_rarer_than_a_lease_is_long_still_close(fleet):
    """A call every 0.7 s and a lease of 0.5 s: the place goes to whom a call comes to."""
    ann, bob = opened(fleet, 2, probe_timeout=0.5)
    ann.lease()
    for _ in range(12):
        fleet.clock.advance(0.7)
        bob.read()
        grants = bob.lease().grants
        if grants:
            bob.settle(grants[0].id)
            break
    assert bob.records["shop"].state is State.CLOSED


def test_c4_a_late_probe_of_the_last_round_says_nothing_about_this_one(fleet):
    """A verdict belongs to the half-open epoch of its lease."""
    (ann,) = opened(fleet)
    (grant,) = ann.lease().grants
    epoch = ann.epoch()
    ann.settle(grant.id, failed=True)
    fleet.clock.advance(20)
    ann.lease()
    assert ann.settle(grant.id, epoch=epoch).record.state is State.HALF_OPEN


def test_c9_a_forced_circuit_grants_nothing(fleet):
    """Its leases ended with the epoch before."""
    (ann,) = opened(fleet)
    ann.lease()
    ann.force(Mode.FORCED_OPEN)
    assert ann.lease().grants == ()
    assert ann.store.view().breakers["shop"].leases == ()
