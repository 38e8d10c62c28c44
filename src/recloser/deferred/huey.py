"""huey's consumer runs the jobs: `run_by(huey, queue)` where the application and the consumer import it."""

from __future__ import annotations

from typing import Any, Final, Protocol

from recloser.deferred.queue import Queue
from recloser.deferred.sweeping import Sweeper
from recloser.deferred.telling import Teller

TASK: Final = "recloser_run_job"


class Huey(Protocol):
    """What is used of a `huey.Huey`, which has no types."""

    def task(self, *, name: str) -> Any:
        """Make the decorator that declares a task."""
        ...

    def on_startup(self) -> Any:
        """Make the decorator for what each worker does first."""
        ...


def run_by(huey: Huey, queue: Queue, *, name: str = TASK) -> None:
    """Let huey's consumer run a queue's jobs.

    huey only carries the word that a job is due; the job itself is in the queue's file, which application and
    consumer share. huey is told from a thread, so that no request waits for its storage. A word that was lost, as with a consumer that was killed, is given again half a minute later, by a
    thread of the consumer.

    Args:
        huey: Of any storage.
        queue: Whose jobs.
        name: Of huey's task.
    """

    def work(job: str) -> None:
        queue.work_on(job)

    sweeper = Sweeper(queue)
    run_job: Any = huey.task(name=name)(work)
    huey.on_startup()(sweeper.start)

    def send(job: str, delay: float) -> None:
        run_job.schedule(args=(job,), delay=delay)

    queue.wake = Teller(send).tell
