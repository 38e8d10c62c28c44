"""A worker among others: does what its stdin says, line by line, and answers each line on stdout."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import warnings
from collections.abc import Callable, MutableMapping
from typing import Any

from prometheus_client import Counter

from recloser import Registry
from recloser.deferred import Job, Queue
from recloser.deferred import prometheus as deferred
from recloser.metrics.prometheus import MetricsApp, exposition, instrument

STORE = {"STORE": os.environ["STORE"]} if "STORE" in os.environ else {}
registry = Registry(
    {
        **STORE,
        "DEFAULTS": {"failure_threshold": 1, "recovery_timeout": 600, "duration_buckets": [1]},
        "BREAKERS": {"stock": {}, "payments": {}},
    }
)


def scrape() -> str:
    return exposition(registry)[0].decode()


def fork(*lines: str) -> int:
    """Do these things in a child, which ends as servers' workers do, and wait for it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # also of a fork while threads are running
        child = os.fork()
    if child == 0:
        for line in lines:
            obey(line)
        sys.exit()
    os.waitpid(child, 0)
    return child


def call(breaker: str, times: str = "1") -> None:
    for _ in range(int(times)):
        registry[breaker].acquire().success()


def origins(prefix: str, times: str) -> None:
    for number in range(int(times)):
        registry.for_origin(f"{prefix}{number}:80").acquire().success()


def fail(breaker: str) -> None:
    registry[breaker].acquire().failure()


def export_queue(path: str) -> None:
    queue = Queue(path, registry)

    @queue.task("payments")
    def charge(_: Job) -> None: ...

    deferred.instrument(queue)
    charge.later()


def count_own(times: str) -> None:
    Counter("own", "A metric of the application's own").inc(int(times))


def only(name: str) -> str:
    """Scrape as one does who asks for some metrics by name."""
    sent: list[dict[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request"}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(dict(message))

    scope = {"type": "http", "method": "GET", "query_string": f"name[]={name}".encode(), "headers": []}
    asyncio.run(MetricsApp(registry)(scope, receive, send))
    return b"".join(message.get("body", b"") for message in sent).decode()


WORDS: dict[str, Callable[..., object]] = {
    "instrument": lambda: instrument(registry) and None,
    "end": lambda: instrument(registry)(),
    "call": call,
    "fail": fail,
    "origins": origins,
    "reset": lambda breaker: registry[breaker].reset(by="ann", reason="test"),
    "shadow": lambda breaker: registry[breaker].shadow(by="ann", reason="test"),
    "scrape": scrape,
    "own": count_own,
    "only": only,
    "queue": export_queue,
    "fork": lambda *lines: fork(*(line.replace(",", " ") for line in lines)),
}


def obey(line: str) -> object:
    word, *rest = line.split()
    return WORDS[word](*rest)


def both(first: str, second: str) -> None:
    obey(first)
    obey(second)


if __name__ == "__main__":
    for line in sys.stdin:
        sys.stdout.write(json.dumps(obey(line)) + "\n")
        sys.stdout.flush()
