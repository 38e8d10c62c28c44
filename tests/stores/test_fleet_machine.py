"""Any interleaving of calls, rounds, outages and deaths: the fleet's bounds hold, and a healthy dependency is closed."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fleet import NAME, Fleet, Member
from recloser import CallRejectedError
from recloser.core.permit import Permit
from recloser.core.probes import Lease

PROBE_TIMEOUT = 4.0
RECOVERY_MAX = 20.0


class FleetMachine(RuleBasedStateMachine):
    """Up to four workers of one SQLite file."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory(prefix="recloser-fleet-")
        self.fleet: Fleet
        self.permits: list[tuple[Member, Permit]] = []
        self.highest: dict[int, int] = {}

    @initialize(
        size=st.integers(1, 3),
        probes=st.integers(1, 2),
        successes=st.integers(1, 2),
        quorum=st.sampled_from([1, 1, 2]),
        rated=st.booleans(),
    )
    def begin(self, size: int, probes: int, successes: int, quorum: int, rated: bool) -> None:
        rates = {"failure_rate_threshold": 0.5, "minimum_calls": 4, "window_seconds": 5} if rated else {}
        self.probes = probes
        self.fleet = Fleet(
            Path(self._folder.name),
            size,
            recovery_timeout=5,
            recovery_timeout_max=RECOVERY_MAX,
            probe_timeout=PROBE_TIMEOUT,
            half_open_max_calls=probes,
            success_threshold=successes,
            trip_quorum=quorum,
            failure_threshold=3,
            **rates,
        )

    def member(self, number: int) -> Member:
        return self.fleet[number % len(self.fleet.members)]

    @rule(number=st.integers(0, 3), fails=st.booleans(), times=st.integers(1, 4))
    def call(self, number: int, fails: bool, times: int) -> None:
        for _ in range(times):
            self.member(number).call(fails=fails)

    @rule(number=st.integers(0, 3))
    def begin_a_long_call(self, number: int) -> None:
        member = self.member(number)
        with contextlib.suppress(CallRejectedError):
            self.permits.append((member, member.breaker.acquire()))

    @precondition(lambda self: self.permits)
    @rule(number=st.integers(0, 9), how=st.sampled_from(["success", "failure", "ignore"]))
    def end_a_long_call(self, number: int, how: str) -> None:
        _, permit = self.permits.pop(number % len(self.permits))
        getattr(permit, how)()

    @rule(number=st.integers(0, 3))
    def one_round(self, number: int) -> None:
        self.member(number).step()

    @rule(seconds=st.sampled_from([0.05, 0.4, 1.2, 5.1]))
    def time_without_rounds(self, seconds: float) -> None:
        self.fleet.time.now += seconds

    @rule(seconds=st.sampled_from([0.2, 1.0, 5.2]))
    def time_with_rounds(self, seconds: float) -> None:
        self.fleet.pass_time(seconds)

    @rule(number=st.integers(0, 3), cut=st.booleans())
    def cable(self, number: int, cut: bool) -> None:
        self.member(number).cable.is_cut = cut

    @rule(number=st.integers(0, 3))
    def lose_an_answer(self, number: int) -> None:
        member = self.member(number)
        member.cable.loses_answers = True
        member.step()
        member.cable.loses_answers = False

    @precondition(lambda self: len(self.fleet.members) > 1)
    @rule(number=st.integers(0, 3))
    def kill(self, number: int) -> None:
        member = self.member(number)
        self.fleet.members.remove(member)
        member.cable.is_cut = True  # it says nothing more, not even farewell
        member.close()
        for mine, permit in self.permits:
            if mine is member:
                permit.ignore()
        self.permits = [(mine, permit) for mine, permit in self.permits if mine is not member]

    @precondition(lambda self: len(self.fleet.members) < 4)
    @rule()
    def join(self) -> None:
        self.fleet.join()

    @rule(
        number=st.integers(0, 3),
        act=st.sampled_from(["force_open", "force_closed", "shadow", "auto", "reset"]),
    )
    def steer(self, number: int, act: str) -> None:
        breaker = self.member(number).breaker
        getattr(breaker, act)(by="ann", reason="test")

    @invariant()
    def the_store_never_leases_more_than_allowed(self) -> None:
        shared = self._view().breakers.get(NAME)
        assert shared is None or len(shared.leases) <= self.probes

    @invariant()
    def live_probes_of_led_workers_never_exceed_the_bound(self) -> None:
        alive: set[str] = set()
        epoch = self._view().breakers[NAME].record.epoch if NAME in self._view().breakers else None
        for member in self.fleet.members:
            machine = member.breaker._driver.machine
            probes = machine.condition.probes
            if not machine.led or probes is None or machine.condition.epoch != epoch:
                continue
            held: list[Lease] = [*machine.grants, *probes.active]
            alive |= {lease.id for lease in held if lease.id and lease.deadline > self.fleet.time.now}
        assert len(alive) <= self.probes

    @invariant()
    def nobody_goes_back_to_a_lower_epoch(self) -> None:
        for member in self.fleet.members:
            link, _ = member.hub._rounds._links[NAME]
            if link.known is not None:
                assert link.known.number >= self.highest.get(id(member), 0)
                self.highest[id(member)] = link.known.number

    def _view(self):
        store = self.fleet[0].cable._store
        store.connect()
        return store.view()

    def teardown(self) -> None:
        if not hasattr(self, "fleet"):
            self._folder.cleanup()
            return
        try:
            self._recover()
        finally:
            self.fleet.close()
            self._folder.cleanup()

    def _recover(self) -> None:
        """A healthy dependency is closed again within one recovery period and one lease, whatever was before."""
        for _, permit in self.permits:
            permit.ignore()
        for member in self.fleet.members:
            member.cable.is_cut = False
        self.fleet.pass_time(6)
        for member in self.fleet.members:
            member.breaker.auto(by="ann", reason="end of test")
            self.fleet.step()
        end = self.fleet.time.now + RECOVERY_MAX + PROBE_TIMEOUT + 3
        while self.fleet.time.now < end and set(self.fleet.states) != {"closed"}:
            for member in self.fleet.members:
                member.call()
            self.fleet.pass_time(0.3)
        self.fleet.pass_time(6)

        assert set(self.fleet.states) == {"closed"}
        assert all(member.breaker._driver.machine.led for member in self.fleet.members)
        assert len({member.epoch for member in self.fleet.members}) == 1


TestFleetMachine = FleetMachine.TestCase
DEEP = os.environ.get("RECLOSER_PROOF") == "deep"
TestFleetMachine.settings = settings(
    max_examples=3000 if DEEP else 100, stateful_step_count=60 if DEEP else 40, deadline=None
)
