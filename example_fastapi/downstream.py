"""Three services that fall ill on command: what the shop depends on, in the demo and in the tests.

    python downstream.py                                # control 9100; services 9101, 9102, 9103
    curl -X PUT http://127.0.0.1:9100/inventory/hang    # or healthy, errors, slow, reset, truncated
    curl -X PUT http://127.0.0.1:9100/all/healthy
    curl http://127.0.0.1:9100/                         # where each service is, how it is, what reached it
    curl http://127.0.0.1:9100/journal                  # what payments has charged, by Idempotency-Key

It speaks HTTP/1.1 over bare asyncio streams, because a web server is built never to do what a sick
service does: reset a connection, or stop in the middle of a body.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import struct
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from enum import StrEnum
from functools import partial
from http import HTTPStatus
from itertools import count
from typing import NamedTuple, TypeAlias

HOST = "127.0.0.1"
CONTROL_PORT = 9100
SLOW_SECONDS = 0.2
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER on, zero seconds: closing sends RST instead of FIN

Json: TypeAlias = dict[str, object]


class Condition(StrEnum):
    """How a service is."""

    HEALTHY = "healthy"
    ERRORS = "errors"  # answers 500
    SLOW = "slow"  # answers, after SLOW_SECONDS
    HANG = "hang"  # accepts the request and never answers
    RESET = "reset"  # resets the connection
    TRUNCATED = "truncated"  # stops in the middle of the body


class Request(NamedTuple):
    method: str
    path: str
    body: bytes
    headers: dict[str, str]


class Service:
    """One downstream service: its answers, its condition, and what reached it in which condition."""

    def __init__(self, answer: Callable[[Request], Json]) -> None:
        self.answer = answer
        self.condition = Condition.HEALTHY
        self.received: Counter[Condition] = Counter()
        self.url = ""
        self.at_once = 0  # the most requests that were under way together since the condition was set
        self._under_way = 0

    def report(self) -> Json:
        return {
            "url": self.url,
            "condition": self.condition,
            "received": self.received,
            "at_once": self.at_once,
        }

    def become(self, condition: Condition) -> None:
        self.condition = condition
        self.at_once = self._under_way

    async def respond(
        self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.received[self.condition] += 1
        self._under_way += 1
        self.at_once = max(self.at_once, self._under_way)
        try:
            await self._respond(self.condition, request, reader, writer)
        finally:
            self._under_way -= 1

    async def _respond(
        self,
        condition: Condition,
        request: Request,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        match condition:
            case Condition.HEALTHY:
                await send(writer, HTTPStatus.OK, self.answer(request))
            case Condition.SLOW:
                await asyncio.sleep(SLOW_SECONDS)
                await send(writer, HTTPStatus.OK, self.answer(request))
            case Condition.ERRORS:
                await send(writer, HTTPStatus.INTERNAL_SERVER_ERROR, {"detail": "out of order"})
            case Condition.HANG:
                await reader.read()  # returns when the client has given up
                writer.close()
            case Condition.RESET:
                writer.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE
                )
                writer.transport.abort()
            case Condition.TRUNCATED:
                await send(writer, HTTPStatus.OK, self.answer(request), share=0.5)
                writer.close()


def inventory(request: Request) -> Json:
    product = int(request.path.rsplit("/", 1)[-1])
    return {"id": product, "name": f"Teapot no. {product}", "quantity": product * 7 % 23 + 1}


def recommendations(_: Request) -> Json:
    return {"products": [3, 14, 15]}


receipts = count(1)
journal: dict[str, list[Json]] = {}  # charges by Idempotency-Key: one each, if the key is honoured


def payments(request: Request) -> Json:
    key = request.headers.get("idempotency-key", "")
    if key and key in journal:
        return {"receipt": journal[key][0]["receipt"]}
    receipt = f"R-{next(receipts):05}"
    journal.setdefault(key, []).append({"receipt": receipt, "at": time.monotonic()})
    return {"receipt": receipt}


SERVICES = {
    "inventory": Service(inventory),
    "recommendations": Service(recommendations),
    "payments": Service(payments),
}


async def control(request: Request, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """`GET /` reports, `GET /journal` tells what was charged; `PUT /{service or all}/{condition}` changes a condition, then reports."""
    if request.path == "/journal":
        await send(writer, HTTPStatus.OK, {**journal})
        return
    if request.method == "PUT":
        name, _, condition = request.path.strip("/").partition("/")
        chosen = SERVICES if name == "all" else {name: SERVICES.get(name)}
        if None in chosen.values() or condition not in list(Condition):
            await send(
                writer, HTTPStatus.NOT_FOUND, {"services": [*SERVICES, "all"], "conditions": [*Condition]}
            )
            return
        for service in filter(None, chosen.values()):
            service.become(Condition(condition))
    await send(writer, HTTPStatus.OK, {name: service.report() for name, service in SERVICES.items()})


Responder: TypeAlias = Callable[[Request, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def converse(respond: Responder, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one connection's requests until either side ends it."""
    try:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while not writer.is_closing():
                await respond(await receive(reader), reader, writer)
    finally:
        writer.close()


async def receive(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    start, *fields = head.strip().split("\r\n")
    method, path, _ = start.split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Request(method, path, body, headers)


async def send(
    writer: asyncio.StreamWriter, status: HTTPStatus, content: Json, *, share: float = 1.0
) -> None:
    """Write a JSON response, or only the first `share` of its body (ratio 0..1)."""
    body = json.dumps(content).encode()
    head = f"HTTP/1.1 {status} {status.phrase}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body[: int(len(body) * share)])
    await writer.drain()


async def serve(port: int, *, until_stdin_ends: bool) -> None:
    """Serve control and services on consecutive ports, or each on a free one if `port` is 0."""

    async def listen(respond: Responder, offset: int) -> str:
        server = await asyncio.start_server(partial(converse, respond), HOST, port and port + offset)
        return "http://{}:{}".format(*server.sockets[0].getsockname())

    control_url = await listen(control, 0)
    for offset, service in enumerate(SERVICES.values(), start=1):
        service.url = await listen(service.respond, offset)
    urls = {"control": control_url} | {name: service.url for name, service in SERVICES.items()}
    print(json.dumps(urls), flush=True)
    if until_stdin_ends:
        await asyncio.to_thread(sys.stdin.read)
    else:
        await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description="Three services that fall ill on command.")
    parser.add_argument(
        "--port", type=int, default=CONTROL_PORT, help="the control port; 0 chooses free ports"
    )
    parser.add_argument(
        "--until-stdin-ends", action="store_true", help="end with the process that started this"
    )
    options = parser.parse_args()
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(options.port, until_stdin_ends=options.until_stdin_ends))


if __name__ == "__main__":
    main()
