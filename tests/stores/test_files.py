"""Where a store's file may lie (SEMANTICS F1): whatever is wrong is said, with the remedy."""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from recloser.stores import files
from recloser.stores.protocol import StoreError
from recloser.stores.sqlite import SQLiteStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "fleet" / "store.db"


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_f1_what_is_made_is_ours_alone(path):
    """The folder, the file, and what SQLite puts beside it."""
    store = SQLiteStore(path)
    store.connect()
    assert mode_of(path.parent) == 0o700
    assert {found.name: mode_of(found) for found in path.parent.iterdir()} == {
        "store.db": 0o600,
        "store.db-wal": 0o600,
        "store.db-shm": 0o600,
    }
    store.close()


def test_f1_a_linked_file_is_refused(path):
    """Another user may have put it there, to have us write somewhere else."""
    path.parent.mkdir(0o700)
    path.symlink_to(path.with_name("elsewhere.db"))
    with pytest.raises(StoreError, match=r"store.db cannot be used: Too many levels of symbolic links"):
        files.prepare(path)
    assert not path.exists()


def test_f1_a_linked_folder_is_refused(path, tmp_path):
    """For the same reason."""
    (tmp_path / "elsewhere").mkdir(0o700)
    path.parent.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match=r"folder .* must be a plain folder, and no link"):
        files.prepare(path)


def test_f1_a_folder_that_others_may_write_is_refused(path):
    """They could put another file in its place."""
    path.parent.mkdir(0o700)
    path.parent.chmod(0o770)
    with pytest.raises(StoreError, match=r"others may write .*: chmod 700"):
        files.prepare(path)


def test_f1_a_folder_of_another_user_is_refused(path, monkeypatch):
    """Whatever its rights are."""
    files.prepare(path)
    owner = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    with pytest.raises(StoreError, match=f"belongs to another user .{owner}."):
        files.prepare(path)


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs", "9p"])
@pytest.mark.parametrize("name", ["fleet", "our fleet", "flotte-é"])
def test_f1_a_network_file_system_is_refused(tmp_path, monkeypatch, kind, name):
    """Its locks and shared memory do not work; the remedy is named."""
    mount = tmp_path / name
    mount.mkdir(0o700)
    mounts = tmp_path / "mountinfo"
    point = str(mount).replace(" ", "\\040")
    mounts.write_text(
        "22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n"
        f"40 22 0:35 / {point} rw,relatime shared:7 - {kind} server:/fleet rw\n"
        f"41 40 8:2 / {point}/disk rw - ext4 /dev/sdb1 rw\n"
    )
    monkeypatch.setattr(files, "_MOUNTS", mounts)
    with pytest.raises(StoreError, match=f"network file system .{kind}.: use a disk of this machine"):
        files.prepare(mount / "store.db")
    files.prepare(mount / "disk" / "store.db")
    files.prepare(tmp_path / f"{name}-beside" / "store.db")


def test_f1_the_default_file_is_the_users_and_the_namespaces(tmp_path, monkeypatch):
    """In the runtime folder, or else in a folder of the user's in the temporary one."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert files.default_path("shop") == tmp_path / "recloser" / "shop.db"
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert files.default_path("shop").parent.name == f"recloser-{os.getuid()}"


def test_f1_who_comes_later_waits_for_no_writer(path):
    """A file that is ready is opened by reading alone: many workers that start at once do not queue to write."""
    first, later = SQLiteStore(path), SQLiteStore(path)
    first.connect()
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        later.connect()
        told = later.news()
        writer.execute("ROLLBACK")
    first.close()
    later.close()

    assert told is not None
    assert told.is_whole
