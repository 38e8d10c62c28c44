"""Where a client of a FastAPI application asks how its deferred job stands, if that is not for everybody."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from recloser.deferred.queue import Queue
from recloser.deferred.resource import describe
from recloser.http.keeping import Per, partition


def job_status(queue: Queue, *, per: Per, expose: bool = False) -> APIRouter:
    """Make a router that shows a job to him alone who submitted it: `app.include_router(job_status(...))`.

    It serves the queue's `url`. Where whoever knows a job's id may ask, mount `recloser.deferred.resource.JobStatus`.

    Args:
        queue: Whose jobs.
        per: The dependency that the route's `plans.defer` names.
        expose: Whether a job's error may be told.
    """
    router = APIRouter()

    def status(request: Request, job: str, user: Annotated[Any, Depends(per)]) -> Response:
        told = describe(queue, request.method, job, owner=partition(per, user), expose=expose)
        return Response(told.body, told.status, dict(told.headers))

    router.add_api_route(f"{queue.url}/{{job}}", status, summary="Status of a deferred job", tags=["jobs"])
    return router
