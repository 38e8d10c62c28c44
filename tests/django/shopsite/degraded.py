"""What the shop answers while its inventory is out of reach."""

from __future__ import annotations

import asyncio
import threading

from django.http import HttpRequest

from recloser.core.errors import CallRejectedError
from recloser.http.messages import Request, Response

ran_in: list[int] = []


def compute(request: Request, error: CallRejectedError) -> dict[str, object]:
    ran_in.append(threading.get_ident())
    assert isinstance(request.native, HttpRequest)
    return {"route": request.native.resolver_match.route, "without": error.breaker}


async def compute_later(request: Request, error: CallRejectedError) -> Response:
    await asyncio.sleep(0)
    return Response(503, (("content-type", "text/plain"),), error.breaker.encode())
