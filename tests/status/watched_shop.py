"""A shop for the browser: `uvicorn watched_shop:app --workers 2`; each dependency fails while a file of its name is there."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request

from recloser import CallRejectedError, Registry
from recloser.fastapi import install

BROKEN = Path(os.environ["BROKEN"])  # a folder
registry = Registry(
    {
        "NAMESPACE": "shop",
        "STORE": os.environ["STORE"],
        "SECRET": "nobody knows",
        "BREAKERS": {
            "inventory": {"failure_threshold": 3, "recovery_timeout": 1.5, "recovery_backoff": 1},
            "payments": {},
            "mail": {"failure_rate_threshold": 0.5},
            "shipping": {"failure_rate_threshold": 0.5, "recovery_timeout": 90},
            "search": {"slow_call_duration": 2, "slow_call_rate_threshold": 0.5},
            "reviews": {},
        },
    }
)


def who(request: Request, action: str) -> str | None:
    return request.cookies.get("user")


@asynccontextmanager
async def lifespan(_: FastAPI):
    await asyncio.to_thread(registry.ready, 10)  # each worker is one of the fleet, whoever gets the calls
    yield


app = FastAPI(lifespan=lifespan)
install(app, registry, status="/breakers", authorize=who)


@app.get("/call/{name}")
def call(name: str) -> dict[str, str]:
    try:
        return {"outcome": registry[name].call(work, name)}
    except ConnectionError:
        return {"outcome": "failure"}
    except CallRejectedError:
        return {"outcome": "refused"}


def work(name: str) -> str:
    if (BROKEN / name).exists():
        reason = (BROKEN / name).read_text()
        raise ConnectionError(reason or f"<b>cannot</b> reach https://ann:hunter2@{name}.example/")
    return "success"
