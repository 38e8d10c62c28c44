"""The job table: the truth about every job, whoever runs them."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Sequence
from operator import itemgetter
from random import random
from typing import Any, Final, NamedTuple

from recloser.backlogs import Depth
from recloser.deferred.file import JobFile
from recloser.deferred.job import JobRecord, JobState

FORGOTTEN: Final = 10_000  # done jobs at once: whoever submits one does not wait for a week's worth
LIVE: Final = "state IN ('queued', 'running')"

HELD_BACK: Final = 1.0  # seconds

_COLUMNS: Final = (
    "id, task, client_key, owner, payload, state, attempts, unfinished, born, due, result, error"
)
# Those whose worker went without a word go on one at a time: the one that kills it takes no other with it again.
_IN_TURN: Final = (
    "(unfinished = 0 OR NOT EXISTS (SELECT 1 FROM jobs INDEXED BY suspects"
    " WHERE unfinished > 1 AND state = 'running' AND due > ?))"
)


class Submission(NamedTuple):
    """What became of a submission.

    Attributes:
        record: The job, new or an earlier one of the same key.
        is_new: Whether it was made.
        conflicts: The key belongs to an earlier job that was submitted with something else.
    """

    record: JobRecord
    is_new: bool
    conflicts: bool = False


class Expired(NamedTuple):
    """What became of old jobs.

    Attributes:
        given_up: Jobs that were too old to be tried again.
        forgotten: Given-up jobs that nobody replayed or dropped, and that were too many to keep.
    """

    given_up: int
    forgotten: int


class JobTable(JobFile):
    """Keeps jobs in a file.

    Methods raise `sqlite3.Error` or `StoreError` where the file cannot be used.
    """

    # -- the web's side --------------------------------------------------------------------------------------

    def submit(
        self,
        task: str,
        payload: str,
        *,
        key: str | None,
        fingerprint: str,
        most: int,
        owner: str = "",
    ) -> Submission | None:
        """Keep a job; it is on the disk when this returns.

        Args:
            task: What is to be done.
            payload: JSON.
            key: The client's idempotency key.
            fingerprint: Tells submissions of one key apart.
            most: Jobs that may wait or run at once.
            owner: Whose key it is: others' keys are others'.

        Returns:
            The job; `None` if the table is full.
        """
        with self.transaction() as database:
            now = self.clock()
            if key is not None:
                row = database.execute(
                    f"SELECT {_COLUMNS}, fingerprint FROM jobs"  # noqa: S608
                    " WHERE task = ? AND owner = ? AND client_key = ?",
                    (task, owner, key),
                ).fetchone()
                if row is not None:
                    return Submission(_record(row, now), is_new=False, conflicts=row[-1] != fingerprint)
            (living,) = database.execute(f"SELECT count(*) FROM jobs WHERE {LIVE}").fetchone()  # noqa: S608
            if living >= most:
                return None
            name = secrets.token_hex(16)  # a leading dash would be an option on a command line
            database.execute(
                "INSERT INTO jobs"
                " (id, task, owner, client_key, fingerprint, payload, state, submitted, born, due)"
                " VALUES (?, ?, ?, ?, ?, ?, 'queued', ?, ?, ?)",
                (name, task, owner, key, fingerprint, payload, self.wall_clock(), now, now),
            )
            return Submission(_found(database, name, now), is_new=True)

    def find(self, name: str) -> JobRecord | None:
        """Look a job up."""
        with self.reading() as database:
            row = database.execute(f"SELECT {_COLUMNS} FROM jobs WHERE id = ?", (name,)).fetchone()  # noqa: S608
            return None if row is None else _record(row, self.clock())

    # -- the worker's side -----------------------------------------------------------------------------------

    def waiting(self, tasks: Sequence[str]) -> list[tuple[str, float]]:
        """Return the tasks of which jobs wait, and in how many seconds the first of each is due; the earliest first."""
        with self.reading() as database:
            now = self.clock()
            first = [(task, row[1]) for task in tasks if (row := _first_of(database, task, now)) is not None]
            return [(task, max(0.0, due - now)) for task, due in sorted(first, key=itemgetter(1))]

    def tasks(self) -> set[str]:
        """Return the tasks of which jobs wait, whoever knows them."""
        with self.reading() as database:
            rows = database.execute(f"SELECT DISTINCT task FROM jobs INDEXED BY waiting WHERE {LIVE}")  # noqa: S608
            return {task for (task,) in rows}

    def claim(
        self,
        tasks: Sequence[str],
        breaker: str,
        *,
        name: str | None = None,
        lease: float,
        every: float,
    ) -> tuple[JobRecord, str] | float | None:
        """Take the job that has been due longest, whose lease nobody holds any more.

        Args:
            tasks: What the caller can do, and the circuit lets him.
            breaker: Whose circuit.
            name: Only this job.
            lease: How long it is the caller's (seconds).
            every: Seconds between two starts of jobs of one breaker, by whichever process.

        Returns:
            The job and the lease's token; or in how many seconds a job may start; `None` if none waits.
        """
        with self.transaction() as database:
            now = self.clock()
            if name is None:
                rows = [_first_of(database, task, now) for task in tasks]
            else:
                rows = [
                    database.execute(
                        f"SELECT id, due, {_IN_TURN} FROM jobs WHERE {LIVE} AND id = ?",  # noqa: S608
                        (now, name),
                    ).fetchone()
                ]
            row = min((row for row in rows if row is not None), key=itemgetter(1), default=None)
            if row is None:
                return None
            if not row[2]:
                return HELD_BACK
            if row[1] > now:
                return float(row[1] - now)
            pace = database.execute("SELECT next FROM paces WHERE breaker = ?", (breaker,)).fetchone()
            if pace is not None and pace[0] > now:
                return min(float(pace[0] - now), every)
            token = secrets.token_hex(8)
            database.execute("INSERT OR REPLACE INTO paces VALUES (?, ?)", (breaker, now + every))
            database.execute(
                "UPDATE jobs SET state = 'running', attempts = attempts + 1, unfinished = unfinished + 1, due = ?,"
                " lease = ? WHERE id = ?",
                (now + lease, token, row[0]),
            )
            return _found(database, row[0], now), token

    def complete(self, name: str, result: str) -> None:
        """Note that a job is done, also when its lease has passed to another: what is done need not be done again.

        What it was given is forgotten: only its result and its key are still asked for.
        """
        with self.transaction() as database:
            database.execute(
                "UPDATE jobs SET state = 'done', payload = '{}', result = ?, error = '', lease = '', unfinished = 0,"
                " due = ? WHERE id = ?",
                (result, self.clock(), name),
            )

    def put_back(self, name: str, token: str, *, delay: float, error: str, counts: bool = True) -> None:
        """Queue a job again.

        Args:
            name: The job's.
            token: Of the lease; nothing happens if it is another's by now.
            delay: Seconds until it is due.
            error: Why the attempt failed.
            counts: Whether it was an attempt; a refused one was not.
        """
        with self.transaction() as database:
            database.execute(
                "UPDATE jobs SET state = 'queued', due = ?, lease = '', error = ?, unfinished = 0,"
                " attempts = attempts - ? WHERE id = ? AND lease = ? AND state = 'running'",
                (self.clock() + delay, error, 0 if counts else 1, name, token),
            )

    def give_up(self, name: str, token: str, error: str, *, counts: bool = True) -> None:
        """Note that a job will not be tried again; arguments as for `put_back`."""
        with self.transaction() as database:
            database.execute(
                "UPDATE jobs SET state = 'failed', due = ?, lease = '', unfinished = 0, error = ?,"
                " attempts = attempts - ? WHERE id = ? AND lease = ? AND state = 'running'",
                (self.clock(), error, 0 if counts else 1, name, token),
            )

    def postpone(self, name: str, tasks: Sequence[str], delay: float, every: float) -> float:
        """Put off a job that may not begin yet; those that wait with it are spread, lest all come back as one.

        Args:
            name: The job's.
            tasks: Whose jobs wait with it.
            delay: Seconds until the first may begin.
            every: Seconds between two starts.

        Returns:
            Seconds until this one is due.
        """
        marks = ", ".join("?" * len(tasks))
        with self.transaction() as database:
            now = self.clock()
            (waiting,) = database.execute(
                f"SELECT count(*) FROM jobs WHERE {LIVE} AND task IN ({marks}) AND due < ?",  # noqa: S608
                (*tasks, now + delay),
            ).fetchone()
            wait: float = delay + random() * waiting * every  # noqa: S311 - no secret
            database.execute(
                "UPDATE jobs SET state = 'queued', lease = '', due = ? WHERE id = ? AND due <= ?"
                " AND state IN ('queued', 'running')",
                (now + wait, name, now),
            )
            return wait

    def overdue(self, tasks: Sequence[str], seconds: float, most: int) -> list[str]:
        """Return jobs that nobody has begun so long after they were due (seconds), and make them due anew."""
        marks = ", ".join("?" * len(tasks))
        with self.transaction() as database:
            now = self.clock()
            rows = database.execute(
                f"UPDATE jobs SET due = ? WHERE number IN (SELECT number FROM jobs WHERE {LIVE}"  # noqa: S608
                f" AND task IN ({marks}) AND due < ? ORDER BY due LIMIT ?) RETURNING id",
                (now, *tasks, now - seconds, most),
            ).fetchall()
            return [name for (name,) in rows]

    def expire(self, max_age: float, keep: float, most: int) -> Expired:
        """Give up jobs that are too old, and forget those that were done long ago.

        Args:
            max_age: The oldest that is still tried (seconds).
            keep: How long a done job is remembered (seconds).
            most: Given-up jobs that are kept, the latest ones: whoever can make jobs fail cannot fill the disk.
        """
        with self.transaction() as database:
            now = self.clock()
            database.execute(
                "DELETE FROM jobs WHERE number IN"
                " (SELECT number FROM jobs WHERE state = 'done' AND due < ? LIMIT ?)",
                (now - keep, FORGOTTEN),
            )
            # One whose lease still runs may yet end well.
            given_up = database.execute(
                "UPDATE jobs INDEXED BY living SET state = 'failed', lease = '', unfinished = 0, due = ?,"  # noqa: S608
                " error = 'older than the queue''s max_age' || CASE error WHEN '' THEN '' ELSE '; ' || error END"
                f" WHERE {LIVE} AND born < ? AND (state = 'queued' OR due < ?)",
                (now, now - max_age, now),
            ).rowcount
            forgotten = database.execute(
                "DELETE FROM jobs WHERE number IN"
                " (SELECT number FROM jobs WHERE state = 'failed' ORDER BY due DESC LIMIT -1 OFFSET ?)",
                (most,),
            ).rowcount
            return Expired(given_up, forgotten)

    # -- a person's side -------------------------------------------------------------------------------------

    def jobs(self, state: JobState | None = None, most: int = -1) -> list[JobRecord]:
        """List jobs, the oldest first; at most so many, if that is not negative."""
        where, values = ("", ()) if state is None else (" WHERE state = ?", (str(state),))
        with self.reading() as database:
            rows = database.execute(
                f"SELECT {_COLUMNS} FROM jobs{where} ORDER BY number LIMIT ?",  # noqa: S608
                (*values, most),
            ).fetchall()
            now = self.clock()
            return [_record(row, now) for row in rows]

    def replay(self, names: Sequence[str] | None) -> list[str]:
        """Queue given-up jobs again, as if they were submitted now; `None`: all. Returns which."""
        return self._of_failed("UPDATE jobs SET state = 'queued', attempts = 0, born = ?1, due = ?1", names)

    def drop(self, names: Sequence[str] | None) -> list[str]:
        """Forget given-up jobs; `None`: all. Returns which."""
        return self._of_failed("DELETE FROM jobs", names)

    def _of_failed(self, statement: str, names: Sequence[str] | None) -> list[str]:
        with self.transaction() as database:
            now = self.clock()
            if names is None:
                names = [name for (name,) in database.execute("SELECT id FROM jobs WHERE state = 'failed'")]
            changed: list[str] = []
            for name in names:
                where = f"{statement} WHERE id = ?2 AND state = 'failed' AND ?1 = ?1"
                if database.execute(where, (now, name)).rowcount:
                    changed.append(name)
            return changed

    def depth(self) -> Depth:
        """Count jobs."""
        with self.reading() as database:
            counts = dict(database.execute("SELECT state, count(*) FROM jobs GROUP BY state").fetchall())
            (born,) = database.execute(
                f"SELECT min(born) FROM jobs INDEXED BY living WHERE {LIVE}"  # noqa: S608
            ).fetchone()
            oldest = 0.0 if born is None else max(0.0, self.clock() - born)
            queued, running, done, failed = (int(counts.get(str(state), 0)) for state in JobState)
            return Depth(queued, running, done, failed, oldest)


def _first_of(database: sqlite3.Connection, task: str, now: float) -> tuple[str, float, bool] | None:
    row: tuple[str, float, bool] | None = database.execute(
        "SELECT id, due, true FROM jobs INDEXED BY waiting"  # noqa: S608
        f" WHERE {LIVE} AND task = ? AND {_IN_TURN} ORDER BY due LIMIT 1",
        (task, now),
    ).fetchone()
    return row


def _found(database: sqlite3.Connection, name: str, now: float) -> JobRecord:
    row = database.execute(f"SELECT {_COLUMNS} FROM jobs WHERE id = ?", (name,)).fetchone()  # noqa: S608
    return _record(row, now)


def _record(row: Sequence[Any], now: float) -> JobRecord:
    name, task, key, owner, payload, state, attempts, unfinished, born, due, result, error = row[:12]
    return JobRecord(
        id=name,
        task=task,
        key=key or name,
        owner=owner,
        payload=payload,
        state=JobState(state),
        attempts=attempts,
        unfinished=unfinished,
        age=max(0.0, now - born),
        due_in=max(0.0, due - now) if state in (JobState.QUEUED, JobState.RUNNING) else 0.0,
        result=result,
        error=error,
    )
