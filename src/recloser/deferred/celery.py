"""Celery's workers run the jobs: `run_by(app, queue)` where the application and its workers import it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from recloser.deferred.queue import Queue
from recloser.deferred.sweeping import Sweeper
from recloser.deferred.telling import Teller

try:
    from celery.signals import worker_ready, worker_shutdown
except ModuleNotFoundError as missing:
    raise ImportError(
        'recloser.deferred.celery needs Celery: pip install "recloser[celery]"', name="celery"
    ) from missing

if TYPE_CHECKING:
    from celery import Celery

TASK: Final = "recloser.run_job"


def run_by(app: Celery, queue: Queue, *, name: str = TASK) -> None:
    """Let the workers of a Celery application run a queue's jobs.

    The broker only carries the word that a job is due; the job itself is in the queue's file, which application and
    workers share. Messages are sent from a thread, so that no request waits for a broker; one that is lost is sent again
    half a minute later, by a thread of each worker.

    Args:
        app: Celery's.
        queue: Whose jobs.
        name: Of Celery's task.
    """

    def work(job: str) -> None:
        queue.work_on(job)

    # Acknowledged when it has run: what a killed worker had taken comes back.
    declare: Any = app.task(name=name, ignore_result=True, acks_late=True, reject_on_worker_lost=True)
    run_job = declare(work)

    def send(job: str, delay: float) -> None:
        run_job.apply_async((job,), countdown=delay or None, retry=False)

    sweeper = Sweeper(queue)

    def begin(**_: object) -> None:
        sweeper.start()

    def end(**_: object) -> None:
        sweeper.stop()

    queue.wake = Teller(send).tell
    worker_ready.connect(begin, weak=False)
    worker_shutdown.connect(end, weak=False)
