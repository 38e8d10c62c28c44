"""The shop under the servers that Django projects run on: real processes, real sockets."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

HERE = Path(__file__).parent
STOP_SECONDS = 15.0
TURN_SECONDS = 60.0

GUNICORN = ["gunicorn", "shopsite.wsgi:application", "--bind", "fd://{fd}", "--threads", "2"]
UVICORN = [
    "uvicorn",
    "shopsite.asgi:application",
    "--fd",
    "{fd}",
    "--lifespan",
    "off",
    "--log-level",
    "error",
]


@contextmanager
def serving(*command: str) -> Iterator[str]:
    """Run a server on a free port; the socket listens before it starts, so that nothing needs waiting for."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        words = [word.format(fd=listener.fileno()) for word in command]
        environment = {
            **os.environ,
            "PYTHONPATH": str(HERE),
            "DJANGO_SETTINGS_MODULE": "shopsite.settings",
        }
        server = subprocess.Popen(
            [sys.executable, "-m", *words],
            env=environment,
            pass_fds=[listener.fileno()],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.send_signal(signal.SIGTERM)
            try:
                server.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
                raise


def client_of(url: str) -> httpx2.Client:
    # A connection per request, so that all workers get some.
    limits = httpx2.Limits(max_keepalive_connections=0)
    return httpx2.Client(base_url=url, timeout=30, trust_env=False, limits=limits)


def ask_until(enough: Callable[[], bool], ask: Callable[[], object]) -> None:
    """Ask again and again: a worker may wait long for its turn."""
    deadline = time.monotonic() + TURN_SECONDS
    while not enough():
        assert time.monotonic() < deadline
        ask()


@pytest.fixture(scope="module", params=[GUNICORN, UVICORN], ids=["gunicorn", "uvicorn"])
def server(request: pytest.FixtureRequest) -> Iterator[tuple[list[str], str]]:
    """A server's command, and its URL: one worker for all tests."""
    with serving(*request.param) as url:
        yield request.param, url


@pytest.fixture
def client(server: tuple[list[str], str]) -> Iterator[httpx2.Client]:
    """A client of that worker, whose circuits are closed and whose services work."""
    with client_of(server[1]) as client:
        assert client.get("/control/fresh/").status_code == 200
        yield client


@pytest.mark.parametrize("path", ["/product/", "/product-async/", "/class-async/"])
def test_outage_is_survived(client: httpx2.Client, path: str):
    """A page keeps coming while its service is down, marked as what it is."""
    fresh = client.get(path)
    assert (fresh.status_code, fresh.json()) == (200, {"quantity": 7})
    assert "recloser" not in fresh.headers

    client.get("/control/down/")
    assert client.get(path).status_code == 500  # the failure that trips

    degraded = client.get(path)
    assert (degraded.status_code, degraded.json()) == (200, {"quantity": 7})
    assert degraded.headers["cache-status"].startswith("recloser; hit; ttl=")
    assert int(degraded.headers["age"]) >= 0

    head = client.head(path)
    assert (head.status_code, head.content) == (200, b"")

    other = client.get("/pay/")
    assert other.status_code == 500  # another circuit, still closed


@pytest.mark.parametrize("path", ["product/", "product-async/", "class-async/"])
def test_failure_that_trips_is_hidden(client: httpx2.Client, path: str):
    """With a plan that answers failures the outage does not show, not even at its first request."""
    client.get("/control/down/")

    answers = [client.get(f"/failing/{path}") for _ in range(2)]

    assert [(answer.status_code, answer.json()) for answer in answers] == [(200, {"quantity": None})] * 2
    assert client.get("/failing/streams/").json() == {"quantity": None}


def test_stream_is_watched_to_its_end(server: tuple[list[str], str], client: httpx2.Client):
    """A streamed body that breaks half-way counts as a failure."""
    path = "/streams/" if server[0] is GUNICORN else "/streams-async/"
    assert client.get(path).text == "one two"
    client.get("/control/down/")
    with pytest.raises(httpx2.HTTPError):
        client.get(path)

    assert client.get(path).text == "one two"  # the last good one


def test_preloaded_workers_decide_alone():
    """Workers forked after the application was loaded each have breakers of their own."""
    with serving(*GUNICORN, "--preload", "--workers", "2") as url, client_of(url) as client:
        workers = set[int]()
        ask_until(
            lambda: len(workers) == 2, lambda: workers.add(client.get("/control/down/").json()["worker"])
        )
        statuses = list[int]()

        ask_until(
            lambda: statuses.count(500) == 2, lambda: statuses.append(client.get("/raises/").status_code)
        )

        statuses += [client.get("/raises/").status_code for _ in range(20)]
        assert statuses.count(500) == 2  # one failure trips each worker
        assert set(statuses) == {500, 503}
