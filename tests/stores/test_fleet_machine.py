"""Any interleaving of calls, rounds, outages and deaths: the fleet's bounds hold, and a healthy dependency is closed."""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from fleet import NAME, Fleet, Member, Time
from proof import DEEP, examples
from recloser import CallRejectedError
from recloser.core.permit import Permit
from recloser.core.probes import Lease
from recloser.stores import redis as redis_store
from recloser.stores.protocol import Store
from recloser.stores.record import UNKNOWN
from recloser.stores.redis import RedisStore
from recloser.stores.view import Shared
from stores.fleet import namespace
from stores.servers import Server

PROBE_TIMEOUT = 4.0
RECOVERY_MAX = 20.0


class FilePlace:
    """A SQLite file, and what may happen to its data."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="recloser-fleet-")
        self.folder = Path(self._folder.name)
        self._copy = sqlite3.connect(":memory:")

    make = None

    def _open(self) -> sqlite3.Connection:
        path = self.folder / "fleet" / "store.db"
        path.touch(mode=0o600)
        return sqlite3.connect(path)

    def copy(self) -> None:
        with contextlib.closing(self._open()) as file:
            file.backup(self._copy)

    def roll_back(self) -> None:
        with contextlib.closing(self._open()) as file:
            self._copy.backup(file)

    def lose(self) -> None:
        for found in (self.folder / "fleet").iterdir():
            found.unlink()

    def close(self) -> None:
        self._copy.close()
        self._folder.cleanup()


class ServerPlace:
    """A namespace of a server, and what may happen to its data."""

    server: Server

    def __init__(self) -> None:
        self.folder = Path()
        self._name = namespace()
        self._copy: dict[bytes, tuple[bytes, int]] = {}

    def make(self, time: Time) -> Store:
        return RedisStore(self.server.url, self._name, clock=time)

    def _keys(self, client: Any) -> list[bytes]:
        return list(client.scan_iter(match=f"*{self._name}*", count=1000))

    def copy(self) -> None:
        with self.server.client() as client:
            self._copy = {key: (client.dump(key), max(0, client.pttl(key))) for key in self._keys(client)}

    def roll_back(self) -> None:
        self.lose()
        with self.server.client() as client:
            for key, (held, milliseconds) in self._copy.items():
                client.restore(key, milliseconds, held)

    def lose(self) -> None:
        with self.server.client() as client:
            for key in self._keys(client):
                client.delete(key)

    close = lose


class FleetMachine(RuleBasedStateMachine):
    """Up to four workers of one store."""

    Place: type[FilePlace | ServerPlace] = FilePlace

    def __init__(self) -> None:
        super().__init__()
        self.place = self.Place()
        self.fleet: Fleet
        self.permits: list[tuple[Member, Permit]] = []
        self.highest: dict[str, int] = {}
        self.rolled_back_to: object = None
        self.has_copy = False

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
            self.place.folder,
            size,
            self.place.make,
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

    @rule(number=st.integers(0, 9), how=st.sampled_from(["success", "failure", "ignore"]))
    def end_a_long_call(self, number: int, how: str) -> None:
        if self.permits:  # no precondition: which calls are admitted depends on when a server's messages come
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

    @rule()
    def copy_the_data(self) -> None:
        self.place.copy()
        self.has_copy = True

    @precondition(lambda self: self.has_copy)
    @rule()
    def roll_the_data_back(self) -> None:
        self.place.roll_back()
        self.rolled_back_to = self._shared().record.epoch

    @rule()
    def lose_the_data(self) -> None:
        self.place.lose()

    @invariant()
    def live_leases_never_exceed_the_bound(self) -> None:
        """Neither in the store nor among the workers that it leads."""
        shared = self._shared()
        assert len(shared.leases) <= self.probes
        if shared.record.epoch == self.rolled_back_to:  # the store has forgotten leases of this very epoch
            return
        alive: set[str] = set()
        for member in self.fleet.members:
            machine = member.breaker._driver.machine
            probes = machine.condition.probes
            if not machine.led or probes is None or machine.condition.epoch != shared.record.epoch:
                continue
            held: list[Lease] = [*machine.grants, *probes.active]
            alive |= {lease.id for lease in held if lease.id and lease.deadline > self.fleet.time.now}
        assert len(alive) <= self.probes

    @invariant()
    def nobody_goes_back_to_a_lower_epoch(self) -> None:
        for member in self.fleet.members:
            link, _ = member.hub._rounds._links[NAME]
            if link.known is not None:
                assert link.known.number >= self.highest.get(member.hub.worker, 0)
                self.highest[member.hub.worker] = link.known.number

    def _shared(self) -> Shared:
        """Look by a client of one's own, as the workers' may be connected to what is no more."""
        store = self.fleet.store()
        store.connect()
        try:
            return store.view(0).breakers.get(NAME, Shared(UNKNOWN))
        finally:
            store.close()

    def teardown(self) -> None:
        if not hasattr(self, "fleet"):
            self.place.close()
            return
        try:
            self._recover()
        finally:
            self.fleet.close()
            self.place.close()

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


class ServerFleetMachine(FleetMachine):
    """The same on a server."""

    Place = ServerPlace


@pytest.fixture(scope="module")
def by_the_fleets_clock() -> Iterator[None]:
    """A store polls by the fleet's clock, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(redis_store, "time", SimpleNamespace(monotonic=lambda: Time.latest.now))
        yield


@pytest.fixture(scope="module")
def started(tmp_path_factory) -> Iterator[None]:
    """A server for all of the runs."""
    ServerPlace.server = Server("valkey", tmp_path_factory.mktemp("valkey"), "--save", "")
    try:
        ServerPlace.server.start()
        yield
    finally:
        ServerPlace.server.kill()


@pytest.mark.usefixtures("started", "by_the_fleets_clock")
@pytest.mark.parametrize(("machine", "number"), [(FleetMachine, 50), (ServerFleetMachine, 25)])
def test_any_interleaving(machine, number):
    """On a file and on a server alike, also where their data are lost or rolled back."""
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples(number, deep=3000), stateful_step_count=60 if DEEP else 40, deadline=None
        ),
    )
