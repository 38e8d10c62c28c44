"""The file of a queue: opened when it is used, durable, whole over forks and boots.

A job is on the disk before its submission returns (`synchronous=FULL`: an fsync at each commit). Times are
`time.monotonic`, which all processes of one boot share, so that a clock that is set moves no job; after another boot
they are made anew from the time of day.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from recloser.core import fork
from recloser.stores import files
from recloser.stores.protocol import StoreError

BUSY: Final = 2.0  # seconds to wait for another process's transaction

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS paces (breaker TEXT PRIMARY KEY, next REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, task TEXT NOT NULL,
    owner TEXT NOT NULL DEFAULT '', client_key TEXT, fingerprint TEXT NOT NULL, state TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0, unfinished INTEGER NOT NULL DEFAULT 0,
    submitted REAL NOT NULL, born REAL NOT NULL, due REAL NOT NULL,
    lease TEXT NOT NULL DEFAULT '', error TEXT NOT NULL DEFAULT '', result TEXT NOT NULL DEFAULT 'null',
    payload TEXT NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS by_key ON jobs (task, owner, client_key) WHERE client_key IS NOT NULL;
CREATE INDEX IF NOT EXISTS waiting ON jobs (task, due) WHERE state IN ('queued', 'running');
CREATE INDEX IF NOT EXISTS living ON jobs (born) WHERE state IN ('queued', 'running');
CREATE INDEX IF NOT EXISTS by_state ON jobs (state, due);
CREATE INDEX IF NOT EXISTS suspects ON jobs (due) WHERE unfinished > 1;
"""


class JobFile:
    """One SQLite file, for all processes of one machine.

    Args:
        path: Of the file. Its folder must be ours alone.
        clock: Monotonic time of this boot (seconds).
        wall_clock: Time of day (seconds since the epoch).
        boot: Which boot `clock` belongs to.

    Attributes:
        path: Of the file.
        clock: As given.
        wall_clock: As given.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        boot: str | None = None,
    ) -> None:
        self.path = path
        self.clock = clock
        self.wall_clock = wall_clock
        self._boot = files.boot_id() if boot is None else boot
        self._lock = threading.Lock()
        self._database: sqlite3.Connection | None = None
        self._identity = (0, 0)
        fork.watch(self)

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._lock:
            self._close()

    def before_fork(self) -> None:
        """Close the file: SQLite's connections do not survive a fork."""
        self._lock.acquire()
        self._close()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        self._lock.release()

    def after_fork_in_child(self) -> None:
        """Begin with a free lock."""
        self._lock = threading.Lock()

    # -- the file --------------------------------------------------------------------------------------------

    @contextmanager
    def transaction(self) -> Generator[sqlite3.Connection]:
        """Change the file: all of it, or nothing; it is on the disk at the end."""
        with self.reading() as database:
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
                database.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    database.execute("ROLLBACK")
                raise

    @contextmanager
    def reading(self) -> Generator[sqlite3.Connection]:
        """Use the file, which nobody else of this process does meanwhile."""
        with self._lock:
            if self._database is not None and not self._is_there():
                self._close()  # a job in a file that was deleted would be lost
            if self._database is None:
                self._database = self._open()
                self._identity = files.identity(self.path)
            yield self._database

    def _is_there(self) -> bool:
        try:
            return files.identity(self.path) == self._identity
        except StoreError:
            return False

    def _close(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            database.close()

    def _open(self) -> sqlite3.Connection:
        files.prepare(self.path)
        database = sqlite3.connect(self.path, timeout=BUSY, isolation_level=None, check_same_thread=False)
        try:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = FULL")
            database.execute("BEGIN IMMEDIATE")
            for statement in _SCHEMA.strip().split(";\n"):
                database.execute(statement)
            self._adopt(database)
            database.execute("COMMIT")
        except BaseException:
            database.close()
            raise
        return database

    def _adopt(self, database: sqlite3.Connection) -> None:
        """After another boot its monotonic times mean nothing: whatever lives is due, and as old as the calendar says."""
        now = self.clock()
        row: Any = database.execute("SELECT value FROM meta WHERE key = 'boot'").fetchone()
        # Where boots have no names, a clock that is behind what it once said has begun anew.
        (last,) = database.execute(
            "SELECT max(born) FROM jobs INDEXED BY living WHERE state IN ('queued', 'running')"
        ).fetchone()
        if row is not None and row[0] == self._boot and (last is None or last <= now):
            return
        database.execute("INSERT OR REPLACE INTO meta VALUES ('boot', ?)", (self._boot,))
        database.execute("DELETE FROM paces")
        database.execute(
            "UPDATE jobs SET born = ? - max(0, ? - submitted), due = ?", (now, self.wall_clock(), now)
        )
