"""Prometheus' multiprocess mode, with real processes: whichever worker is scraped tells the story of all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.multiprocess import MultiProcessCollector

from metrics.conftest import Scrape, parsed, value
from recloser.metrics.merging import Merger

PATIENCE = 15.0  # seconds; no wait is longer
SCRIPT = Path(__file__).with_name("worker.py")


class Worker:
    """A process that is told what to do, line by line."""

    def __init__(self, directory: Path, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", str(SCRIPT)],
            env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(directory), **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, line: str) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def scrape(self) -> Scrape:
        return parsed(self("scrape"))

    def end(self) -> None:
        self.process.communicate(timeout=PATIENCE)  # its stdin ends, and so does it
        assert self.process.returncode == 0

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=PATIENCE)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[], Worker]]:
    workers: list[Worker] = []

    def started(**environment: str) -> Worker:
        workers.append(Worker(tmp_path, **environment))
        workers[-1]("instrument")
        return workers[-1]

    yield started
    for worker in workers:
        if worker.process.poll() is None:
            worker.kill()


def until(condition: Callable[[], bool]) -> None:
    """Wait for another worker's next publication."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


def calls(scrape: Scrape, breaker: str = "stock") -> float:
    return value(scrape, "circuit_breaker_calls_total", service_name=breaker, outcome="success")


def state(scrape: Scrape, breaker: str = "stock") -> float:
    return value(scrape, "circuit_breaker_state", service_name=breaker)


def test_the_first_scrape_tells_every_breaker(start: Callable[[], Worker]):
    """A worker that has just begun tells all series at zero, as one process alone does."""
    scrape = start().scrape()

    for breaker in ("stock", "payments"):
        assert (state(scrape, breaker), calls(scrape, breaker)) == (0, 0)
        assert value(scrape, "circuit_breaker_opened_total", service_name=breaker) == 0
        assert value(scrape, "circuit_breaker_mode", service_name=breaker) == 0


def test_counts_are_summed_over_workers(start: Callable[[], Worker]):
    """What one worker did a moment ago is in the other's answer within a second, without any call for it."""
    one, two = start(), start()
    one("call stock 3")
    two("call stock 4")
    assert calls(two.scrape()) >= 4, "its own at once"

    until(lambda: calls(two.scrape()) == 7)
    until(lambda: calls(one.scrape()) == 7)

    name = "circuit_breaker_call_duration_seconds"
    found = one.scrape()
    assert value(found, f"{name}_count", service_name="stock") == 7
    assert value(found, f"{name}_bucket", service_name="stock", le="1.0") == 7
    assert value(found, f"{name}_bucket", service_name="stock", le="+Inf") == 7


def test_the_most_severe_state_and_mode_are_told(start: Callable[[], Worker]):
    """One open circuit among closed ones is what somebody must look at, whichever worker answers."""
    one, two = start(), start()
    one("fail stock")
    two("shadow payments")

    for worker in (one, two):
        until(lambda worker=worker: state(worker.scrape()) == 1)
        until(
            lambda worker=worker: value(worker.scrape(), "circuit_breaker_mode", service_name="payments") == 3
        )
        assert state(worker.scrape(), "payments") == 0

    one("reset stock")
    until(lambda: state(two.scrape()) == 0)


def test_a_worker_that_ends_leaves_its_last_counts(start: Callable[[], Worker]):
    """Recycled workers lose no count: what was done since the last publication is written at the end."""
    one, two = start(), start()
    one("call stock 5")
    one.end()

    assert calls(two.scrape()) == 5


@pytest.mark.parametrize("end", [Worker.end, Worker.kill], ids=["ended", "killed"])
def test_a_dead_workers_state_is_forgotten_and_its_counts_are_not(start: Callable[[], Worker], end):
    """Its circuit was open; it is gone, without any hook of the server's, however it died. Its counts are history."""
    one, two = start(), start()
    one("call stock 5")
    one("fail stock")
    until(lambda: calls(two.scrape()) == 5 and state(two.scrape()) == 1)

    end(one)

    found = two.scrape()
    assert state(found) == 0
    assert calls(found) == 5
    assert value(found, "circuit_breaker_opened_total", service_name="stock") == 1


def test_all_is_told_as_prometheus_client_would(start: Callable[..., Worker], tmp_path: Path):
    """What is kept from scrape to scrape changes nothing: its own collector reads the same, also of other metrics."""
    one, two = start(STORE=f"sqlite:///{tmp_path}/shared/recloser.db"), start()
    one("own 3")
    two("own 4")
    one("call stock 3")
    two("call stock 4")
    two("fail payments")
    for worker in (one, two):
        worker("scrape")

    told = one.scrape()

    theirs = CollectorRegistry()
    MultiProcessCollector(theirs, str(tmp_path))
    expected = parsed(generate_latest(theirs).decode())
    assert value(told, "own_total") == 7
    assert set(told) == set(expected)
    moving = ("circuit_breaker_state_seconds", "circuit_breaker_hub_lag_seconds")
    assert {key: told[key] for key in told if key[0] not in moving} == {
        key: expected[key] for key in expected if key[0] not in moving
    }
    buckets = [key for key in told if key[0].endswith("_bucket") and ("service_name", "stock") in key[1]]
    assert [dict(labels)["le"] for _, labels in buckets] == ["1.0", "+Inf"]
    assert set(parsed(one("only circuit_breaker_state"))) == {
        ("circuit_breaker_state", frozenset({("service_name", breaker)})) for breaker in ("stock", "payments")
    }


def test_a_series_is_told_once_whatever_it_is_described_as(tmp_path: Path):
    """During an upgrade workers of two releases share the folder: a series that is told twice is no scrape at all."""
    for place, text in enumerate(("As it was described", "As it is described")):
        file = MmapedDict(str(tmp_path / f"counter_recloser-{place}.db"))
        key = mmap_key(
            "circuit_breaker_opened", "circuit_breaker_opened_total", ["service_name"], ["stock"], text
        )
        file.write_value(key, 2.0, 0.0)
        file.close()

    (family,) = Merger(str(tmp_path)).collect()
    assert family.type == "counter"
    assert [(sample.labels, sample.value) for sample in family.samples] == [({"service_name": "stock"}, 4.0)]


def test_whoever_comes_next_goes_on_in_a_dead_workers_files(start: Callable[[], Worker], tmp_path: Path):
    """Servers recycle workers for ever: neither the folder nor the time that a scrape takes may grow by each."""
    one = start()
    for end, wanted in ((Worker.end, 5), (Worker.kill, 10)):
        other = start()
        other("call stock 5")
        other("scrape")
        assert calls(one.scrape()) == wanted
        other("fail stock")
        end(other)
    other = start()

    found = one.scrape()
    assert (calls(found), state(found)) == (10, 0)
    assert len(list(tmp_path.glob("counter_*.db"))) == 2
    assert len(list(tmp_path.glob("recloser-*.lock"))) == 2


def test_origins_of_dead_workers_are_among_the_hundred(start: Callable[[], Worker]):
    """Each worker names a hundred of them: those that are recycled for ever must not name ever more."""
    for generation in range(2):
        worker = start()
        worker(f"origins host{generation}- 101")
        found = worker.scrape()
        worker.end()

    told = {dict(labels)["service_name"] for name, labels in found if name == "circuit_breaker_opened_total"}
    assert told == {"stock", "payments", "(other origins)", *(f"host0-{number}:80" for number in range(100))}
    assert calls(found, "(other origins)") == 1 + 101


def test_an_export_may_be_begun_again(start: Callable[[], Worker]):
    """Nothing is counted twice; and meanwhile nothing is told of the present."""
    one, two = start(), start()
    one("call stock 5")
    one("fail stock")
    one("end")
    found = two.scrape()
    assert (calls(found), state(found)) == (5, 0)

    one("instrument")
    one("call payments 2")
    until(lambda: calls(two.scrape(), "payments") == 2)
    found = one.scrape()
    assert (calls(found), state(found)) == (5, 1)


def test_a_child_may_take_the_place_of_its_dead_parent(start: Callable[[], Worker], tmp_path: Path):
    """A process that forks into the background ends at once: its place is free, and its child keeps it."""
    other = start()
    environment = {
        **os.environ,
        "PROMETHEUS_MULTIPROC_DIR": str(tmp_path),
        "PYTHONPATH": str(SCRIPT.parent),
    }
    child = subprocess.Popen([sys.executable, "-c", DAEMON], env=environment, stdin=subprocess.PIPE)
    try:
        until(lambda: calls(other.scrape()) == 2 + 10)
        third = start()
        third("call stock 100")
        until(lambda: calls(other.scrape()) == 2 + 10 + 100)
        assert len(list(tmp_path.glob("recloser-*.lock"))) == 3
    finally:
        child.communicate()
    assert child.returncode == 0


DAEMON = """
import os, sys

def wait_for_the_parents_end():
    while os.getppid() == parent:
        pass

parent = os.getpid()
os.register_at_fork(after_in_child=wait_for_the_parents_end)  # before all others

import worker

worker.obey("instrument")
worker.obey("call stock 2")
worker.obey("scrape")
if os.fork():
    os._exit(0)
worker.obey("call stock 10")
worker.obey("scrape")
sys.stdin.read()
"""


@pytest.mark.parametrize("value", ["missing", "file", ""])
def test_a_wrong_folder_is_told_at_the_start(tmp_path: Path, value: str):
    """The error names the variable, what it says, and what to do."""
    (tmp_path / "file").touch()
    ran = subprocess.run(
        [sys.executable, str(SCRIPT)],
        env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": value},
        cwd=tmp_path,
        input="instrument\n",
        capture_output=True,
        text=True,
        timeout=PATIENCE * 2,
        check=False,
    )
    assert "PROMETHEUS_MULTIPROC_DIR must be a folder that exists" in ran.stderr
    assert f"got {value!r}" in ran.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_state_of_living_siblings_is_kept(start: Callable[[], Worker], tmp_path: Path):
    """Many scrapes, many looks at who is alive: nobody buries the living."""
    one, two = start(), start()
    one("fail stock")
    until(lambda: state(two.scrape()) == 1)

    assert all(state(worker.scrape()) == 1 for worker in (one, two) * 10)
    assert len(list(tmp_path.glob("recloser-*.lock"))) == 2


def test_the_sign_of_life_never_looks_old(start: Callable[[], Worker], tmp_path: Path):
    """Temporary folders are swept of what nobody has touched for days; a worker may live for months."""
    worker = start()
    (lock,) = tmp_path.glob("recloser-*.lock")
    os.utime(lock, (0, 0))
    worker.scrape()
    assert lock.stat().st_mtime > 0


def test_a_shared_store_is_told(start: Callable[..., Worker], tmp_path: Path):
    """With a store: whether it answers, how long ago it did, how many workers share it, and the state they agree on."""
    store = f"sqlite:///{tmp_path}/shared/recloser.db"
    one, two = start(STORE=store), start(STORE=store)
    assert value(one.scrape(), "circuit_breaker_store_up") == 1, "not lost, though nobody has called yet"
    one("call stock")
    two("call stock")

    until(lambda: value(one.scrape(), "circuit_breaker_workers") == 2)
    one("fail stock")
    until(lambda: value(two.scrape(), "circuit_breaker_opened_total", service_name="stock") >= 1)

    found = two.scrape()
    assert state(found) == 1
    assert value(found, "circuit_breaker_store_up") == 1
    assert 0 <= value(found, "circuit_breaker_hub_lag_seconds") < PATIENCE


def test_forked_workers_publish_for_themselves(start: Callable[[], Worker]):
    """Under `gunicorn --preload` workers are forks of a process that was instrumented before."""
    parent = start()
    parent("call stock 2")

    parent("fork call,stock,5 fail,payments")

    found = parent.scrape()
    assert calls(found) == 7, "nothing twice, nothing lost"
    assert value(found, "circuit_breaker_opened_total", service_name="payments") == 1
    assert state(found, "payments") == 0, "the child that was open is gone"
    parent("call stock 1")
    assert calls(parent.scrape()) == 8, "and the parent goes on"


def test_a_fork_publishes_on_its_own_clock(start: Callable[[], Worker], tmp_path: Path):
    """A child that is never scraped has its own thread; its parent keeps its own."""
    parent, other = start(), start()
    parent("call stock 2")
    child = subprocess.Popen(
        [sys.executable, "-c", FORKS],
        env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "PYTHONPATH": str(SCRIPT.parent)},
        stdin=subprocess.PIPE,
    )
    try:
        until(lambda: calls(other.scrape()) == 2 + 10 + 20)
    finally:
        child.communicate()
    assert child.returncode == 0


FORKS = """
import os, sys
import worker
worker.obey("instrument")
child = os.fork()
worker.obey("call stock 20" if child == 0 else "call stock 10")
sys.stdin.read()
if child:
    os.waitpid(child, 0)
"""


def test_a_child_of_multiprocessing_leaves_its_last_counts(start: Callable[[], Worker], tmp_path: Path):
    """`uvicorn --workers` starts its workers so; `atexit` is not run there."""
    other = start()
    environment = {
        **os.environ,
        "PROMETHEUS_MULTIPROC_DIR": str(tmp_path),
        "PYTHONPATH": str(SCRIPT.parent),
    }
    subprocess.run([sys.executable, "-c", SPAWNS], env=environment, timeout=PATIENCE * 2, check=True)

    assert calls(other.scrape()) == 5


SPAWNS = """
import multiprocessing, worker
if __name__ == "__main__":
    child = multiprocessing.get_context("spawn").Process(target=worker.both, args=("instrument", "call stock 5"))
    child.start()
    child.join()
    assert child.exitcode == 0
"""


def test_every_worker_tells_the_same_of_a_queue(start: Callable[[], Worker], tmp_path: Path):
    """It reads their file when it is scraped: what one has put off is counted once, whoever is asked."""
    workers = [start(), start()]
    for worker in workers:
        worker(f"queue {tmp_path / 'own' / 'jobs.db'}")

    for worker in workers:
        scrape = worker.scrape()
        assert value(scrape, "circuit_breaker_queue_jobs", state="queued") == 2
        assert value(scrape, "circuit_breaker_queue_oldest_seconds") > 0
        assert calls(scrape) == 0
