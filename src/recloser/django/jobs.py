"""Where a client of a Django site asks how its deferred job stands."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt

from recloser.deferred.queue import Queue
from recloser.deferred.resource import describe
from recloser.django.messages import to_django


def job_status(queue: Queue, *, expose: bool = False) -> Callable[[HttpRequest, str], HttpResponse]:
    """Make the view that tells how a job stands, for a path such as `jobs/<str:job>`: the queue's `url`, then the id.

    Args:
        queue: Whose jobs.
        expose: Whether a job's error may be told.
    """

    @csrf_exempt
    def view(request: HttpRequest, job: str) -> HttpResponse:
        return to_django(describe(queue, request.method or "GET", job, expose=expose))

    return view
