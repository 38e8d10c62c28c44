"""The workers of Django's tasks run the jobs: of `django.tasks`, and of its backport `django_tasks` before Django 6."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

from recloser.config.imports import load
from recloser.core.errors import ConfigurationError, Problem
from recloser.deferred.queue import Queue
from recloser.deferred.sweeping import Sweeper

try:
    from django.db import close_old_connections
    from django.utils import timezone

    _tasks: Any = import_module("django.tasks" if find_spec("django.tasks") else "django_tasks")
except ModuleNotFoundError as missing:
    raise ImportError(
        'recloser.deferred.django_tasks needs Django 6, or the backport: pip install "recloser[django]" django-tasks',
        name=missing.name,
    ) from missing

_task: Callable[[Callable[[str, str], None]], Any] = _tasks.task()

_sweepers: Final[dict[str, Sweeper]] = {}

NO_QUEUE: Final = 'must name a recloser.deferred.Queue as "pkg.module:name"'


def run_by(source: str, *, backend: str = "default") -> None:
    """Let the workers of a tasks backend run a queue's jobs.

    The backend only carries the word that a job is due; the job itself is in the queue's file, which application and
    workers share. A word that was lost, as with a worker that was killed, is given again half a minute later by a
    thread of each process that has put off or tried a job since it began; `recloser work` finds it in any case.

    Args:
        source: The queue's name as `"pkg.module:name"`: a task's arguments must be JSON.
        backend: Its alias in `TASKS`. It must be able to run a task later (`supports_defer`), which those that come
            with Django are not.

    Raises:
        ConfigurationError: The backend cannot run a task later, or the name leads to no queue.
    """
    queue = _queue(source)
    found = _tasks.task_backends[backend]
    if not found.supports_defer:
        fix = "must be a backend that can run a task later (supports_defer), such as that of django-tasks-db"
        raise ConfigurationError([Problem(f"TASKS[{backend!r}]", type(found).__name__, fix)])

    sweeper = _sweepers.setdefault(source, Sweeper(queue, close_old_connections))

    def wake(job: str, delay: float) -> None:
        sweeper.start()
        later: dict[str, Any] = {"run_after": timezone.now() + timedelta(seconds=delay)} if delay else {}
        run_job.using(backend=backend, **later).enqueue(source, job)

    queue.wake = wake


@_task
def run_job(source: str, job: str) -> None:
    """Try one job of the queue that `source` names."""
    queue = _queue(source)
    if source in _sweepers:
        _sweepers[source].start()
    queue.work_on(job)


def _queue(source: str) -> Queue:
    found, fix = load(source)
    if not isinstance(found, Queue):
        raise ConfigurationError([Problem("the queue", repr(source), fix or NO_QUEUE)])
    return found
