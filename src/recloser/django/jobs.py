"""Where a client of a Django site asks how its deferred job stands."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt

from recloser.deferred.queue import Queue
from recloser.deferred.resource import describe
from recloser.django.messages import to_django
from recloser.django.partitions import asked
from recloser.http.keeping import Per


def job_status(
    queue: Queue, *, per: Per | None = None, expose: bool = False
) -> Callable[[HttpRequest, str], HttpResponse]:
    """Make the view that tells how a job stands, for a path such as `jobs/<str:job>`: the queue's `url`, then the id.

    Args:
        queue: Whose jobs.
        per: Shows a job to him alone who submitted it: the function that the route's `plans.defer` names. By default
            to whoever knows its id.
        expose: Whether a job's error may be told.
    """

    @csrf_exempt
    def view(request: HttpRequest, job: str) -> HttpResponse:
        owner = None if per is None else asked(per, request)
        return to_django(describe(queue, request.method or "GET", job, owner=owner, expose=expose))

    return view
