"""What a job is: a call that was put off, and what became of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, cast

from recloser.http.stored import DeferredRequest


class JobState(StrEnum):
    """Where a job is on its way."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """A job as the queue keeps it.

    Attributes:
        id: Not to be guessed: whoever knows it may ask how the job stands.
        task: The name of what is to be done.
        key: For the dependency's own `Idempotency-Key`: the client's, or else the job's id. The same at every attempt.
        payload: The call's arguments, or the request, as JSON; of a job that is done it is gone.
        state: Where it is.
        attempts: How often it was begun.
        age: Seconds since it was submitted.
        due_in: Seconds until it is tried again while queued, or until another worker may take over while it runs.
        result: What it returned, as JSON, once it is done.
        error: Why the last attempt failed; with the state `failed`, why it was given up.
        owner: Who submitted it, as far as `plans.defer` knows: only he finds it by his key.
        unfinished: How often in a row it was begun and no end was told, the present attempt included.
    """

    id: str
    task: str
    key: str
    payload: str = field(repr=False)  # what customers sent is no business of logs
    state: JobState
    attempts: int
    age: float
    due_in: float = 0.0
    result: str = field(default="null", repr=False)
    error: str = ""
    owner: str = field(default="", repr=False)
    unfinished: int = 0

    @property
    def is_over(self) -> bool:
        """Whether nobody will try it again by himself."""
        return self.state in (JobState.DONE, JobState.FAILED)


@dataclass(frozen=True, slots=True)
class Job:
    """What a task's function is given, and what a call that was deferred returns.

    Attributes:
        record: As it was when this was made.
    """

    record: JobRecord

    @property
    def id(self) -> str:
        """The job's name."""
        return self.record.id

    @property
    def key(self) -> str:
        """The `Idempotency-Key` to send to the dependency: at-least-once becomes exactly-once there."""
        return self.record.key

    @property
    def attempt(self) -> int:
        """Which attempt this is, from 1 on."""
        return self.record.attempts

    @property
    def request(self) -> DeferredRequest:
        """The deferred HTTP request.

        Raises:
            LookupError: The job is a deferred call.
        """
        data = cast("Mapping[str, Any]", json.loads(self.record.payload))
        if "request" not in data:
            raise LookupError(f"job {self.id} of {self.record.task!r} is a deferred call, not a request")
        return DeferredRequest.from_data(data["request"])

    @property
    def arguments(self) -> tuple[list[Any], dict[str, Any]]:
        """The deferred call's positional and keyword arguments; none of a request."""
        data = cast("Mapping[str, Any]", json.loads(self.record.payload))
        return data.get("args", []), data.get("kwargs", {})
