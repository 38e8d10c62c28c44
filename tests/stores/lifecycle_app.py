"""An application of a fleet, for WSGI and ASGI servers: it calls, fails, and says what it believes.

`LIFE_STORE` is where the fleet meets. With `LIFE_BEGINS=early` the first call comes at import, which is before the fork
of a server that preloads.
"""

from __future__ import annotations

import json
import os

from recloser import CallRejectedError, Registry

POLICY = {"failure_threshold": 3, "recovery_timeout": 0.5, "recovery_jitter": 0, "probe_timeout": 2}

registry = Registry(
    {"STORE": os.environ["LIFE_STORE"], "NAMESPACE": "life", "BREAKERS": {"payments": POLICY}}
)
breaker = registry["payments"]
if os.environ.get("LIFE_BEGINS") == "early":
    breaker.call(abs, 1)


def answer(path: str) -> bytes:
    registry.ready(2)
    outcome = ""
    if path in ("/call", "/fail"):
        try:
            breaker.call(lambda: 1 / (path == "/call"))
            outcome = "success"
        except ZeroDivisionError:
            outcome = "failure"
        except CallRejectedError:
            outcome = "refused"
    told = {
        "pid": os.getpid(),
        "outcome": outcome,
        "state": breaker.state,
        "store": registry.store_health.connection,
        "worker": registry.store_health.worker,
    }
    return json.dumps(told).encode()


def wsgi(environ, start_response):
    body = answer(environ["PATH_INFO"])
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


async def asgi(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        registry.close()  # uvicorn's workers end by a signal, at which nothing else is told
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": answer(scope["path"])})
