"""A store whose clock is set back by an hour: no circuit, lease, vote or worker is held until it has caught up (D2)."""

from __future__ import annotations

from recloser.core.state import State
from stores.fleet import NO_WINDOW, TERMS
from stores.test_counting import FIVE_IN_A_ROW

HOUR = 3600.0
QUORUM = NO_WINDOW._replace(trip_quorum=2)


def test_d2_an_open_circuit_is_due(fleet):
    """Nobody can say how long ago it opened, and a probe is cheap."""
    ann = fleet.member(terms=NO_WINDOW)
    ann.trip(FIVE_IN_A_ROW)
    fleet.clock.advance(-HOUR)
    assert ann.lease().grants


def test_d2_a_moment_is_no_hour(fleet):
    """Clocks are adjusted by fractions of a second all the time."""
    ann = fleet.member(terms=NO_WINDOW)
    ann.trip(FIVE_IN_A_ROW)
    fleet.clock.advance(-0.5)
    assert not ann.lease().grants


def test_d2_a_dead_workers_lease_ends(fleet):
    """Its place goes to the next who asks, not after an hour."""
    ann, bob = fleet.member(terms=NO_WINDOW), fleet.member(terms=NO_WINDOW)
    ann.trip(FIVE_IN_A_ROW, period=0.0)
    assert ann.lease().grants
    fleet.clock.advance(-HOUR)
    bob.read()
    (grant,) = bob.lease().grants
    assert bob.settle(grant.id).record.state is State.CLOSED


def test_d2_a_holder_goes_on_with_its_lease(fleet):
    """It renews an unused one by the new clock."""
    ann = fleet.member(terms=NO_WINDOW)
    ann.trip(FIVE_IN_A_ROW, period=0.0)
    (grant,) = ann.lease().grants
    fleet.clock.advance(-HOUR)
    assert ann.lease(0, kept=(grant.id,)).grants == ((grant.id, NO_WINDOW.probe_timeout),)


def test_d2_what_was_counted_is_forgotten(fleet):
    """Nine failures of an hour ahead and one of now are not ten."""
    ann = fleet.member(terms=TERMS)
    ann.flush(calls=9, failures=9)
    fleet.clock.advance(-HOUR)
    assert ann.flush(calls=1, failures=1).record.state is State.CLOSED


def test_d2_a_vote_is_forgotten(fleet):
    """Two workers that trip an hour apart have not tripped together."""
    ann, bob = fleet.member(terms=QUORUM), fleet.member(terms=QUORUM)
    ann.beat()
    bob.beat()
    assert ann.trip(FIVE_IN_A_ROW).record.state is State.CLOSED
    fleet.clock.advance(-HOUR)
    ann.beat()
    bob.beat()
    assert bob.trip(FIVE_IN_A_ROW).record.state is State.CLOSED


def test_d2_the_dead_are_not_counted_among_the_living(fleet):
    """Whoever lives beats again."""
    ann, bob = fleet.member(), fleet.member()
    ann.beat()
    assert bob.beat() == 2
    fleet.clock.advance(-HOUR)
    assert bob.beat() == 1
    assert [heard.worker.id for heard in bob.store.view().workers] == [bob.worker]
