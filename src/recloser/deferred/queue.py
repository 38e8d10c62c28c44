"""A queue: tasks that can be put off, the file that holds their jobs, and the limits of both."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from datetime import timedelta
from os import PathLike
from pathlib import Path
from typing import Final, TypeAlias, TypeVar

from recloser import backlogs
from recloser.backlogs import Depth
from recloser.core.breaker import CircuitBreaker
from recloser.core.errors import ConfigurationError, Problem, RecloserError
from recloser.core.log import logger
from recloser.core.policy import nearest
from recloser.deferred.attempt import Attempt
from recloser.deferred.job import JobRecord
from recloser.deferred.table import JobTable, Submission
from recloser.deferred.task import Function, Task
from recloser.stores.protocol import StoreError

T = TypeVar("T")
Seconds: TypeAlias = float | timedelta
# Asks a worker to run a job in so many seconds at the earliest, by `queue.run(id)`.
Wake: TypeAlias = Callable[[str, float], object]

PATIENCE: Final = 30.0  # seconds after which a job that nobody has begun is told of again
SWEPT: Final = 100
SLACK: Final = 2.0  # seconds by which a worker may be told of a job too early


class QueueError(RecloserError):
    """The queue cannot keep a job now: its file is broken, read-only, or its disk is full."""


class QueueFullError(QueueError):
    """As many jobs as `max_jobs` allows wait or run."""


class Queue:
    """Keeps calls for later in one SQLite file, and runs them when their circuit lets it.

    Every process of the machine may submit, and every one may work: `recloser work`, or the workers of another
    queue, which `wake` tells of jobs. Execution is at least once; each attempt of a job has the same key for the
    dependency's own idempotency.

    Args:
        path: Of the file; its folder must be ours alone.
        breakers: By name; a registry.
        rate: Jobs begun per second, for each breaker over all workers: a recovering dependency is not drowned.
        max_age: How long a job is tried before it is given up (seconds).
        max_jobs: Jobs that may wait or run at once, and as many given-up ones are kept.
        lease: How long an attempt may take before another worker takes over (seconds).
        keep: How long a done job, and its idempotency key, is remembered (seconds).
        url: Where the application serves the status of jobs: a path from its root.
        wake: Tells who is to run a job when; by default nobody, since `recloser work` looks for itself.
        table: The file, if it is opened already.

    Raises:
        ConfigurationError: Lists what is wrong with the limits.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        breakers: Mapping[str, CircuitBreaker],
        *,
        rate: float = 5.0,
        max_age: Seconds = timedelta(days=1),
        max_jobs: int = 10_000,
        lease: Seconds = 60.0,
        keep: Seconds = timedelta(days=1),
        url: str = "/jobs",
        wake: Wake | None = None,
        table: JobTable | None = None,
    ) -> None:
        self.breakers = breakers
        self.rate = rate
        self.max_age = _seconds(max_age)
        self.max_jobs = max_jobs
        self.lease = _seconds(lease)
        self.keep = _seconds(keep)
        self.url = url.rstrip("/")
        self.wake = wake
        self.tasks: dict[str, Task] = {}
        problems = [
            Problem(f"the queue's {name}", repr(value), "must be a positive number")
            for name in ("rate", "max_age", "max_jobs", "lease", "keep")
            if not isinstance(value := getattr(self, name), int | float) or not 0 < value < float("inf")
        ]
        if not url.startswith("/"):
            fix = "must be a path from the application's root, such as '/jobs'"
            problems.append(Problem("the queue's url", repr(url), fix))
        if problems:
            raise ConfigurationError(problems)
        # A process may change its folder later, as a daemon does: the file stays where it was meant.
        self.table = JobTable(Path(path).absolute()) if table is None else table
        backlogs.tell(self)

    @property
    def name(self) -> str:
        """How pages call it: by its file."""
        return self.table.path.stem

    @property
    def waits_for(self) -> list[str]:
        """Names of the breakers that its jobs wait for."""
        return [task.breaker for task in self.tasks.values()]

    def task(self, breaker: str, *, name: str | None = None) -> Callable[[Function], Task]:
        """Declare what can be put off: decorate the function that does it later.

        It is given the `Job`, then the deferred call's own arguments.

        Args:
            breaker: Whose circuit must let it run.
            name: How jobs refer to it, in this and every later version of the application; by default the
                function's own.

        Raises:
            ConfigurationError: No breaker has this name, or another task has that one.
        """

        def decorator(function: Function) -> Task:
            own = name or function.__name__
            self._expect(breaker, f"{function.__module__}: the task {own!r}: breaker")
            if own in self.tasks:
                raise ConfigurationError([Problem("a task's name", repr(own), "must be its own")])
            self.tasks[own] = task = Task(self, own, breaker, function)
            return task

        return decorator

    def _expect(self, breaker: str, place: str) -> None:
        expect = getattr(self.breakers, "expect", None)
        if (
            expect is not None
        ):  # Django's, which may not be known yet: its checks tell all that is wrong at once
            expect(breaker, place)
        elif breaker not in self.breakers:
            fix = f"must name a breaker{nearest(breaker, dict.fromkeys(self.breakers))}"
            raise ConfigurationError([Problem(place, repr(breaker), fix)])

    # -- submitting ------------------------------------------------------------------------------------------

    def submit(
        self, task: Task, payload: str, key: str | None, fingerprint: str, owner: str = ""
    ) -> Submission:
        """Keep a job; it is durable when this returns.

        Somebody is told to run it. If he cannot be, a sweep will: the job is kept in any case.

        Args:
            task: What is to be done.
            payload: The call, as JSON.
            key: The client's idempotency key.
            fingerprint: Tells submissions of one key apart.
            owner: Whose key it is.

        Raises:
            UnknownBreakerError: No breaker has the name that the task waits for.
            QueueFullError: `max_jobs` wait or run.
            QueueError: The file cannot be used.
        """
        _ = self.breakers[task.breaker]  # or nobody would ever run it
        submission = self.translated(
            lambda: self.table.submit(
                task.name,
                payload,
                key=key,
                fingerprint=fingerprint,
                most=self.max_jobs,
                owner=owner,
            )
        )
        if submission is None:
            raise QueueFullError(f"the queue {self.table.path} is full: {self.max_jobs} jobs wait or run")
        # An earlier submission of this key may have been killed before it could tell.
        if self.wake is not None and not submission.conflicts:
            self._tell(submission.record.id)
        return submission

    def _tell(self, name: str) -> None:
        assert self.wake is not None  # noqa: S101 - asked before
        try:
            self.wake(name, 0.0)
        except Exception:
            logger().exception(
                "queue %s: nobody could be told of job %s, a sweep will", self.table.path, name
            )

    def find(self, name: str) -> JobRecord | None:
        """Look a job up; `None` if there is none of this id.

        Raises:
            QueueError: The file cannot be used.
        """
        return self.translated(lambda: self.table.find(name))

    def depth(self) -> Depth:
        """Count the jobs, for metrics and pages.

        Raises:
            QueueError: The file cannot be used.
        """
        return self.translated(self.table.depth)

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        self.table.close()

    # -- running ---------------------------------------------------------------------------------------------

    def waiting(self) -> list[tuple[str, float]]:
        """Return the breakers that jobs wait for, and in how many seconds the first of each is due; the earliest first.

        A job's breaker is the one that its task is declared with now, whatever it was when the job was put off.
        """
        first: dict[str, float] = {}
        for name, due_in in self.translated(lambda: self.table.waiting(tuple(self.tasks))):
            breaker = self.tasks[name].breaker
            first.setdefault(breaker, due_in)
        return list(first.items())

    def tasks_of(self, breaker: str) -> tuple[str, ...]:
        """Return the tasks that wait for a breaker."""
        return tuple(name for name, task in self.tasks.items() if task.breaker == breaker)

    def expire(self) -> None:
        """Give up jobs that are too old, and forget those that were done long ago."""
        expired = self.translated(lambda: self.table.expire(self.max_age, self.keep, self.max_jobs))
        if expired.given_up:
            logger().error("queue %s: %d jobs were given up: too old", self.table.path, expired.given_up)
        if expired.forgotten:
            text = "queue %s: %d given-up jobs were forgotten: nobody replayed or dropped them, and they are too many"
            logger().error(text, self.table.path, expired.forgotten)

    def run(self, name: str) -> float | None:
        """Try one job, for a worker that was told of it.

        Returns:
            Seconds until somebody should be told again; `None` if the job is over.

        Raises:
            QueueError: The file cannot be used.
        """
        record = self.find(name)
        if record is None:
            text = "queue %s has no job %s: workers must share the file of the application that put it off"
            logger().warning(text, self.table.path, name)
            return None
        if record.is_over:
            return None
        task = self.tasks.get(record.task)
        if task is None:
            logger().error("queue %s: no task is named %r here", self.table.path, record.task)
            return None
        if record.due_in > 0:
            # Somebody has it, or will be told when it is due. If he was killed, a sweep finds it.
            return None if record.due_in > SLACK else record.due_in
        wait = self.translated(lambda: Attempt(self, task.breaker).run(name))
        if wait is not None:
            delay, tasks = wait, self.tasks_of(task.breaker)
            return self.translated(lambda: self.table.postpone(name, tasks, delay, 1.0 / self.rate))
        record = self.find(name)
        return None if record is None or record.is_over else record.due_in

    def work_on(self, name: str) -> None:
        """Try one job, and tell again if it is not over: what a worker does that was told of it.

        Raises:
            QueueError: The file cannot be used.
        """
        wait = self.run(name)
        if wait is not None and self.wake is not None:
            self.wake(name, wait)

    def sweep(self) -> list[str]:
        """Tell again of jobs that should have begun half a minute ago: a broker lost them, or a worker was killed.

        Also gives up jobs that are too old, and forgets those that were done long ago.

        Returns:
            Whose workers were told.

        Raises:
            QueueError: The file cannot be used.
        """
        self.expire()
        names = self.translated(lambda: self.table.overdue(tuple(self.tasks), PATIENCE, SWEPT))
        if self.wake is not None:
            for name in names:
                self.wake(name, 0.0)
        return names

    def translated(self, use: Callable[[], T]) -> T:
        """Use the file.

        Raises:
            QueueError: It cannot be used.
        """
        try:
            return use()
        except (sqlite3.Error, StoreError) as error:
            raise QueueError(f"the queue {self.table.path} cannot be used: {error}") from error


def _seconds(value: Seconds) -> float:
    return value.total_seconds() if isinstance(value, timedelta) else value
