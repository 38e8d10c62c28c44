"""Whether the workers of a fleet believe what the store holds."""

from __future__ import annotations

from fleet import fleet_in
from recloser.stores.rounds import CENSUS


def test_workers_that_follow_agree(tmp_path):
    """A change that all have followed leaves nobody behind."""
    with fleet_in(tmp_path, 3) as fleet:
        fleet.trip(0)
        fleet.pass_time(CENSUS + 8)

        assert [member.registry.store_health.disagreeing for member in fleet.members] == [0, 0, 0]
        assert [member.registry.store_health.workers for member in fleet.members] == [3, 3, 3]


def test_a_worker_that_does_not_follow_is_counted(tmp_path):
    """One that beats but hears nothing is told of by the others."""
    with fleet_in(tmp_path, 3, recovery_timeout=600) as fleet:
        deaf = fleet[2]
        deaf.cable.news = lambda: None
        fleet.trip(0)
        assert deaf.state == "closed"
        fleet.pass_time(CENSUS + 8)

        assert fleet[0].registry.store_health.disagreeing == 1


def test_a_fresh_change_is_given_time(tmp_path):
    """Beliefs are as old as the last heartbeat: what has just changed says nothing."""
    with fleet_in(tmp_path, 2) as fleet:
        fleet.pass_time(CENSUS - 0.3)
        fleet.trip(0)
        fleet.pass_time(1)

        assert fleet[0].registry.store_health.disagreeing == 0
