"""The SQLite store: one file for all workers of one machine, nothing to install (SEMANTICS F1)."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from math import inf
from pathlib import Path
from typing import Final

from recloser.core.log import logger
from recloser.core.state import State
from recloser.core.window import BUCKETS
from recloser.stores import files
from recloser.stores.entry import Entry, from_text, to_text
from recloser.stores.operations import Answer, Answers, Operation
from recloser.stores.protocol import News, StoreError
from recloser.stores.record import SCHEMA, SET_BACK, Record
from recloser.stores.rules import Change
from recloser.stores.unreadable import BREAKER, ERRORS, Unreadable
from recloser.stores.view import (
    FleetView,
    Held,
    Reports,
    Shared,
    Worker,
    transition_to_text,
    worker_to_text,
)

BUSY: Final = 0.25  # seconds to wait for another worker's transaction
ALIVE: Final = 6.0  # seconds after its last heartbeat for which a worker counts in a quorum
REMEMBERED: Final = 60.0  # and is listed
AT_REST: Final = 86_400.0  # seconds after which the record of a breaker that nobody uses is dropped
EXTEND: Final = 3600.0  # seconds after which a worker says again which ones it uses
TRANSITIONS: Final = 500

_text: Final = partial(str, encoding="utf-8", errors="replace")

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS breakers (
    name TEXT PRIMARY KEY, revision INTEGER NOT NULL, at REAL NOT NULL, at_rest INTEGER NOT NULL, entry TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_revision ON breakers (revision);
CREATE TABLE IF NOT EXISTS workers (
    id TEXT PRIMARY KEY, at REAL NOT NULL, wall REAL NOT NULL, boot TEXT NOT NULL, report TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS transitions (revision INTEGER PRIMARY KEY, report TEXT NOT NULL);
"""


_FORGET_TRANSITIONS: Final = """
DELETE FROM transitions
WHERE revision <= (SELECT revision FROM transitions ORDER BY revision DESC LIMIT 1 OFFSET ?)
"""


class SQLiteStore:
    """Keeps a fleet's records in a file; its clock is `time.monotonic`, which all processes of one boot share.

    Args:
        path: Of the file. Its folder must be ours alone.
        namespace: Of the application that the file belongs to.
        clock: The store's clock (monotonic seconds).
        wall_clock: Time of day (seconds since the epoch).
        boot: Which boot of which machine `clock` belongs to.

    Attributes:
        address: The file's URL.
        poll_interval: Seconds.
    """

    poll_interval = 0.02

    def __init__(
        self,
        path: Path,
        namespace: str = "recloser",
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        boot: str | None = None,
    ) -> None:
        self.path = path
        self.address = f"sqlite://{path}"
        self._namespace = namespace
        self._clock = clock
        self._wall_clock = wall_clock
        self._boot = files.boot_id() if boot is None else boot
        self._database: sqlite3.Connection | None = None
        self._unreadable = Unreadable(self.address)
        self._reports = Reports(self._unreadable)
        self._lost: set[str] = set()  # breakers whose record could not be read
        self._identity = (0, 0)
        self._version = -1
        self._seen = -1
        self._extended = -inf

    def connect(self) -> None:
        """Open the file, or make it; a damaged one is set aside."""
        if self._database is not None:
            return
        files.prepare(self.path)
        self._identity = files.identity(self.path)
        try:
            self._open()
        except sqlite3.Error as error:
            raise self._refused(error) from error
        except BaseException:
            self.close()
            raise

    def exchange(self, operations: Sequence[Operation]) -> Answers:
        """Carry out operations in one transaction."""
        with self._transaction() as database:
            now, wall = self._clock(), self._wall_clock()  # after whatever had to be waited for
            revision = first = _revision(database)
            entries: dict[str, tuple[str, Entry]] = {}
            answers: list[Answer] = []
            for operation in operations:
                name = operation.breaker
                if name not in entries:
                    entries[name] = self._load(database, name)
                entry = entries[name][1]
                change = Change(entry, now, wall, lambda: _alive(database, now))
                answer = change.apply(operation)
                if change.is_news:
                    revision += 1
                    entry.record = entry.record._replace(revision=revision)
                    answer = answer._replace(record=entry.record)
                for transition in change.transitions:
                    report = transition_to_text(transition)
                    database.execute("INSERT INTO transitions VALUES (?, ?)", (revision, report))
                answers.append(answer)
            for name, (before, entry) in entries.items():
                _save(database, name, entry, before, now)
            if revision != first:
                _count_change(database, revision)
                database.execute(_FORGET_TRANSITIONS, (TRANSITIONS,))
        return Answers(now, revision, answers)

    def news(self) -> News | None:
        """Return the records that have changed since the last call; asks for no more than a number if none has."""
        with self._reading() as database:
            # Before the records: what is committed in between is read now or told by the next look.
            (version,) = database.execute("PRAGMA data_version").fetchone()
            if version == self._version:
                return None
            revision = _revision(database)
            is_whole = self._version < 0 or revision < self._seen
            seen = 0 if is_whole else self._seen  # without a revision nothing but counts is known
            rows = database.execute("SELECT name, entry FROM breakers WHERE revision > ?", (seen,)).fetchall()
            records = {name: self._read(name, entry).record for name, entry in rows}
        self._version, self._seen = version, revision
        return News(self._clock(), records, is_whole) if records or is_whole else None

    def fileno(self) -> int | None:
        """Nothing becomes readable."""
        return None

    def beat(self, worker: Worker) -> int:
        """Note a heartbeat, forget the dead, and drop records at rest that nobody uses."""
        self._recognise()
        with self._transaction() as database:
            now, wall = self._clock(), self._wall_clock()
            row = (worker.id, now, wall, self._boot, worker_to_text(worker))
            database.execute("INSERT OR REPLACE INTO workers VALUES (?, ?, ?, ?, ?)", row)
            bounds = (now - REMEMBERED, now + SET_BACK)
            database.execute("DELETE FROM workers WHERE NOT at BETWEEN ? AND ?", bounds)
            database.execute("DELETE FROM breakers WHERE at_rest AND at < ?", (now - AT_REST,))
            if now - self._extended >= EXTEND:
                self._extended = now
                used = [(now, name) for name in worker.beliefs]
                database.executemany("UPDATE breakers SET at = ? WHERE name = ?", used)
            lost, self._lost = self._lost, set()
            for revision, name in enumerate(lost, _revision(database) + 1):
                before, entry = self._load(database, name)
                entry.record = entry.record._replace(revision=revision)  # news, to those who know more
                _save(database, name, entry, before, now)
                _count_change(database, revision)
            return _alive(database, now)

    def leave(self, worker_id: str) -> None:
        """Forget a worker."""
        with self._transaction() as database:
            database.execute("DELETE FROM workers WHERE id = ?", (worker_id,))

    def view(self, transitions: int = 100) -> FleetView:
        """Read the whole fleet."""
        now = self._clock()
        with self._reading() as database:
            self._recognise()  # whoever has no breakers to tell of has no heartbeat
            database.execute("BEGIN")
            try:
                breakers = database.execute("SELECT name, entry FROM breakers").fetchall()
                workers = database.execute("SELECT id, report, at FROM workers ORDER BY id").fetchall()
                changes = database.execute(
                    "SELECT revision, report FROM transitions ORDER BY revision DESC LIMIT ?", (transitions,)
                ).fetchall()
            finally:
                database.execute("COMMIT")
            return FleetView(
                now,
                {name: shared(self._read(name, entry), now) for name, entry in breakers},
                self._reports.heard((key, report, max(0.0, now - at)) for key, report, at in workers),
                self._reports.transitions(changes),
            )

    def _recognise(self) -> None:
        if files.identity(self.path) != self._identity:
            self.close()
            raise StoreError(f"the store's file {self.path} was replaced by another")

    def close(self) -> None:
        """Close the file."""
        database, self._database = self._database, None
        if database is not None:
            with suppress(sqlite3.Error):
                database.close()

    def abandon(self) -> None:
        """A parent closes its file before it forks: there is nothing to forget (SEMANTICS C13)."""
        self._database = None

    def _open(self) -> None:
        database = sqlite3.connect(self.path, timeout=BUSY, isolation_level=None, check_same_thread=False)
        database.text_factory = _text
        self._database = database
        _write_ahead(database)
        database.execute("PRAGMA synchronous = NORMAL")
        if not self._is_mine(database):  # else no other worker need be waited for
            self._make_mine(database)
        self._version, self._seen, self._extended = -1, 0, -inf

    def _is_mine(self, database: sqlite3.Connection) -> bool:
        """Whether the file was made ready by another worker of this application and boot."""
        mine = {("schema", str(SCHEMA)), ("namespace", self._namespace), ("boot", self._boot)}
        try:
            return mine <= set(database.execute("SELECT key, value FROM meta"))
        except sqlite3.OperationalError:  # there is nothing in it yet
            return False

    def _make_mine(self, database: sqlite3.Connection) -> None:
        with self._transaction():
            for statement in _TABLES.split(";"):
                database.execute(statement)
            database.execute("INSERT OR IGNORE INTO meta VALUES ('revision', '0')")
            self._refuse_others(database, "schema", str(SCHEMA), "give this version of recloser another file")
            remedy = "give each application a file of its own, or name its namespace"
            self._refuse_others(database, "namespace", self._namespace, remedy)
            self._adopt_boot(database)

    def _refuse_others(self, database: sqlite3.Connection, kind: str, mine: str, remedy: str) -> None:
        """Two applications, and two schemas, never mix (SEMANTICS D7)."""
        database.execute("INSERT OR IGNORE INTO meta VALUES (?, ?)", (kind, mine))
        (found,) = database.execute("SELECT value FROM meta WHERE key = ?", (kind,)).fetchone()
        if found != mine:
            raise StoreError(
                f"the store's file {self.path} is of the {kind} {found!r}, and not of {mine!r}: {remedy}"
            )

    def _adopt_boot(self, database: sqlite3.Connection) -> None:
        """Void the times of an earlier boot; what is open is due, and modes are kept (SEMANTICS D3)."""
        found = database.execute("SELECT value FROM meta WHERE key = 'boot'").fetchone()
        if found == (self._boot,):
            return
        wall = self._wall_clock()
        others = "SELECT count(*) FROM workers WHERE boot != ? AND wall BETWEEN ? AND ?"
        (living,) = database.execute(others, (self._boot, wall - ALIVE, wall + ALIVE)).fetchone()
        if living:
            raise StoreError(
                f"the store's file {self.path} is in use by another machine: share the state by a Redis store"
            )
        now = self._clock()
        for name, before in database.execute("SELECT name, entry FROM breakers").fetchall():
            record = self._read(name, before).record
            if record.state is State.HALF_OPEN:
                record = record._replace(state=State.OPEN)
            record = record._replace(since=now, open_until=now if record.is_timed else 0.0)
            _save(database, name, Entry(record), before, now)
        database.execute("DELETE FROM workers")
        database.execute("INSERT OR REPLACE INTO meta VALUES ('boot', ?)", (self._boot,))

    def _load(self, database: sqlite3.Connection, name: str) -> tuple[str, Entry]:
        row = database.execute("SELECT entry FROM breakers WHERE name = ?", (name,)).fetchone()
        return ("", Entry()) if row is None else (row[0], self._read(name, row[0]))

    def _read(self, name: str, written: str) -> Entry:
        """Read what stands there; if nobody could, the store has lost it, and gets it from who knows (SEMANTICS D1)."""
        try:
            return from_text(written)
        except ERRORS as error:
            self._unreadable.tell(BREAKER, name, error)
            self._lost.add(name)
            return Entry()

    def _refused(self, error: sqlite3.Error) -> StoreError:
        """Let go of the file; set a damaged one aside, or no worker could ever go on."""
        self.close()
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            self._set_aside(error)
        return StoreError(f"the store's file refused: {error}")

    def _set_aside(self, error: sqlite3.Error) -> None:
        name = self.path.name
        aside = f"{name}.damaged"  # the latest one: a disk that fails must not be filled, too
        with suppress(StoreError, OSError):
            if (
                files.identity(self.path) != self._identity
            ):  # another worker was first, and this is its new one
                return
            for suffix in ("-wal", "-shm", ""):
                with suppress(FileNotFoundError):
                    self.path.with_name(name + suffix).rename(self.path.with_name(aside + suffix))
            logger().error("the store's file %s is damaged (%s): set aside as %s", self.path, error, aside)

    @contextmanager
    def _reading(self) -> Generator[sqlite3.Connection]:
        database = self._database
        if database is None:
            raise StoreError(f"the store's file {self.path} is not open")
        try:
            yield database
        except sqlite3.Error as error:
            raise self._refused(error) from error

    @contextmanager
    def _transaction(self) -> Generator[sqlite3.Connection]:
        with self._reading() as database:
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
                database.execute("COMMIT")
            except BaseException:
                if database.in_transaction:
                    database.execute("ROLLBACK")
                raise


def shared(entry: Entry, now: float) -> Shared:
    """Tell what is stored of a breaker as it is at `now` (the store's clock)."""
    totals = [0, 0, 0]
    widest = max((width for width, _ in entry.buckets), default=0.0)
    for (width, number), counts in entry.buckets.items():
        if width == widest and (number + BUCKETS) * width > now:
            totals = [total + more for total, more in zip(totals, counts, strict=True)]
    calls, failures, slow = totals
    leases = tuple(
        Held(place.worker, max(0.0, now - place.renewed), place.deadline - now, place.is_used)
        for place in entry.places.values()
        if place.deadline > now
    )
    votes = sum(end > now for end in entry.votes.values())
    return Shared(entry.record, calls, failures, slow, entry.successes, entry.expiries, votes, leases)


def _save(database: sqlite3.Connection, name: str, entry: Entry, before: str, now: float) -> None:
    text = to_text(entry)
    if text != before:
        record: Record = entry.record
        database.execute(
            "INSERT OR REPLACE INTO breakers VALUES (?, ?, ?, ?, ?)",
            (name, record.revision, now, record.is_at_rest, text),
        )


def _revision(database: sqlite3.Connection) -> int:
    (value,) = database.execute("SELECT value FROM meta WHERE key = 'revision'").fetchone()
    try:
        return int(value)
    except ValueError:
        remedy = "remove the file, and the workers begin a new one with what they know"
        raise StoreError(f"the store's count of changes cannot be read ({value!r}): {remedy}") from None


def _count_change(database: sqlite3.Connection, revision: int) -> None:
    database.execute("UPDATE meta SET value = ? WHERE key = 'revision'", (str(revision),))


def _alive(database: sqlite3.Connection, now: float) -> int:
    (alive,) = database.execute("SELECT count(*) FROM workers WHERE at > ?", (now - ALIVE,)).fetchone()
    return int(alive)


def _write_ahead(database: sqlite3.Connection) -> None:
    """Switch to write-ahead logging. SQLite waits for nobody here: of several new workers one finds it locked."""
    end = time.monotonic() + BUSY
    while True:
        try:
            database.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > end:
                raise
            time.sleep(0.005)
        else:
            return
