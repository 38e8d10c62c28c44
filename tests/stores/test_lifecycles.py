"""Servers that fork, recycle and reload their workers, loops that come and go, and processes that end."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import trio

from recloser import CallRejectedError, Registry
from recloser.stores.opening import open_store
from stores.crew import Hand, crew, until
from stores.servers import free_port

APP = Path(__file__).with_name("lifecycle_app.py")


@pytest.fixture(params=["sqlite", "valkey"])
def store(request, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite://{tmp_path}/fleet/store.db"
    return request.getfixturevalue("start_server")().url


class Site:
    """A web server and its workers."""

    def __init__(self, command: list[str], store: str, folder: Path, **environment: str) -> None:
        self.store = store
        self.port = free_port()
        self._log = (folder / "server.log").open("w+")
        # Each request meets another worker; a client of its own would cost it thirty times as much.
        self._client = httpx.Client(timeout=3, headers={"Connection": "close"})
        command = [argument.format(port=self.port) for argument in command]
        environment = {**os.environ, "LIFE_STORE": store, "WEB_CONCURRENCY": "1", **environment}
        self.process = subprocess.Popen(
            [sys.executable, "-m", *command], env=environment, stdout=self._log, stderr=self._log, cwd=folder
        )

    def ask(self, path: str = "/state") -> dict[str, str]:
        try:
            told: dict[str, str] = self._client.get(f"http://127.0.0.1:{self.port}{path}").json()
        except httpx.TransportError:  # not yet, or a worker that is being recycled
            return {}
        return told

    def workers(self, tries: int = 16) -> dict[str, dict[str, str]]:
        """What each worker that was met believes, by process; many ask at once, so that none is left out."""
        with ThreadPoolExecutor(8) as crowd:
            answers = list(crowd.map(lambda _: self.ask(), range(tries)))
        return {told["pid"]: told for told in answers if told}

    def states(self) -> list[str]:
        return [told["state"] for told in self.workers().values()]

    def is_tripped(self) -> bool:
        """Whether all know; on a slow machine one of them may hold a probe by now."""
        return set(self.states()) in ({"open"}, {"half_open"})

    def begin(self, workers: int) -> None:
        """Wait until so many workers have made a call and are members of the fleet."""

        def begun() -> bool:
            self.ask("/call")
            found = self.workers()
            return len(found) >= workers and {told["store"] for told in found.values()} == {"up"}

        until(begun, 20, self.log())

    def trip(self) -> None:
        until(lambda: self.ask("/fail").get("outcome") == "refused")

    def log(self) -> str:
        return Path(self._log.name).read_text()

    def members(self) -> set[int]:
        """The processes that the store lists."""
        observer = open_store(self.store, "life")
        try:
            observer.connect()
            return {heard.worker.pid for heard in observer.view().workers}
        finally:
            observer.close()

    def end(self) -> None:
        self._client.close()
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            self._log.close()


@contextmanager
def site(command: list[str], store: str, folder: Path, **environment: str) -> Generator[Site]:
    shutil.copy(APP, folder / "lifecycle_app.py")
    site = Site(command, store, folder, **environment)
    try:
        yield site
    finally:
        site.end()


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


GUNICORN = [
    "gunicorn",
    "lifecycle_app:wsgi",
    "--bind",
    "127.0.0.1:{port}",
    "--workers",
    "2",
    "--no-control-socket",
]
UVICORN = ["uvicorn", "lifecycle_app:asgi", "--port", "{port}", "--log-level", "warning"]


@pytest.mark.parametrize("begins", ["early", "late"])
def test_workers_of_a_preloading_server_are_members_of_their_own(store, tmp_path, begins):
    """Whether or not the parent was a member before it forked; recycled ones leave, and newcomers know the state."""
    options = ["--preload", "--max-requests", "40", "--graceful-timeout", "5"]
    with site([*GUNICORN, *options], store, tmp_path, LIFE_BEGINS=begins) as server:
        server.begin(2)
        first = set(server.workers())
        until(lambda: len({told["worker"] for told in server.workers().values()}) >= 2)
        server.trip()
        until(server.is_tripped)
        until(lambda: server.ask("/call").get("outcome") == "success")
        until(lambda: set(server.states()) == {"closed"})

        until(lambda: server.ask("/call") and not first & set(server.workers(4)), 30, server.log())
        server.begin(2)
        server.trip()
        until(server.is_tripped)
        until(lambda: all(is_alive(pid) for pid in server.members()))
    assert server.members() == set()
    assert "Traceback" not in server.log()


def test_workers_of_uvicorn_act_as_one_and_leave_with_it(store, tmp_path):
    """Spawned, not forked; the end of the lifespan says farewell."""
    with site([*UVICORN, "--workers", "2"], store, tmp_path) as server:
        server.begin(2)
        until(lambda: server.members() == set(server.workers()))
        server.trip()
        until(server.is_tripped)
    assert server.members() == set()
    assert "Traceback" not in server.log()


def test_a_reload_leaves_no_old_process_and_keeps_the_state(store, tmp_path):
    """`uvicorn --reload`: a changed file ends the old process, and the new one finds the circuit as it was."""
    with site([*UVICORN, "--reload", "--reload-delay", "0.1"], store, tmp_path) as server:
        server.begin(1)
        (old,) = server.workers()
        until(lambda: server.members() == {old})
        code = (tmp_path / "lifecycle_app.py").read_text()
        (tmp_path / "lifecycle_app.py").write_text(
            code.replace('"recovery_timeout": 0.5', '"recovery_timeout": 60')
        )
        until(lambda: server.ask().get("pid", old) != old, 20, server.log())
        server.begin(1)
        server.trip()
        (second,) = server.workers()
        (tmp_path / "lifecycle_app.py").write_text(code)
        until(lambda: server.ask().get("pid", second) != second, 20, server.log())
        until(lambda: server.ask("/call").get("state") == "open")
        assert server.ask("/call")["outcome"] == "refused"
        assert not is_alive(int(old))
        assert not is_alive(int(second))
        until(lambda: server.members() == set(server.workers()))
    assert "Traceback" not in server.log()


def declared(store: str) -> dict[str, object]:
    breakers = {"payments": {"failure_threshold": 3, "recovery_timeout": 60}}
    return {"STORE": store, "NAMESPACE": "test", "BREAKERS": breakers}


def test_one_loop_after_another_uses_one_hub(store):
    """A second `asyncio.run` goes on where the first has ended."""
    with Registry(declared(store)) as registry, crew(store, 1) as (other,):
        breaker = registry["payments"]

        async def work(*, fails: bool) -> None:
            await asyncio.sleep(0)
            if fails:
                raise ConnectionError

        asyncio.run(breaker.call_async(work, fails=False))
        assert registry.ready(5)
        hubs = [thread for thread in threading.enumerate() if thread.name == "recloser-hub"]
        for _ in range(3):
            with pytest.raises(ConnectionError):
                asyncio.run(breaker.call_async(work, fails=True))
        until(lambda: other.ask("state") == "open")
        with pytest.raises(CallRejectedError):
            asyncio.run(breaker.call_async(work, fails=False))
        assert [thread for thread in threading.enumerate() if thread.name == "recloser-hub"] == hubs
        assert len(hubs) == 1


def test_trio_is_as_good(store):
    """What fails under trio opens the others, and what they do is obeyed under trio."""
    with Registry(declared(store)) as registry, crew(store, 1) as (other,):
        breaker = registry["payments"]

        @breaker
        async def work(*, fails: bool) -> None:
            await trio.lowlevel.checkpoint()
            if fails:
                raise ConnectionError

        async def main() -> None:
            for _ in range(3):
                with pytest.raises(ConnectionError):
                    await work(fails=True)

        trio.run(main)
        until(lambda: other.ask("state") == "open")
        other.ask("mode", act="reset")
        until(lambda: breaker.state == "closed")

        async def again() -> None:
            with trio.fail_after(5):
                await work(fails=False)

        trio.run(again)


def test_an_interpreter_ends_although_its_server_hangs(start_server):
    """The server is stopped: the farewell is given up, and the process ends within three seconds (E7)."""
    server = start_server()
    hand = Hand(server.url, {})
    try:
        assert hand.ask("ready")
        assert hand.ask("call") == "success"
        server.pause()
        assert hand.leave() < 3
    finally:
        server.resume()
        assert "Traceback" not in hand.end()
