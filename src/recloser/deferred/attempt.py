"""One attempt of a job: under its breaker, within the rate, and what follows from how it ended."""

from __future__ import annotations

import inspect
import json
import sqlite3
import time
from collections.abc import Coroutine
from contextvars import copy_context
from random import random
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from recloser.core import retry_after
from recloser.core.driver import Driver
from recloser.core.errors import CallRejectedError
from recloser.core.log import logger
from recloser.core.outcome import Outcome, describe
from recloser.core.permit import Permit
from recloser.core.policy import Policy
from recloser.core.scope import Scope, current
from recloser.deferred.event_loop import event_loop
from recloser.deferred.job import Job, JobRecord
from recloser.stores.protocol import StoreError

if TYPE_CHECKING:
    from recloser.deferred.queue import Queue

FIRST_WAIT: Final = 1.0
LONGEST_WAIT: Final = 300.0
SHORTEST_WAIT: Final = 0.05
JITTER: Final = 0.25
# Starts in a row of which no end was told, after which a job is not begun again: it may be what kills its worker.
STARTS: Final = 3
LOST: Final = (
    f"begun {STARTS} times, and its worker went without a word: killed, crashed, or slower than the lease"
)
LONGEST_RESULT: Final = 100_000
# Seconds, for as long as a file is locked or a disk is full.
RECEIPT_PAUSES: Final = (0.1, 0.5, 1.0, 2.0, 4.0, 8.0)

# Of the answers that blame the request, those that may be other ones later: RFC 9110 §15.5.9 and §15.5.10, RFC 8470
# §5.2, RFC 6585 §4. A conflict is also what an earlier attempt that is still under way looks like.
_PASSING: Final = frozenset({408, 409, 425, 429})

# They speak of values, not of services: of a request that no client should have sent, or of a bug. (JSON that is nested
# too deeply raises the last one.) What a client raises of a service is an `OSError` as well, where it is one of them.
_OF_VALUES: Final = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)
_ANYTHING: Final = Policy().failure_on


class _Ending(NamedTuple):
    """How an attempt ended.

    Attributes:
        result: What the task's function returned.
        error: What it raised.
        final: No later attempt can end otherwise.
    """

    result: object = None
    error: BaseException | None = None
    final: bool = False


class Attempt:
    """Tries one job of one breaker.

    Args:
        queue: Whose jobs, tasks and limits.
        breaker: The breaker's name.
    """

    __slots__ = ("_breaker", "_driver", "_name", "_queue")

    def __init__(self, queue: Queue, breaker: str) -> None:
        self._queue = queue
        self._name = breaker
        self._breaker = queue.breakers[breaker]
        self._driver: Driver = self._breaker._driver  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]

    def run(self, name: str | None = None) -> float | None:
        """Try the job that has been due longest, if the circuit and the rate let it.

        Args:
            name: Only this job.

        Returns:
            Seconds until another attempt is worth it; `None` after an attempt, or if no job waits.
        """
        # The circuit first: while it is open nothing is written, however long the queue.
        try:
            permit = self._breaker.acquire()
        except CallRejectedError as refusal:
            return self._after(refusal)
        queue = self._queue
        try:
            claimed = queue.table.claim(
                queue.tasks_of(self._name), self._name, name=name, lease=queue.lease, every=1.0 / queue.rate
            )
        except BaseException:
            permit.ignore()
            raise
        if not isinstance(claimed, tuple):
            permit.ignore()
            return claimed
        record, token = claimed
        reason = ""
        if record.age > queue.max_age:  # counted from the submission: the rest of the queue is no excuse
            reason = "older than the queue's max_age"
        elif record.unfinished > STARTS:
            reason = LOST
            logger().error("job %s of %r is given up: %s", record.id, record.task, LOST)
        if reason:
            permit.ignore()
            text = "; ".join(filter(None, [reason, record.error]))
            queue.table.give_up(record.id, token, text, counts=False)
            return None
        self._settle(record, token, self._call(record, permit))
        return None

    def _call(self, record: JobRecord, permit: Permit) -> _Ending:
        """Run the task's function; its breaker's calls inside ride on the permit, and count instead of it."""
        scope = Scope()
        scope.hold(permit)
        context = copy_context()
        context.run(current.set, scope)
        task = self._queue.tasks[record.task]
        job = Job(record)
        args, kwargs = job.arguments
        try:
            result: object = context.run(task.function, job, *args, **kwargs)
            if inspect.iscoroutine(result):
                result = event_loop.run(cast("Coroutine[Any, Any, object]", result), context)
        except BaseException as error:
            used_inside = scope.inner_outcome(permit) is not None
            blamed = is_final(error) or (not used_inside and self._is_of_values(error))
            if used_inside or blamed:
                permit.ignore()
            permit.finish(error)
            counts = self._driver.judge.of_error(error) is Outcome.FAILURE
            return _Ending(error=error, final=blamed or not counts)
        if scope.inner_outcome(permit) is not None:
            permit.ignore()
        permit.returned(result)
        return _Ending(result)

    def _is_of_values(self, error: BaseException) -> bool:
        # Whoever may submit must not be able to open the circuit by what he submits.
        of_values = isinstance(error, _OF_VALUES) and not isinstance(error, OSError)
        return of_values and self._driver.policy.failure_on == _ANYTHING

    def _settle(self, record: JobRecord, token: str, ending: _Ending) -> None:
        table = self._queue.table
        error = ending.error
        if error is None:
            self._complete(record, _written(record, ending.result))
            return
        text = describe(error)
        if isinstance(error, CallRejectedError):
            table.put_back(record.id, token, delay=self._after(error), error=text, counts=False)
        elif not isinstance(error, Exception):
            table.put_back(record.id, token, delay=self._delay(record, error), error=text)
            raise error
        elif ending.final:
            logger().error("job %s of %r failed for good: %s", record.id, record.task, text, exc_info=error)
            table.give_up(record.id, token, text)
        else:
            logger().warning("job %s of %r failed: %s", record.id, record.task, text)
            table.put_back(record.id, token, delay=self._delay(record, error), error=text)

    def _complete(self, record: JobRecord, result: str) -> None:
        """Note that a job is done, insistently: it would be done again for want of a receipt."""
        for pause in RECEIPT_PAUSES:
            try:
                self._queue.table.complete(record.id, result)
            except (sqlite3.Error, StoreError):
                time.sleep(pause)
            else:
                return
        self._queue.table.complete(record.id, result)

    def _after(self, refusal: CallRejectedError) -> float:
        # Not for as long as an operator's mode may last: he may end it sooner.
        return min(max(refusal.retry_after, SHORTEST_WAIT), LONGEST_WAIT)

    def _delay(self, record: JobRecord, error: BaseException) -> float:
        asked = retry_after.of(error, self._driver.wall_clock)
        if asked is not None:
            return min(max(asked, SHORTEST_WAIT), LONGEST_WAIT)
        longest = min(FIRST_WAIT * 2.0 ** min(record.attempts - 1, 16), LONGEST_WAIT)
        return longest * (1 - JITTER * random())  # noqa: S311 - no secret


def is_final(error: BaseException) -> bool:
    """Tell whether an error blames the request itself, so that no later attempt can end otherwise."""
    status: object = getattr(error, "status_code", None)
    if status is None:
        answer = getattr(error, "response", None)
        status = getattr(answer, "status_code", None) or getattr(answer, "status", None)
    return isinstance(status, int) and 400 <= status < 500 and status not in _PASSING


def _written(record: JobRecord, result: object) -> str:
    try:
        text = json.dumps(result, allow_nan=False)  # a client could not read it
    except (TypeError, ValueError, RecursionError) as error:
        # The work is done: it must not be done again for want of a receipt.
        logger().error("job %s of %r: its result cannot be kept (%s)", record.id, record.task, error)
        return "null"
    if len(text) > LONGEST_RESULT:
        logger().error("job %s of %r: its result is too long to be kept", record.id, record.task)
        return "null"
    return text
