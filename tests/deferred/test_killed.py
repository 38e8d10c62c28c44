"""Processes that are killed at every step: every 202 is executed, and the dependency's journal shows it exactly once."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from deferred.journal import Payments, serving
from recloser import CircuitBreaker
from recloser.deferred import JobState, Queue
from recloser.demo.processes import Child, free_port

TESTS = Path(__file__).parents[1]
PATIENCE = 30.0
CLI = "import sys; from recloser.cli import main; sys.exit(main())"


@pytest.fixture
def payments() -> Iterator[Payments]:
    with serving() as service:
        service.down = True
        yield service


class Site:
    """The processes of one shop."""

    def __init__(self, folder: Path, payments: Payments) -> None:
        self.folder = folder
        self.environment = {
            "SITE_FOLDER": str(folder),
            "PAYMENTS_URL": payments.url,
            "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent / "src")]),
        }
        self.queue = Queue(folder / "q" / "jobs.db", {"payments": CircuitBreaker("payments")})
        self.checkout = self.queue.task("payments", name="checkout")(print)
        self.crash = self.queue.task("payments", name="crash")(print)
        self.port = free_port()

    def child(self, *command: str, kill_at: str = "") -> Child:
        return Child([sys.executable, *command], self.environment | {"KILL_AT": kill_at})

    def worker(self, kill_at: str = "") -> Child:
        return self.child("-c", CLI, "work", "deferred.site_jobs:queue", kill_at=kill_at)

    def web(self, kill_at: str = "") -> Child:
        options = ("--port", str(self.port), "--log-level", "warning")
        return self.child("-m", "uvicorn", "deferred.site:app", *options, kill_at=kill_at)

    @property
    def was_killed(self) -> bool:
        return (self.folder / "killed").exists()


@pytest.fixture
def site(tmp_path: Path, payments: Payments) -> Iterator[Site]:
    site = Site(tmp_path, payments)
    yield site
    site.queue.close()


def until(condition: Callable[[], object], child: Child | None = None) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, child.complaints() if child else "too late"
        time.sleep(0.05)


@contextmanager
def order(site: Site) -> Iterator[Callable[[str], int]]:
    with httpx.Client(base_url=f"http://127.0.0.1:{site.port}", timeout=10) as client:

        def post(key: str) -> int:
            try:
                return client.post("/checkout", headers={"Idempotency-Key": key}).status_code
            except httpx.TransportError:
                return 0

        yield post


WORKER_STEPS = [
    "before claim",
    "after claim",
    "before call",
    "after call",
    "before complete",
    "after complete",
]


@pytest.mark.parametrize("step", WORKER_STEPS)
def test_a_killed_worker_loses_and_repeats_nothing(site: Site, payments: Payments, step: str) -> None:
    """Another one takes over when the lease is out; what was done already is known by its key."""
    payments.down = False
    keys = [f"key-{number}" for number in range(5)]
    jobs = [site.queue.submit(site.checkout, '{"args": [], "kwargs": {}}', key, "").record.id for key in keys]

    with site.worker(kill_at=step) as first:
        until(lambda: not first.alive, first)
    assert site.was_killed
    with site.worker() as second:
        until(lambda: site.queue.depth().done == 5, second)

    assert sorted(payments.journal) == keys
    assert {site.queue.find(job).state for job in jobs} == {JobState.DONE}


def test_a_job_that_ends_every_worker_is_given_up_and_the_others_are_done(
    site: Site, payments: Payments
) -> None:
    """A crash, the kernel's killing for want of memory: no handler sees it, only the leases tell."""
    payments.down = False
    site.environment["LEASE"] = "0.5"
    poison = site.crash.later().id
    for _ in range(3):
        site.checkout.later()

    def is_over() -> bool:
        depth = site.queue.depth()
        return not depth.queued and not depth.running

    begun = 0
    while not is_over():
        begun += 1
        with site.worker() as worker:
            until(lambda: not worker.alive or is_over(), worker)

    given_up = site.queue.find(poison)
    assert (given_up.state, given_up.attempts, begun) == (JobState.FAILED, 3, 4)
    assert "begun 3 times, and its worker went without a word" in given_up.error
    assert site.queue.depth().done == len(payments.journal) == 3


def test_a_worker_killed_while_the_service_is_down_loses_nothing(site: Site, payments: Payments) -> None:
    """The attempt failed, and its job was not yet put back."""
    site.queue.submit(site.checkout, '{"args": [], "kwargs": {}}', "key", "")

    with site.worker(kill_at="before put_back") as first:
        until(lambda: not first.alive, first)
    payments.down = False
    with site.worker() as second:
        until(lambda: site.queue.depth().done == 1, second)

    assert payments.journal == ["key"]
    assert payments.log == ["key", "key"]


def test_a_worker_that_is_asked_to_end_finishes_its_job(site: Site, payments: Payments) -> None:
    """SIGTERM ends it between two jobs."""
    payments.down = False
    site.queue.submit(site.checkout, '{"args": [], "kwargs": {}}', "key", "")
    with site.worker() as worker:
        assert worker.read_line().endswith("jobs.db: checkout, crash\n")
        until(lambda: payments.journal, worker)
        os.kill(worker.pid, 15)
        until(lambda: not worker.alive, worker)

    assert site.queue.depth().done == 1


@pytest.mark.parametrize("step", ["before submit", "after submit", "before answer"])
def test_a_killed_web_process_breaks_no_promise(site: Site, payments: Payments, step: str) -> None:
    """Whoever got a 202 is served; whoever got no answer asks again under his key, and is served once."""
    keys = [f"key-{number}" for number in range(4)]
    promised = set()
    with order(site) as post:
        web = site.web(kill_at=step)
        try:
            until(lambda: post("opens") in (500, 502), web)
            for key in keys:
                for _ in range(200):
                    status = post(key)
                    if status == 202:
                        promised.add(key)
                        break
                    if not web.alive:
                        web.stop()
                        web = site.web()
                    time.sleep(0.05)
        finally:
            web.stop()
    assert site.was_killed
    assert promised == set(keys)

    payments.down = False
    with site.worker() as worker:
        until(lambda: {*keys} <= {*payments.journal} and site.queue.depth().queued == 0, worker)

    assert sorted(set(payments.journal)) == sorted(payments.journal)
    assert {*keys} <= {*payments.journal}
