"""Queue for later: a call that its circuit refuses becomes a durable job, run when the circuit lets it."""

from recloser.backlogs import Depth
from recloser.deferred.job import Job, JobRecord, JobState
from recloser.deferred.queue import Queue, QueueError, QueueFullError
from recloser.deferred.task import Task

__all__ = ["Depth", "Job", "JobRecord", "JobState", "Queue", "QueueError", "QueueFullError", "Task"]
