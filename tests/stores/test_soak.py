"""Four real uvicorn workers, a downstream of changing mood, and faults at random: what must hold, holds.

`RECLOSER_SOAK` sets the length on each store in seconds (15 by default, in which each fault happens at least once).
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from stores.servers import Server

SECONDS = float(os.environ.get("RECLOSER_SOAK", "15"))
WORKERS = 4
LEASE = 1.0


class Soak:
    """The servers, and the traffic on them."""

    def __init__(self, folder: Path, store: str) -> None:
        self.folder = folder
        (folder / "mood").write_text("well")
        self.port = _free_port()
        environment = {**os.environ, "SOAK_FOLDER": str(folder), "SOAK_STORE": store}
        command = [sys.executable, "-m", "uvicorn", "soak_app:app", "--workers", str(WORKERS)]
        command += [
            "--port",
            str(self.port),
            "--log-level",
            "warning",
            "--app-dir",
            str(Path(__file__).parent),
        ]
        self.output = (folder / "uvicorn.log").open("w")
        self.process = subprocess.Popen(command, env=environment, stdout=self.output, stderr=self.output)
        self.statuses: Counter[int] = Counter()
        self.slowest = 0.0
        self._client = httpx.Client(headers={"Connection": "close"})
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(4)]

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}/{path}"

    def begin(self) -> None:
        end = time.monotonic() + 20
        while len(self.states()) < WORKERS:
            assert time.monotonic() < end, (self.folder / "uvicorn.log").read_text()
        for thread in self._threads:
            thread.start()

    def states(self, tries: int = 24) -> dict[int, dict[str, object]]:
        """Ask until every worker has answered, or so many times: connections are spread by chance."""
        found: dict[int, dict[str, object]] = {}
        for _ in range(tries):
            try:
                told = self._client.get(self.url("state"), timeout=2).json()
            except httpx.HTTPError:
                time.sleep(0.05)
                continue
            found[told["pid"]] = told
        return found

    def _ask(self) -> None:
        while not self._stop.is_set():
            started = time.monotonic()
            try:
                response = self._client.get(self.url("pay"), timeout=5)
            except httpx.TransportError:
                self.statuses[0] += 1  # the worker was killed under it
            else:
                self.statuses[response.status_code] += 1
                self.slowest = max(self.slowest, time.monotonic() - started)
            time.sleep(0.005)

    def mood(self, mood: str) -> None:
        (self.folder / "mood").write_text(mood)

    def kill_a_worker(self, chance: random.Random) -> None:
        pids = list(self.states(8))
        if pids:
            os.kill(chance.choice(pids), signal.SIGKILL)

    def entries(self) -> list[dict[str, object]]:
        lines: list[dict[str, object]] = []
        for path in self.folder.glob("log-*.jsonl"):
            for line in path.read_text().splitlines():
                try:
                    lines.append(json.loads(line))
                except ValueError:  # its writer was killed in the midst of it
                    continue
        return sorted(lines, key=lambda entry: entry["at"])

    def end(self) -> None:
        self._stop.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(10)
        self._client.close()
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.output.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def probes_at_once(entries: list[dict[str, object]]) -> int:
    """Return how many probes of one fleet epoch ran within their leases at the same time, among connected workers."""
    worst = 0
    running: dict[tuple[object, ...], list[tuple[object, float]]] = {}
    for entry in entries:
        if entry["kind"] not in ("probe", "probed"):
            continue
        epoch = tuple(entry["epoch"])
        alive = [(pid, at) for pid, at in running.get(epoch, []) if entry["at"] - at < LEASE]
        if entry["kind"] == "probe":
            if entry["connected"] == "up":
                alive.append((entry["pid"], entry["at"]))
        else:
            mine = [held for held in alive if held[0] == entry["pid"]]
            if mine:
                alive.remove(mine[0])
        running[epoch] = alive
        worst = max(worst, len(alive))
    return worst


def _hang(server: Server, chance: random.Random) -> None:
    server.pause()
    time.sleep(chance.uniform(0.1, 1.5))
    server.resume()


def _lose(server: Server, chance: random.Random) -> None:
    """Kill the server, and let it come back with nothing."""
    server.kill()
    time.sleep(chance.uniform(0.0, 1.0))
    shutil.rmtree(server.folder / "appendonlydir", ignore_errors=True)
    server.start()


def _restart(server: Server, chance: random.Random) -> None:
    """Kill the server, and let it come back with what it had written."""
    server.kill()
    time.sleep(chance.uniform(0.0, 1.0))
    server.start()


def _mute(server: Server, _chance: random.Random) -> None:
    """Cut all subscriptions, and no other connection."""
    with server.client() as client:
        client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")


STORE_FAULTS = {"hang": _hang, "lose": _lose, "restart": _restart, "mute": _mute}


def dealt(faults: list[str], chance: random.Random) -> Iterator[str]:
    """Yield all faults in an order of chance, again and again: none is long in coming."""
    while True:
        yield from chance.sample(faults, len(faults))


@pytest.mark.timeout(SECONDS + 90)
@pytest.mark.parametrize("kind", ["sqlite", "valkey"])
def test_a_fleet_under_faults(tmp_path: Path, kind: str, start_server):
    """No request fails but by its downstream or its worker's death, probes are bounded, and all close in the end."""
    chance = random.Random(7)
    server = start_server("--appendonly", "yes", "--save", "") if kind == "valkey" else None
    soak = Soak(tmp_path, f"sqlite://{tmp_path}/fleet/soak.db" if server is None else server.url)
    faults = ["failing", "failing", "slow", "well", "kill"]
    faults += [] if server is None else ["hang", "lose", "restart", "mute"]
    try:
        soak.begin()
        end = time.monotonic() + SECONDS
        for turn, fault in enumerate(dealt(faults, chance)):
            if turn >= len(faults) and time.monotonic() > end:
                break
            if fault == "kill":
                soak.kill_a_worker(chance)
            elif server is not None and fault in STORE_FAULTS:
                STORE_FAULTS[fault](server, chance)
            else:
                soak.mood(fault)
            time.sleep(chance.uniform(0.3, 2.0))
        soak.mood("well")

        deadline = time.monotonic() + (15 if server is None else 25)
        states: dict[int, dict[str, object]] = {}
        while time.monotonic() < deadline:
            states = soak.states()
            epochs = {tuple(told["epoch"]) for told in states.values()}
            if (
                len(states) == WORKERS
                and {told["state"] for told in states.values()} == {"closed"}
                and len(epochs) == 1
            ):
                break
        assert {told["state"] for told in states.values()} == {"closed"}, states
        assert {told["store"] for told in states.values()} == {"up"}, states
        assert len({tuple(told["epoch"]) for told in states.values()}) == 1, states
    finally:
        soak.end()

    entries = soak.entries()
    assert any(entry["kind"] == "fleet" and entry["state"] == "open" for entry in entries)
    assert probes_at_once(entries) <= 1
    epochs = [tuple(entry["epoch"]) for entry in entries if entry["kind"] == "fleet"]
    assert len(epochs) == len(set(epochs)), "the same change was told twice"
    assert set(soak.statuses) <= {0, 200, 502, 503}
    assert soak.statuses[200] > 50
    assert soak.statuses[503] > 20
    assert soak.slowest < 3
