"""What the shop puts off while a service is down."""

from __future__ import annotations

import tempfile
from pathlib import Path

from django.http import HttpRequest

from recloser.deferred import Job, Queue
from recloser.django import registry

FOLDER = tempfile.TemporaryDirectory(prefix="shopsite-")
done: list[Job] = []

queue = Queue(Path(FOLDER.name) / "jobs.db", registry, rate=1000.0)


@queue.task("inventory")
def reserve(job: Job) -> dict[str, object]:
    done.append(job)
    return {"reserved": job.request.json()["quantity"]}


def customer(request: HttpRequest) -> str | None:
    return request.headers.get("X-Customer")
