"""A task: what is done later, and the two ways to put it off, a call and an HTTP request."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Concatenate, TypeAlias

from recloser.core.errors import CallRejectedError, RecloserError
from recloser.core.fallback import CallFallback
from recloser.core.log import logger
from recloser.deferred.job import Job
from recloser.http.stored import Deferred, DeferredRequest
from recloser.http.threads import in_thread

if TYPE_CHECKING:
    from recloser.deferred.queue import Queue

Function: TypeAlias = Callable[Concatenate[Job, ...], Any]


class Task(CallFallback[Job]):
    """What a queue can do later; made by `queue.task`.

    As a fallback, `@payments.protect(fallback=task)`, it puts a refused call off, and the caller gets the `Job`. In
    a plan, `plans.defer(task)`, it puts a request off.

    Attributes:
        name: How jobs refer to it.
        breaker: Whose circuit must let it run.
        function: What does it, given the `Job` and the call's arguments.
    """

    def __init__(self, queue: Queue, name: str, breaker: str, function: Function) -> None:
        self.queue = queue
        self.name = name
        self.breaker = breaker
        self.function = function

    def __repr__(self) -> str:
        return f"<Task {self.name!r} of {self.queue.table.path}>"

    def later(self, *args: object, **kwargs: object) -> Job:
        """Put a call off; it is durable when this returns.

        Raises:
            TypeError: JSON cannot write the arguments.
            QueueError: The queue cannot keep it.
        """
        payload = json.dumps({"args": args, "kwargs": kwargs})
        return Job(self.queue.submit(self, payload, None, "").record)

    def answer(self, error: CallRejectedError, args: tuple[object, ...], kwargs: dict[str, object]) -> Job:
        """Put a refused call off; if it cannot be, it was refused after all."""
        try:
            return self.later(*args, **kwargs)
        except (RecloserError, TypeError, ValueError, RecursionError):
            logger().exception("breaker %r: a call could not be put off", self.breaker)
            raise error from None

    async def answer_async(
        self, error: CallRejectedError, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> Job:
        """Put a refused call of a coroutine function off; the disk is waited for in a thread."""
        return await in_thread(partial(self.answer, error, args, kwargs))

    def keep(self, request: DeferredRequest, key: str | None, owner: str) -> Deferred | None:
        """Keep a request for later; see `Deferrable`."""
        fields = request.as_data()
        payload = json.dumps({"request": fields})
        submission = self.queue.submit(self, payload, key, _fingerprint(fields), owner)
        record = submission.record
        return Deferred(record.id, str(record.state), f"{self.queue.url}/{record.id}", submission.conflicts)


def _fingerprint(fields: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
