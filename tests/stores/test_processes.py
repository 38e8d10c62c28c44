"""Real processes of a fleet: killed, forked, stopped, and ended while their store is."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from pathlib import Path

import pytest

from stores.crew import Hand, crew, until

SHORT = {"recovery_timeout": 0.5}


@pytest.fixture
def file(tmp_path: Path) -> str:
    """A SQLite store, for what only a file can suffer."""
    return f"sqlite://{tmp_path}/fleet/store.db"


@pytest.fixture(params=["sqlite", "valkey"])
def store(request, file: str) -> str:
    """Each kind of store, empty."""
    return file if request.param == "sqlite" else request.getfixturevalue("start_server")().url


def path_of(store: str) -> Path:
    return Path(store.removeprefix("sqlite://"))


def test_a_trip_reaches_the_other_processes(store):
    """One worker's trip opens all, with one epoch."""
    with crew(store, 3) as (first, *others):
        first.trip()
        for hand in others:
            until(lambda hand=hand: hand.ask("state") == "open")
        assert len({tuple(hand.ask("epoch")) for hand in (first, *others)}) == 1
        assert others[0].ask("call") == "refused: open"
        assert others[0].ask("workers") == 3


def test_recovery_takes_one_probe_of_the_whole_fleet(store):
    """While one worker's probe runs, every other worker refuses; its success closes all."""
    with crew(store, 3, **SHORT) as (first, *others):
        first.trip()
        until(lambda: others[0].ask("state") == "open")
        assert others[0].ask("probe") == "admitted"
        for _ in range(20):
            assert first.ask("acquire").startswith("refused")
            assert others[1].ask("acquire").startswith("refused")
        others[0].ask("settle")
        until(lambda: {hand.ask("state") for hand in (first, *others)} == {"closed"})


def test_a_worker_killed_with_the_only_probe_delays_recovery_by_one_lease(store):
    """SIGKILL while holding the probe: another worker gets it at the lease's end, not later."""
    with crew(store, 2, probe_timeout=1.5, **SHORT) as (first, second):
        first.trip()
        until(lambda: second.ask("state") == "open")
        assert first.ask("probe") == "admitted"
        first.kill()
        assert second.ask("call").startswith("refused")
        assert (
            until(lambda: second.ask("call") == "success") < 1.5 + 5
        )  # to the moment: tests/stores/test_hub.py
        until(lambda: second.ask("state") == "closed")


def test_a_mode_reaches_every_process_and_survives_them(store):
    """Forced open by one, obeyed by all, and by those who come later."""
    with crew(store, 2) as (first, second):
        first.ask("mode", act="force_open")
        until(lambda: second.ask("call") == "refused: forced_open")
    with crew(store, 1) as (late,):
        assert late.ask("call") == "refused: forced_open"


def test_forked_children_join_the_fleet(store):
    """A fork while the circuit is open: the child refuses too, and has a hub of its own."""
    with crew(store, 2, recovery_timeout=60) as (first, second):
        first.trip()
        until(lambda: second.ask("state") == "open")
        found = second.ask("fork")

        assert found["before"] == "refused: open"
        assert found["ready"]
        assert found["state"] == "open"
        assert found["epoch"] == second.ask("epoch")
        assert "recloser-hub" in found["threads"]
        assert second.ask("call") == "refused: open"
        assert second.ask("connection") == "up"


def test_a_fork_before_the_first_use_is_as_good(store):
    """The parent never called anything: its child starts its own hub (preloading servers)."""
    hand = Hand(store, {"failure_threshold": 3})
    try:
        assert hand.ask("threads") == ["MainThread"]
        found = hand.ask("fork")
        assert found["before"] == "success"
        assert found["ready"]
        assert hand.ask("threads") == ["MainThread"]
    finally:
        hand.end()


def test_a_storm_of_forks_leaves_no_torn_breaker(store):
    """Thirty forks while two threads trip and reset the breaker: every child's breaker works (C13)."""
    with crew(store, 1) as (hand,):
        found = hand.ask("fork_storm", forks=30)
        assert found["good"] == found["of"]
        assert hand.ask("connection") == "up"


def test_one_thread_however_many_breakers(store):
    """A process has one thread for its registry (E1)."""
    with crew(store, 1) as (hand,):
        assert hand.ask("threads") == ["MainThread", "recloser-hub"]


def test_a_process_that_holds_many_connections_is_a_member(store):
    """`select` knows no descriptor above 1023; the hub of a busy server has no other ones (E2)."""
    with crew(store, 1) as (first,):
        busy = Hand(store, {"failure_threshold": 3, "recovery_timeout": 60})
        try:
            assert busy.ask("hold_files", number=1100) > 1023
            assert busy.ask("ready")
            assert busy.ask("call") == "success"
            first.trip()
            until(lambda: busy.ask("state") == "open")
        finally:
            busy.end()


def test_a_process_ends_by_itself(file):
    """Neither an open hub nor a locked store keeps an interpreter from ending (E7)."""
    with crew(file, 2) as (first, second):
        assert first.leave() < 5
        until(lambda: second.ask("workers") == 1)
        holder = sqlite3.connect(path_of(file), isolation_level=None)
        holder.execute("BEGIN EXCLUSIVE")
        try:
            assert second.leave() < 8
        finally:
            holder.close()


def test_a_deleted_file_is_noticed_and_seeded_again(file):
    """Workers do not go on writing to a file that is not there (F1)."""
    with crew(file, 2, recovery_timeout=60) as (first, second):
        first.trip()
        until(lambda: second.ask("state") == "open")
        for path in path_of(file).parent.iterdir():
            path.unlink()
        until(lambda: path_of(file).exists())
        with crew(file, 1, recovery_timeout=60) as (late,):
            until(lambda: late.ask("state") == "open")
        assert {first.ask("state"), second.ask("state")} == {"open"}


def test_a_corrupted_file_is_set_aside(file):
    """A damaged file is kept for a look, and a new one begun (F1)."""
    with crew(file, 1) as (hand,):
        pass
    path_of(file).write_bytes(b"this is no database" * 1000)
    path_of(file).chmod(0o600)
    with crew(file, 2) as (first, second):
        first.trip()
        until(lambda: second.ask("state") == "open")
    assert list(path_of(file).parent.glob("*.damaged"))
    del hand


def test_a_file_damaged_under_its_workers_is_set_aside(file):
    """Its head is whole and it opens, but what it holds cannot be read: the workers go on with what they know (F1)."""
    with crew(file, 2, recovery_timeout=60) as (first, second):
        first.trip()
        until(lambda: second.ask("state") == "open")
        with contextlib.closing(sqlite3.connect(path_of(file))) as database:
            found = "SELECT rootpage FROM sqlite_master WHERE name = 'breakers'"
            ((page,), (size,)) = (database.execute(each).fetchone() for each in (found, "PRAGMA page_size"))
            until(lambda: database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0)
        with path_of(file).open("r+b") as damaged:
            damaged.seek((page - 1) * size)
            damaged.write(b"\xff" * size)
        second.ask("mode", act="shadow")
        until(lambda: list(path_of(file).parent.glob("*.damaged")))
        until(lambda: [hand.ask("connection") for hand in (first, second)] == ["up", "up"])
        until(lambda: first.ask("seen_mode") == "shadow")
        assert {first.ask("state"), second.ask("state")} == {"open"}


def test_a_foreign_writer_holds_up_nobody(file):
    """A lock held for seconds: calls go on, each worker leads itself, and the fleet meets again afterwards."""
    with crew(file, 2) as (first, second):
        holder = sqlite3.connect(path_of(file), isolation_level=None, check_same_thread=False)
        holder.execute("BEGIN EXCLUSIVE")
        try:
            first.trip()
            assert first.ask("state") == "open"
            assert second.ask("call") == "success"
            until(lambda: first.ask("connection") == "down")
            assert "locked" in first.ask("health")
            until(lambda: second.ask("slowest") < 0.1)
        finally:
            holder.close()
        until(lambda: first.ask("connection") == "up")


def test_a_place_that_cannot_be_written_leaves_each_to_itself(tmp_path):
    """A store that cannot be made is told in health; calls do not feel it."""
    (tmp_path / "fleet").write_text("a file where the folder should be")
    hand = Hand(f"sqlite://{tmp_path}/fleet/store.db", {"failure_threshold": 3})
    try:
        hand.trip()
        assert hand.ask("state") == "open"
        until(lambda: hand.ask("connection") == "down")
        assert "store.db" in hand.ask("health")
    finally:
        hand.end()


def test_a_full_disk_holds_up_nobody(file):
    """Writes fail while the disk is full: the worker leads itself, and joins again when there is room."""
    with crew(file, 2) as (first, second):
        first.ask("limit_files", size=0)
        first.trip()
        assert first.ask("state") == "open"
        until(lambda: first.ask("connection") == "down")
        assert second.ask("call") == "success"
        first.ask("limit_files", size=-1)
        until(lambda: first.ask("connection") == "up")


def test_a_file_that_others_can_reach_is_refused(tmp_path):
    """The store holds what operators wrote: a file open to others is refused, with the remedy (F1)."""
    folder = tmp_path / "fleet"
    folder.mkdir(mode=0o700)
    path = folder / "store.db"
    path.touch(mode=0o644)
    path.chmod(0o644)
    hand = Hand(f"sqlite://{path}", {"failure_threshold": 3})
    try:
        assert hand.ask("call") == "success"
        until(lambda: hand.ask("connection") == "down")
        assert "chmod 600" in hand.ask("health")
        hand.trip()
        assert hand.ask("state") == "open"
    finally:
        hand.end()


def test_threads_of_one_process_share_one_hub(store):
    """Many threads that make their first calls at once start one hub."""
    with crew(store, 1) as (hand,):
        del hand
    from recloser import Registry

    registry = Registry({"STORE": store, "NAMESPACE": "test", "BREAKERS": {"payments": {}}})
    try:
        callers = [threading.Thread(target=lambda: registry["payments"].call(lambda: 1)) for _ in range(8)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        assert registry.ready(5)
        assert [thread.name for thread in threading.enumerate()].count("recloser-hub") == 1
    finally:
        registry.close()
    assert "recloser-hub" not in [thread.name for thread in threading.enumerate()]


def test_a_forgotten_registry_ends_its_hub(store):
    """Nobody closed it, nobody holds it: its thread ends."""
    import gc

    from recloser import Registry

    registry = Registry({"STORE": store, "NAMESPACE": "test", "BREAKERS": {"payments": {}}})
    assert registry["payments"].call(lambda: 1) == 1
    assert registry.ready(5)
    del registry
    gc.collect()
    until(lambda: "recloser-hub" not in [thread.name for thread in threading.enumerate()])
