"""The same under a real server: sockets, chunks, clients that hang up, a start that fails."""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator

import anyio
import httpx
import pytest
import uvicorn
from fastapi import BackgroundTasks, FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.middleware.gzip import GZipMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.responses import Response, StreamingResponse

from http_tools import Clock, cache, shop
from recloser.fastapi import guard, install
from recloser.http import plans

PATIENCE = 10.0  # seconds; no wait is longer


class Served:
    """A shop behind uvicorn on a free port of this machine, and a client of it."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.registry = shop(self.clock, inventory={"failure_threshold": 100})
        self.app = FastAPI()
        install(self.app, self.registry, cache=cache(self.clock))
        self.app.add_middleware(GZipMiddleware, minimum_size=500)
        self.app.add_middleware(SessionMiddleware, secret_key="secret")
        self.app.add_middleware(CORSMiddleware, allow_origins=["https://a.example"])
        add_routes(self.app)
        config = uvicorn.Config(self.app, host="127.0.0.1", port=0, log_level="critical", lifespan="on")
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, daemon=True)

    def __enter__(self):
        self.thread.start()
        wait_until(lambda: self.server.started)
        self.port = self.server.servers[0].sockets[0].getsockname()[1]
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=PATIENCE)
        return self

    def __exit__(self, *exc):
        self.client.close()
        self.server.should_exit = True
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()

    def counts(self):
        seen = self.registry["inventory"].snapshot()
        return {"calls": seen.calls, "failures": seen.failures, "ignored": seen.ignored}

    def open(self):
        self.registry["inventory"].force_open(by="ann", reason="test")


def wait_until(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.005)


async def page(response: Response):
    response.headers["etag"] = '"v1"'
    return {"text": "good" * 500}


def sync(tasks: BackgroundTasks):
    tasks.add_task(time.sleep, 0)
    return "good"


async def long():
    def body() -> Iterator[bytes]:
        for _ in range(100):
            yield b"x" * 100_000

    return StreamingResponse(body())


async def broken():
    async def body() -> AsyncIterator[bytes]:
        yield b"half"
        raise ConnectionError

    return StreamingResponse(body())


async def endless():
    async def body() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 1000
            await anyio.sleep(0.001)

    return StreamingResponse(body())


async def ends_badly():
    async def body() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"bad" * 10_000

    return StreamingResponse(body(), 502)


async def raises():
    raise ConnectionError


def add_routes(app):
    hiding = guard("inventory", plan=[plans.json("fixed" * 200)], on=("open", "failure"))
    app.get("/ends-badly")(hiding(ends_badly))
    app.get("/raises")(hiding(raises))
    app.api_route("/page", methods=["GET", "HEAD"])(guard("inventory", plan=[plans.stale(600)])(page))
    app.get("/sync")(guard("inventory", plan=[plans.json("fixed")])(sync))
    app.get("/long")(guard("inventory", plan=[plans.stale(600)])(long))
    app.get("/broken")(guard("inventory")(broken))
    app.get("/endless")(guard("inventory")(endless))


@pytest.fixture
def served():
    with Served() as served:
        yield served


def test_a_stale_answer_passes_the_whole_stack(served):
    """Compressed and with CORS for its own receiver, with Age and Cache-Status and one Date."""
    first = served.client.get("/page", headers={"origin": "https://a.example"})
    assert "cache-status" not in first.headers
    served.open()
    served.clock.advance(112)
    again = served.client.get("/page", headers={"origin": "https://a.example"})
    assert again.status_code == 200
    assert again.json() == first.json()
    assert again.headers["age"] == "112"
    assert again.headers["cache-status"] == "recloser; hit; ttl=-112; detail=circuit-open"
    assert again.headers["content-encoding"] == "gzip"
    assert again.headers["access-control-allow-origin"] == "https://a.example"
    assert len(again.headers.get_list("date")) == 1
    assert len(again.headers.get_list("content-length")) <= 1


def test_head_and_conditional_requests_are_answered_from_the_kept_get(served):
    """RFC 9110 §9.3.2 and RFC 9111 §4.3.2."""
    served.client.get("/page")
    served.open()
    head = served.client.head("/page")
    assert head.status_code == 200
    assert head.content == b""
    unchanged = served.client.get("/page", headers={"if-none-match": 'W/"v1"'})
    assert unchanged.status_code == 304
    assert unchanged.headers["etag"] == '"v1"'
    assert served.client.get("/page", headers={"range": "bytes=0-3"}).status_code == 503


def test_a_clean_503_leaves_the_connection_usable(served):
    """Twice over the same socket."""
    served.open()
    for _ in range(2):
        answer = served.client.get("/page")
        assert answer.status_code == 503
        assert answer.headers["content-type"] == "application/problem+json"
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.headers["cache-control"] == "no-store"
        assert answer.json()["status"] == 503
    page = served.client.get("/page", headers={"accept": "text/html,*/*;q=0.8"})
    assert page.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize("path", ["/ends-badly", "/raises"])
def test_a_failure_that_a_plan_answers_passes_the_whole_stack(served, path):
    """Compressed and with CORS, twice over the same socket: nothing of the failed answer gets on the wire."""
    for number in (1, 2):
        answer = served.client.get(path, headers={"origin": "https://a.example"})
        assert (answer.status_code, answer.json()) == (200, "fixed" * 200)
        assert answer.headers["content-encoding"] == "gzip"
        assert answer.headers["access-control-allow-origin"] == "https://a.example"
        assert served.counts() == {"calls": number, "failures": number, "ignored": 0}


def test_a_sync_endpoint_settles_from_its_thread(served):
    """And its background task is no part of it."""
    assert served.client.get("/sync").json() == "good"
    assert served.counts() == {"calls": 1, "failures": 0, "ignored": 0}
    served.open()
    assert served.client.get("/sync").json() == "fixed"


def test_ten_megabytes_pass_and_are_not_kept(served):
    """Chunked, as they come."""
    with served.client.stream("GET", "/long", headers={"accept-encoding": "identity"}) as answer:
        assert sum(map(len, answer.iter_raw())) == 10_000_000
    wait_until(lambda: served.counts()["calls"] == 1)
    served.open()
    assert served.client.get("/long").status_code == 503


def test_an_answer_that_breaks_is_cut_off_and_counted(served):
    """Never patched up with an error page."""
    with served.client.stream("GET", "/broken") as answer:
        assert answer.status_code == 200
        with pytest.raises(httpx.RemoteProtocolError):
            answer.read()
    wait_until(lambda: served.counts() == {"calls": 1, "failures": 1, "ignored": 0})


def test_a_client_that_hangs_up_is_no_failure(served):
    """In the middle of a body."""
    with served.client.stream("GET", "/endless") as answer:
        next(answer.iter_raw())
    wait_until(lambda: served.counts() == {"calls": 0, "failures": 0, "ignored": 1})


def test_a_client_that_hangs_up_while_probing_gives_the_place_back(served):
    """The next one may probe at once."""
    for _ in range(100):
        served.registry["inventory"].acquire().failure()
    served.clock.advance(10)
    with served.client.stream("GET", "/endless") as answer:
        chunks = answer.iter_raw()
        next(chunks)
        assert served.registry["inventory"].snapshot().probes_in_flight == 1
        assert served.client.get("/sync").json() == "fixed"
    wait_until(lambda: served.registry["inventory"].snapshot().probes_in_flight == 0)
    assert served.client.get("/sync").json() == "good"
    wait_until(lambda: served.registry["inventory"].state == "closed")


def test_pipelined_requests_each_have_their_own_answer(served):
    """One connection, several requests, one scope each."""
    requests = b"".join(
        b"GET %s HTTP/1.1\r\nHost: shop.example\r\nConnection: %s\r\n\r\n" % (path, connection)
        for path, connection in [(b"/sync", b"keep-alive"), (b"/page", b"keep-alive"), (b"/sync", b"close")]
    )
    with socket.create_connection(("127.0.0.1", served.port), PATIENCE) as client:
        client.sendall(requests)
        received = b"".join(iter(lambda: client.recv(65536), b""))
    assert received.count(b"HTTP/1.1 200") == 3
    wait_until(lambda: served.counts()["calls"] == 3)


def test_a_wrong_name_stops_the_server(tmp_path):
    """With every problem on its standard error."""
    (tmp_path / "wrong.py").write_text(
        "from fastapi import FastAPI\n"
        "from recloser.fastapi import guard, install\n"
        "from recloser.registry import Registry\n"
        "app = FastAPI()\n"
        "install(app, Registry({'BREAKERS': {'inventory': {}}}))\n"
        "@app.post('/order')\n"
        "@guard('inventroy', plan=[{'stale': 5}])\n"
        "async def order(): ...\n"
    )
    ran = subprocess.run(
        [sys.executable, "-m", "uvicorn", "wrong:app", "--host", "127.0.0.1", "--port", "0"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ran.returncode != 0
    assert "2 problems:" in ran.stderr
    assert "POST /order: guard('inventroy') must name a declared breaker (inventory)" in ran.stderr
    assert "POST /order: guard('inventroy').plan[0] can never answer" in ran.stderr
