"""A file that outlives the boot of its machine: its times are void, what an operator said is not (SEMANTICS D3)."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest

from recloser.core.state import Mode, State
from recloser.stores.protocol import StoreError
from recloser.stores.sqlite import SQLiteStore
from stores.fleet import NO_WINDOW, Clock, Member
from stores.test_counting import FIVE_IN_A_ROW


class Machine:
    """Workers that share a file; each boot begins a monotonic clock of its own."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "fleet.db"
        self.wall = Clock()
        self.boots = 0
        self.stores: list[SQLiteStore] = []

    def boot(self) -> Member:
        self.boots += 1
        clock = Clock()
        clock.now = 1.0
        store = SQLiteStore(self.path, clock=clock, wall_clock=self.wall, boot=str(self.boots))
        self.stores.append(store)
        store.connect()
        return Member(store, f"worker-{self.boots}", NO_WINDOW)

    def shut_down(self) -> None:
        for store in self.stores:
            store.close()


@pytest.fixture
def machine(tmp_path):
    folder = tmp_path / "private"
    folder.mkdir(0o700)
    machine = Machine(folder)
    yield machine
    machine.shut_down()


def test_d3_what_was_open_is_due(machine):
    """Nobody can say how long ago it opened, and a probe is cheap."""
    machine.boot().trip(FIVE_IN_A_ROW)
    ann = machine.boot()
    record = ann.read()
    assert (record.state, record.open_until, record.cause) == (State.OPEN, 1.0, FIVE_IN_A_ROW)
    assert ann.lease().record.state is State.HALF_OPEN


def test_d3_what_was_half_open_is_due(machine):
    """Its leases went with the processes that held them."""
    before = machine.boot()
    before.trip(FIVE_IN_A_ROW, period=0.0)
    assert before.lease().grants
    ann = machine.boot()
    assert ann.read().state is State.OPEN
    assert ann.lease().grants


@pytest.mark.parametrize(
    ("mode", "state"), [(Mode.FORCED_OPEN, State.OPEN), (Mode.FORCED_CLOSED, State.CLOSED)]
)
def test_d3_modes_are_kept(machine, mode, state):
    """A forced-open circuit has no end but its mode's."""
    machine.boot().force(mode, by="eve")
    record = machine.boot().read()
    assert (record.state, record.open_until) == (state, 0.0)
    assert (record.override.mode, record.override.by) == (mode, "eve")


def test_d3_the_same_boot_voids_nothing(machine):
    """A worker that begins later finds the times as they are."""
    opened = machine.boot().trip(FIVE_IN_A_ROW).record
    machine.boots -= 1
    assert machine.boot().read().open_until == opened.open_until


def test_d7_two_applications_never_share_a_file(machine):
    """Nor two schemas: the second one is refused, with the remedy."""
    machine.boot().trip(FIVE_IN_A_ROW)
    with pytest.raises(StoreError, match="of the namespace 'recloser', and not of 'cart': give each"):
        SQLiteStore(machine.path, "cart").connect()
    with contextlib.closing(sqlite3.connect(machine.path, isolation_level=None)) as database:
        database.execute("UPDATE meta SET value = '2' WHERE key = 'schema'")
    with pytest.raises(StoreError, match="of the schema '2', and not of '1'"):
        machine.boot()


def test_f1_two_machines_never_share_a_file(machine):
    """Their clocks have nothing in common, so the second one is refused while the first one lives."""
    machine.boot().beat("shop")
    with pytest.raises(StoreError, match="in use by another machine"):
        machine.boot()
    machine.wall.advance(3600)
    machine.boot()
