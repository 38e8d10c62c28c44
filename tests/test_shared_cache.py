"""The declared cache of a fleet, seen by its clients: a real server, and real processes under uvicorn."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import anyio
import httpx
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from cache_server import Valkey
from http_tools import ask
from recloser import ConfigurationError, Registry
from recloser.asgi import CircuitBreakerMiddleware
from recloser.fastapi import guard, install
from recloser.http import plans, remote

SHOP = """
from typing import Annotated
from fastapi import Depends, FastAPI, Header
from recloser import Registry
from recloser.fastapi import guard, install
from recloser.http import plans

app = FastAPI()
registry = Registry.from_toml("recloser.toml")
install(app, registry)

async def current_user(x_token: Annotated[str | None, Header()] = None):
    return x_token

@app.get("/page")
@guard("inventory", plan=[plans.stale(600)])
async def page():
    return "everybody's"

@app.get("/own")
@guard("inventory", plan=[plans.stale(600, per=current_user)])
async def own(user: Annotated[str | None, Depends(current_user)]):
    return f"for {user}"

@app.post("/page")
async def change():
    registry["inventory"].auto(by="test", reason="done")

@app.post("/open")
async def open_():
    registry["inventory"].force_open(by="test", reason="to see")
"""


@pytest.fixture
def server():
    server = Valkey()
    yield server
    server.kill()


def declared(server: Valkey) -> dict[str, object]:
    return {"BREAKERS": {"inventory": {}}, "CACHE": {"url": server.url}}


def shop(server: Valkey) -> tuple[FastAPI, Registry]:
    registry = Registry.from_mapping(declared(server), environ={})
    app = FastAPI()
    install(app, registry)

    @app.get("/page")
    @guard("inventory", plan=[plans.stale(600), plans.json("fixed")])
    async def page() -> str:
        return "good"

    return app, registry


class Worker:
    """One process of the fleet."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [sys.executable, "-m", "uvicorn", "shop:app", "--port", str(port), "--log-level", "warning"]
        self._process = subprocess.Popen(command, cwd=folder, env={**os.environ, "PYTHONPATH": str(folder)})
        self.client = httpx.Client(base_url=f"http://shop.example:{port}", transport=_Local(port))
        end = time.monotonic() + 30
        while True:
            try:
                self.client.get("/openapi.json")
                break
            except httpx.TransportError:
                assert time.monotonic() < end
                time.sleep(0.05)

    def stop(self) -> None:
        self.client.close()
        self._process.terminate()
        self._process.wait(10)


class _Local(httpx.HTTPTransport):
    """Every worker is asked for by the same name, as behind a load balancer."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.url = request.url.copy_with(host="127.0.0.1", port=self._port)
        request.headers["Host"] = "shop.example"
        return super().handle_request(request)


@pytest.fixture
def workers(server, tmp_path):
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "recloser.toml").write_text(f'[breakers.inventory]\n[cache]\nurl = "{server.url}"\n')
    found = [Worker(tmp_path), Worker(tmp_path)]
    yield found
    for worker in found:
        worker.stop()


def test_what_one_process_has_kept_another_serves(workers):
    """Public pages to everybody, a user's own to that user; a change in one outdates both."""
    one, other = (worker.client for worker in workers)
    ann, bob = {"X-Token": "ann"}, {"X-Token": "bob"}
    one.get("/page")
    one.get("/own", headers=ann)
    other.post("/open")
    end = time.monotonic() + 10
    while (told := other.get("/own", headers=ann)).status_code != 200:  # written off the response's path
        assert time.monotonic() < end
    assert told.json() == "for ann"
    assert other.get("/own", headers=bob).status_code == 503
    assert other.get("/own").status_code == 503
    kept = other.get("/page")
    assert kept.json() == "everybody's"
    assert kept.headers["cache-status"].startswith("recloser; hit")
    one.post("/page")
    end = time.monotonic() + 10
    while other.get("/page").status_code == 200:
        assert time.monotonic() < end


def test_a_hung_server_delays_no_answer_for_long(server, monkeypatch):
    """Three requests wait for 50 ms, the others for nothing; while all is well nobody waits."""
    app, registry = shop(server)
    with TestClient(app) as client:
        with server.hung():
            start = time.perf_counter()
            for _ in range(20):
                assert client.get("/page").json() == "good"
            assert time.perf_counter() - start < 1
            registry["inventory"].force_open(by="test", reason="to see")
            took = []
            for _ in range(20):
                start = time.perf_counter()
                assert client.get("/page").json() == "fixed"
                took.append(time.perf_counter() - start)
        assert all(0.045 < moment < 0.5 for moment in took[:3])
        assert sorted(took)[8] < 0.045


def test_the_plain_middleware_uses_it_too(server):
    """An ASGI application without FastAPI."""
    registry = Registry.from_mapping(declared(server), environ={})

    async def app(scope, receive, send):
        raise AssertionError("not asked")

    assert isinstance(CircuitBreakerMiddleware(app, registry).responder.cache, remote.RemoteCache)


def test_a_url_that_the_client_cannot_read_is_an_error_without_its_password():
    """At the start, with its path."""
    registry = Registry.from_mapping({"CACHE": {"url": "redis://ann:s3cret@h/0?db=x"}}, environ={})
    with pytest.raises(ConfigurationError) as caught:
        install(FastAPI(), registry)
    assert 'RECLOSER["CACHE"]["url"]' in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_a_url_without_the_client_names_the_extra(monkeypatch):
    """At the start."""
    monkeypatch.setitem(sys.modules, "redis", None)
    monkeypatch.delitem(sys.modules, "recloser.http.redis", raising=False)
    registry = Registry.from_mapping({"CACHE": {"url": "redis://h"}}, environ={})
    with pytest.raises(ConfigurationError, match=r'needs redis-py: pip install "recloser\[redis\]"'):
        install(FastAPI(), registry)


def test_a_request_that_keeps_nothing_does_not_touch_the_server(server, monkeypatch):
    """Nor does anything connect before something is kept."""
    used = []
    monkeypatch.setattr(remote.RemoteCache, "keep", lambda self, *args, **kwargs: used.append(args))
    app, _ = shop(server)
    anyio.run(ask, app, "/page", "GET", [("Cookie", "session=1")])
    assert used == []
