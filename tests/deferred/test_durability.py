"""The job table under faults: what was submitted is kept, and what cannot be kept is not accepted."""

from __future__ import annotations

import json
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing

import pytest

from core.acting import crowd
from deferred.test_attempts import drain, scripted
from recloser import ConfigurationError
from recloser.deferred import JobState, Queue, QueueError, QueueFullError


def submit(task, key, body="{}"):
    return task.queue.submit(task, json.dumps({"args": [body], "kwargs": {}}), key, body)


def test_a_job_is_on_the_disk_when_its_submission_returns(make):
    """Each commit waits for the disk, and another connection sees the job at once."""
    queue = make()
    _, charge = scripted(queue)
    job = charge.later()

    (level,) = queue.table._database.execute("PRAGMA synchronous").fetchone()
    with closing(sqlite3.connect(queue.table.path)) as other:
        assert other.execute("SELECT id FROM jobs").fetchall() == [(job.id,)]
    assert level == 2


def test_a_job_in_a_log_tells_nothing_of_its_customer(make, clock):
    """Neither what was asked nor what came of it."""
    queue = make()
    _, charge = scripted(queue, "4711-2222")
    shown = repr(charge.later("card 4711-2222"))
    drain(queue, clock)
    shown += repr(queue.table.jobs())
    assert "charge" in shown
    assert "4711" not in shown


def test_a_full_queue_refuses(make, clock):
    """Jobs that wait or run count; those that are done make room."""
    queue = make(max_jobs=2, rate=1000.0)
    _, charge = scripted(queue)
    charge.later()
    charge.later()

    with pytest.raises(QueueFullError, match="2 jobs wait or run"):
        charge.later()
    drain(queue, clock)
    charge.later()


def test_two_submissions_of_one_key_make_one_job(make, clock):
    """The second is given the first job, however far that is; a different body is told apart."""
    queue = make(rate=1000.0)
    script, charge = scripted(queue, "paid")

    first = submit(charge, "k-1")
    again = submit(charge, "k-1")
    other = submit(charge, "k-1", "1")
    drain(queue, clock)
    late = submit(charge, "k-1")

    assert (first.is_new, again.is_new, other.is_new, late.is_new) == (True, False, False, False)
    assert {first.record.id} == {again.record.id, other.record.id, late.record.id}
    assert (again.conflicts, other.conflicts) == (False, True)
    assert (late.record.state, late.record.result) == (JobState.DONE, '"paid"')
    assert [key for key, *_ in script.calls] == ["k-1"]


def test_keys_belong_to_a_task(make):
    """Another task may be given the same key."""
    queue = make()
    _, charge = scripted(queue)
    refund = queue.task("payments", name="refund")(print)

    assert submit(charge, "k").is_new
    assert submit(refund, "k").is_new


def test_threads_submit_one_key_once(make):
    """Whoever comes second waits, and is given the first one's job."""
    queue = make()
    _, charge = scripted(queue)
    made = []

    crowd([lambda: made.append(submit(charge, "k"))] * 8)

    assert sum(submission.is_new for submission in made) == 1
    assert len({submission.record.id for submission in made}) == 1


def test_a_full_queue_still_knows_its_keys(make):
    """A client that asks again is not told that its job cannot be kept."""
    queue = make(max_jobs=1)
    _, charge = scripted(queue)
    submit(charge, "k")

    assert not submit(charge, "k").is_new


def test_another_boot_makes_all_jobs_due(make, clock):
    """Its monotonic clock starts anew: waits and leases are void, ages go by the calendar."""
    queue = make()
    _, charge = scripted(queue)
    waiting, running = charge.later(), charge.later()
    _, token = queue.table.claim(["charge"], "payments", lease=60, every=0.2)
    queue.table.put_back(waiting.id, token, delay=500, error="Boom")
    clock.advance(1)
    queue.table.claim(["charge"], "payments", lease=60, every=0.2)
    queue.table.close()
    clock.now = 3.0
    clock.wall += 99

    after = make(boot="two", rate=1000.0)
    script, _ = scripted(after)
    assert after.find(waiting.id).age == 100
    drain(after, clock)

    assert len(script.calls) == 2
    assert after.find(running.id).state == JobState.DONE


def test_a_boot_without_a_name_is_known_by_its_clock(make, clock):
    """Where the system does not tell boots apart, a clock that is behind its own jobs has begun anew."""
    queue = make(boot="unknown")
    _, charge = scripted(queue)
    job = charge.later()
    _, token = queue.table.claim(["charge"], "payments", lease=60, every=0.2)
    queue.table.put_back(job.id, token, delay=300, error="Boom")
    queue.table.close()
    clock.now -= 900
    clock.wall += 10

    after = make(boot="unknown", rate=1000.0)
    scripted(after)
    drain(after, clock)

    assert after.find(job.id).state == JobState.DONE


@pytest.mark.parametrize("jump", [-86_400 * 365, 86_400 * 365])
def test_a_clock_that_is_set_moves_no_job(make, clock, jump):
    """Neither backwards nor forwards: no job waits for a year, none is given up."""
    queue = make(rate=1000.0)
    script, charge = scripted(queue)
    job = charge.later()

    clock.wall += jump
    drain(queue, clock)

    assert len(script.calls) == 1
    assert queue.find(job.id).state == JobState.DONE


def test_a_calendar_that_went_back_over_a_boot_makes_no_job_younger_than_new(make, clock):
    """An age is never negative."""
    queue = make()
    _, charge = scripted(queue)
    job = charge.later()
    queue.table.close()
    clock.wall -= 1000

    after = make(boot="two")

    assert after.find(job.id).age == 0


def test_a_file_that_was_deleted_is_made_anew(make):
    """A job is never written where nobody will look."""
    queue = make()
    _, charge = scripted(queue)
    charge.later()
    for left in queue.table.path.parent.iterdir():
        left.unlink()

    job = charge.later()

    queue.table.close()
    assert queue.find(job.id).state == JobState.QUEUED


def test_what_is_no_queue_is_refused(make, tmp_path):
    """A damaged file, and a folder that others may write to, say what is wrong."""
    queue = make()
    _, charge = scripted(queue)
    queue.table.path.parent.mkdir(mode=0o700)
    queue.table.path.write_bytes(b"no database" * 100)
    queue.table.path.chmod(0o600)
    with pytest.raises(QueueError, match="is not a database"):
        charge.later()

    queue.table.path.unlink()
    queue.table.path.parent.chmod(0o777)
    with pytest.raises(QueueError, match="chmod 700"):
        charge.later()


def test_a_file_that_may_only_be_read_keeps_nothing(make):
    """The submission fails; what is there can still be read."""
    queue = make()
    _, charge = scripted(queue)
    job = charge.later()
    queue.table._database.execute("PRAGMA query_only = 1")

    with pytest.raises(QueueError, match="readonly"):
        charge.later()

    assert queue.find(job.id) is not None


def test_a_full_disk_keeps_nothing_and_loses_nothing(make):
    """The submission that does not fit fails; those before it are whole, and later ones work again."""
    queue = make()
    _, charge = scripted(queue)
    kept = [charge.later("x" * 1000).id for _ in range(5)]
    wal = queue.table.path.with_name("jobs.db-wal")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (wal.stat().st_size + 5000, before[1]))
        with pytest.raises(QueueError, match=r"disk|full|I/O"):
            kept.extend(charge.later("x" * 3000).id for _ in range(50))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)

    kept.append(charge.later("after").id)
    queue.table.close()
    assert [record.id for record in queue.table.jobs()] == kept
    with closing(sqlite3.connect(queue.table.path)) as other:
        (whole,) = other.execute("PRAGMA integrity_check").fetchone()
    assert whole == "ok"


def test_a_fork_s_child_has_a_connection_of_its_own(make):
    """Parent and child go on submitting, and neither cuts the other off."""
    queue = make()
    _, charge = scripted(queue)
    charge.later("parent")
    child = os.fork()
    if child == 0:
        try:
            for _ in range(20):
                charge.later("child")
            os._exit(0)
        except BaseException:
            os._exit(1)
    for _ in range(20):
        charge.later("parent")

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(queue.table.jobs()) == 41


def test_many_processes_submit_at_once(make, tmp_path):
    """Nobody is told that the file is locked."""
    queue = make()
    scripted(queue)
    code = (
        "import sys; from recloser import CircuitBreaker; from recloser.deferred import Queue;"
        "queue = Queue(sys.argv[1], {'payments': CircuitBreaker('payments')});"
        "charge = queue.task('payments', name='charge')(print);"
        "[charge.later(number) for number in range(50)]"
    )
    children = [subprocess.Popen([sys.executable, "-c", code, str(queue.table.path)]) for _ in range(4)]

    assert [child.wait(60) for child in children] == [0] * 4
    assert queue.depth().queued == 200


def test_nothing_reads_the_whole_table(make, clock):
    """A day's done jobs slow down neither web nor workers nor metrics."""
    queue = make(rate=1000.0)
    _, charge = scripted(queue)
    said: list[str] = []
    queue.depth()
    queue.table._database.set_trace_callback(said.append)
    submit(charge, "k")
    submit(charge, "k")
    drain(queue, clock)
    queue.sweep()
    queue.depth()
    queue.table._database.set_trace_callback(None)

    plans = [
        row[3]
        for statement in said
        if statement.startswith(("SELECT", "UPDATE", "DELETE"))
        for row in queue.table._database.execute(f"EXPLAIN QUERY PLAN {statement}")
    ]
    assert len(plans) > 10
    assert [plan for plan in plans if plan.startswith("SCAN jobs") and "INDEX" not in plan] == []


def test_a_queue_stays_where_it_was_meant(tmp_path, monkeypatch, payments):
    """A daemon that leaves its folder works on the same file."""
    monkeypatch.chdir(tmp_path)
    queue = Queue("q/jobs.db", {"payments": payments})
    monkeypatch.chdir("/")

    assert queue.table.path == tmp_path / "q" / "jobs.db"


def test_wrong_limits_and_names_are_refused(make, payments):
    """All limits at once; a task needs a breaker that there is, and a name of its own."""
    with pytest.raises(ConfigurationError) as caught:
        make(rate=0, max_age=-1, lease="60", url="jobs")
    assert [problem.path for problem in caught.value.problems] == [
        "the queue's rate",
        "the queue's max_age",
        "the queue's lease",
        "the queue's url",
    ]
    queue = make()
    scripted(queue)
    with pytest.raises(ConfigurationError, match="did you mean 'payments'"):
        queue.task("paymnets")(print)
    with pytest.raises(ConfigurationError, match="'charge'"):
        scripted(queue)


def test_nothing_is_opened_before_it_is_used(tmp_path, payments):
    """Declaring a queue at import makes no file and no thread."""
    threads = threading.active_count()
    Queue(tmp_path / "q" / "jobs.db", {"payments": payments}).task("payments")(print)

    assert not (tmp_path / "q").exists()
    assert threading.active_count() == threads
