"""Where a client asks how its job stands: what a 202's `Location` leads to."""

from __future__ import annotations

import json
import math

from recloser.core.log import logger
from recloser.deferred.job import JobRecord, JobState
from recloser.deferred.queue import Queue, QueueError
from recloser.http.messages import Headers, Response
from recloser.http.threads import in_thread
from recloser.http.wire import Answer, ASGIScope, Receive, Send


def describe(
    queue: Queue, method: str, name: str, *, owner: str | None = None, expose: bool = False
) -> Response:
    """Answer a question for a job.

    Args:
        queue: Whose job.
        method: Of the request.
        name: The job's id. It cannot be guessed, and whoever knows it may ask, unless an owner is named.
        owner: Who asks, as `plans.defer(per=...)` named him: others' jobs are not there.
        expose: Whether a job's error may be told.

    Returns:
        JSON: `id`, `state` (queued, running, done, failed), `attempts`, the `result` of what is done, and where it
        may be told the `error`. 404 for an id that there is not, 503 while the queue cannot be read.
    """
    if method not in ("GET", "HEAD"):
        return _json(405, {"detail": "Method Not Allowed"}, (("allow", "GET, HEAD"),))
    try:
        record = queue.find(name)
    except QueueError:
        logger().exception("the status of a job cannot be told")
        return _json(503, {"detail": "Service Unavailable"}, (("retry-after", "1"),))
    if record is None or (owner is not None and record.owner != owner):
        return _json(404, {"detail": "Not Found"})
    return _told(record, expose=expose)


def _told(record: JobRecord, *, expose: bool) -> Response:
    said: dict[str, object] = {
        "id": record.id,
        "state": str(record.state),
        "attempts": record.attempts,
    }
    if record.state is JobState.DONE:
        said["result"] = json.loads(record.result)
    if expose and record.error:
        said["error"] = record.error
    wait = str(max(1, math.ceil(record.due_in)))  # RFC 9110 §10.2.3
    return _json(200, said, () if record.is_over else (("retry-after", wait),))


def _json(status: int, said: object, more: Headers = ()) -> Response:
    body = json.dumps(said).encode()
    headers = (
        ("content-type", "application/json"),
        ("content-length", str(len(body))),
        ("cache-control", "no-store"),
    )
    return Response(status, (*headers, *more), body)


class JobStatus:
    """The status of a queue's jobs, as an ASGI application: `app.mount(queue.url, JobStatus(queue))`.

    Args:
        queue: Whose jobs.
        expose: Whether a job's error may be told.
    """

    def __init__(self, queue: Queue, *, expose: bool = False) -> None:
        self._queue = queue
        self._expose = expose

    async def __call__(self, scope: ASGIScope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            raise RuntimeError(f"the status of jobs is served over HTTP, not {scope['type']!r}")
        method, name = str(scope["method"]), str(scope["path"]).rpartition("/")[2]
        answer = await in_thread(lambda: describe(self._queue, method, name, expose=self._expose))
        body = b"" if method == "HEAD" else answer.body  # RFC 9110 §9.3.2
        await Answer(Response(answer.status, answer.headers, body))(scope, receive, send)
