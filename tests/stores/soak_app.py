"""An application of a fleet under a soak: one guarded call per request, to a downstream that does as a file says.

Each worker writes what its breaker tells to a log of its own: transitions, and the begin and end of every probe.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from recloser import CallRejectedError, Registry
from recloser.core.events import CallRejected, Event, FleetChanged, StateChanged

FOLDER = Path(os.environ["SOAK_FOLDER"])
NAME = "payments"
POLICY = {
    "failure_threshold": 4,
    "recovery_timeout": 0.5,
    "recovery_timeout_max": 2,
    "probe_timeout": 1,
    "half_open_max_calls": 1,
}

registry = Registry({"STORE": os.environ["SOAK_STORE"], "NAMESPACE": "soak", "BREAKERS": {NAME: POLICY}})
breaker = registry[NAME]


class Downstream(Exception):
    """It failed."""


def log(**entry: object) -> None:
    entry |= {"at": time.monotonic(), "pid": os.getpid()}
    with (FOLDER / f"log-{os.getpid()}.jsonl").open("a") as file:
        file.write(json.dumps(entry) + "\n")


def hear(event: Event) -> None:
    if isinstance(event, StateChanged):
        log(kind="state", old=event.old, new=event.new, epoch=list(event.epoch), adopted=event.adopted)
    elif isinstance(event, FleetChanged):
        log(kind="fleet", state=event.state, epoch=list(event.epoch))
    elif not isinstance(event, CallRejected):
        log(kind=type(event).__name__)


registry.add_listener(hear)


async def pay(_request: object) -> JSONResponse:
    started = time.monotonic()
    try:
        async with breaker.calling():
            snapshot = breaker.snapshot()
            is_probe = snapshot.state == "half_open"
            if is_probe:
                log(kind="probe", epoch=list(snapshot.epoch), connected=registry.store_health.connection)
            try:
                await downstream()
            finally:
                if is_probe:
                    log(kind="probed", epoch=list(snapshot.epoch))
    except CallRejectedError as error:
        return JSONResponse({"refused": error.retry_after}, 503, {"Retry-After": "1"})
    except Downstream:
        return JSONResponse({"failed": True}, 502)
    return JSONResponse({"paid": time.monotonic() - started})


async def downstream() -> None:
    mood = (FOLDER / "mood").read_text()
    if mood == "slow":
        await asyncio.sleep(0.2)
    elif mood == "failing":
        await asyncio.sleep(0.005)
        raise Downstream
    else:
        await asyncio.sleep(0.005)


async def state(_request: object) -> JSONResponse:
    health = registry.store_health
    snapshot = breaker.snapshot()
    return JSONResponse(
        {
            "pid": os.getpid(),
            "state": snapshot.state,
            "epoch": [snapshot.epoch.number, f"{snapshot.epoch.tag:x}"],
            "store": health.connection,
            "error": health.error,
        }
    )


@asynccontextmanager
async def lifespan(_app: object):
    yield
    registry.close()


app = Starlette(routes=[Route("/pay", pay), Route("/state", state)], lifespan=lifespan)
