"""The stores that must agree: the rules in a dict, a file, and real servers."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from recloser.stores.protocol import Store
from recloser.stores.redis import RedisStore
from recloser.stores.sqlite import SQLiteStore
from stores.fleet import Clock, Fleet, namespace
from stores.memory import Memory, MemoryStore
from stores.proxy import Proxy
from stores.servers import KINDS, Server

Make = Callable[[Clock], Store]
StartServer = Callable[..., Server]


@pytest.fixture(scope="session", params=KINDS)
def server(request, tmp_path_factory) -> Generator[Server]:
    """A server that tests share, each with a namespace of its own."""
    server = Server(request.param, tmp_path_factory.mktemp(request.param), "--save", "")
    try:
        yield server.start()
    finally:
        server.kill()


@pytest.fixture(scope="session", params=["memory", "sqlite", *KINDS])
def make_stores(request, tmp_path_factory) -> Generator[Callable[[], Make]]:
    """Return what begins a new, empty store, and returns what makes clients of it."""
    if request.param == "memory":

        def in_memory() -> Make:
            memory = Memory()
            return lambda clock: MemoryStore(memory, clock)

        yield in_memory
    elif request.param == "sqlite":

        def in_a_file() -> Make:
            path = tmp_path_factory.mktemp("sqlite") / "fleet.db"
            return lambda clock: SQLiteStore(path, clock=clock, wall_clock=clock)

        yield in_a_file
    else:
        server = Server(request.param, tmp_path_factory.mktemp(request.param), "--save", "")

        def on_a_server() -> Make:
            name = namespace()
            return lambda clock: RedisStore(server.url, name, clock=clock)

        try:
            server.start()
            yield on_a_server
        finally:
            server.kill()


@pytest.fixture
def fleet(make_stores) -> Generator[Fleet]:
    """A fleet without members yet, on each store in turn."""
    fleet = Fleet(make_stores())
    yield fleet
    fleet.end()


@pytest.fixture
def start_server(tmp_path: Path) -> Generator[StartServer]:
    """Start a server that a test may do harm to."""
    servers: list[Server] = []

    def start(*options: str, kind: str = "valkey", **how: Any) -> Server:
        folder = tmp_path / f"server-{len(servers)}"
        folder.mkdir()
        servers.append(Server(kind, folder, *options, **how))
        return servers[-1].start()

    yield start
    for server in servers:
        server.kill()


@pytest.fixture
def open_store() -> Generator[Callable[..., RedisStore]]:
    """Make a client of a Redis store, by the server's own clock; it is connected unless a test wants it not to be."""
    stores: list[RedisStore] = []

    def open_at(url: str, name: str = "shop", *, connects: bool = True) -> RedisStore:
        stores.append(RedisStore(url, name))
        if connects:
            stores[-1].connect()
        return stores[-1]

    yield open_at
    for store in stores:
        store.close()


@pytest.fixture
def proxy() -> Generator[Callable[..., Proxy]]:
    """Put a proxy before a port, which can do to a connection what networks do."""
    proxies: list[Proxy] = []

    def before(port: int, **options: Any) -> Proxy:
        proxies.append(Proxy(port, **options))
        return proxies[-1]

    yield before
    for each in proxies:
        each.close()
