"""What becomes of a job: when it runs, when it waits, when it is given up."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sqlite3
import threading
import time
from contextlib import closing, suppress
from datetime import UTC, datetime
from itertools import pairwise

import pytest

from core.acting import Boom, fail
from recloser import CircuitBreaker, CircuitOpenError
from recloser.deferred import Depth, JobState, QueueError
from recloser.deferred.attempt import is_final
from recloser.deferred.resource import describe
from recloser.deferred.worker import Worker


class Refused(Exception):
    """An HTTP client's error."""

    def __init__(self, status: int, **headers: str) -> None:
        super().__init__(f"{status}")
        self.response = type("Response", (), {"status_code": status, "headers": headers})()


class Script:
    """A task's function: raises or returns one thing after another, and remembers its calls."""

    def __init__(self, *steps: object) -> None:
        self.steps = list(steps)
        self.calls: list[tuple] = []

    def __call__(self, job, *args, **kwargs):
        self.calls.append((job.key, job.attempt, args, kwargs))
        step = self.steps.pop(0) if self.steps else "done"
        if isinstance(step, BaseException):
            raise step
        return step


def scripted(queue, *steps):
    script = Script(*steps)
    return script, queue.task("payments", name="charge")(script)


def dump(queue) -> bytes:
    with closing(sqlite3.connect(queue.table.path)) as database:
        return "".join(database.iterdump()).encode()


def drain(queue, clock, most=50):
    """Work until nothing is due now."""
    worker = Worker(queue, threads=0, clock=clock)
    for _ in range(most):
        wait = worker.step()
        if wait > 0.01:
            return
        clock.advance(wait)  # the rate's
    raise AssertionError("never done")


def test_a_job_is_done_with_its_arguments_and_result(queue, clock):
    """The function is given the job, then the call's own arguments."""
    script, charge = scripted(queue, {"receipt": 7})
    job = charge.later(10, currency="EUR")

    drain(queue, clock)

    record = queue.find(job.id)
    assert script.calls == [(job.id, 1, (10,), {"currency": "EUR"})]
    assert (record.state, record.result, record.attempts) == (JobState.DONE, '{"receipt": 7}', 1)


def test_an_async_function_is_awaited(queue, clock):
    """In an event loop of its own."""

    @queue.task("payments")
    async def charge(job, amount):
        await asyncio.sleep(0)
        return amount

    job = charge.later(3)
    drain(queue, clock)

    assert queue.find(job.id).result == "3"


def test_coroutines_of_all_jobs_share_an_event_loop(queue, clock):
    """A client that one job has opened serves the next; what a job raises ends no more than the job."""
    loops = []
    endings = [None, SystemExit(), asyncio.CancelledError(), None]

    @queue.task("payments")
    async def charge(job):
        loops.append(asyncio.get_running_loop())
        ending = endings[len(loops) - 1]
        if ending is not None:
            raise ending

    jobs = [charge.later() for _ in endings]
    for _ in endings:
        with suppress(SystemExit, asyncio.CancelledError):
            drain(queue, clock)
        clock.advance(0.01)

    assert len(set(loops)) == 1
    assert [queue.find(job.id).state for job in jobs] == ["done", "queued", "queued", "done"]


def test_a_fork_s_child_has_an_event_loop_of_its_own(queue, clock):
    """The parent's thread is not there."""

    @queue.task("payments")
    async def charge(job):
        await asyncio.sleep(0)

    charge.later()
    drain(queue, clock)
    job = charge.later()
    child = os.fork()
    if child == 0:
        try:
            clock.advance(0.01)
            drain(queue, clock)
            os._exit(0)
        except BaseException:
            os._exit(1)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert queue.find(job.id).state == JobState.DONE
    charge.later()
    clock.advance(0.01)
    drain(queue, clock)
    assert queue.depth().done == 3


def test_nothing_runs_while_the_circuit_is_open(queue, clock, payments):
    """The job waits, unwritten and uncounted, and runs as the probe when one is due."""
    script, charge = scripted(queue)
    job = charge.later()
    fail(payments, 2)

    drain(queue, clock)
    assert (script.calls, queue.find(job.id).attempts) == ([], 0)
    clock.advance(10)
    drain(queue, clock)

    assert len(script.calls) == 1
    assert payments.state == "closed"


def test_a_worker_rests_while_the_circuit_is_open(queue, clock, payments):
    """It does not ask on and on: each question would count as a refused call."""
    _, charge = scripted(queue)
    charge.later()
    fail(payments, 2)
    worker = Worker(queue, threads=0, clock=clock)

    for _ in range(20):
        worker.step()

    assert payments.snapshot().rejected == {"open": 1}


def test_a_failure_is_tried_again_with_the_same_key_and_backoff(queue, clock):
    """What the breaker counts as a failure says nothing about the job."""
    script, charge = scripted(queue, Boom(), "paid")
    job = charge.later()

    drain(queue, clock)
    record = queue.find(job.id)
    assert (record.state, record.error) == (JobState.QUEUED, "Boom")
    assert 0.7 <= record.due_in <= 1
    clock.advance(1)
    drain(queue, clock)

    assert [(key, attempt) for key, attempt, *_ in script.calls] == [(job.key, 1), (job.key, 2)]
    assert queue.find(job.id).state == JobState.DONE


def test_a_failure_counts_in_its_breaker(queue, clock, payments):
    """Two failing jobs open the circuit, and the others stay where they are."""
    script, charge = scripted(queue, *[Boom()] * 9)
    for _ in range(5):
        charge.later()

    drain(queue, clock)

    assert payments.state == "open"
    assert len(script.calls) == 2
    assert queue.depth().queued == 5


def test_a_breaker_used_inside_counts_once(queue, clock, payments):
    """The job's calls ride on its permit: it is no second failure, nor does a probe starve."""

    @queue.task("payments")
    def charge(job):
        with payments.calling():
            raise Boom

    charge.later()
    drain(queue, clock)
    assert payments.snapshot().consecutive_failures == 1
    fail(payments)
    clock.advance(10)
    drain(queue, clock)

    assert payments.snapshot().failures == 3
    assert payments.snapshot().rejected == {}


def test_a_retry_after_is_obeyed(queue, clock):
    """The dependency says when to come back."""
    _, charge = scripted(queue, Refused(503, **{"Retry-After": "42"}))
    job = charge.later()

    drain(queue, clock)

    assert queue.find(job.id).due_in == 42


def test_a_refusal_inside_is_no_attempt(queue, clock, payments):
    """Another breaker's refusal puts the job back, until that one may be asked again."""
    from recloser import CircuitBreaker

    stock = CircuitBreaker("stock", clock=clock, failure_threshold=1, recovery_timeout=30, recovery_jitter=0)
    fail(stock)

    @queue.task("payments")
    def charge(job):
        stock.call(print)

    job = charge.later()
    drain(queue, clock)

    record = queue.find(job.id)
    assert (record.state, record.attempts, record.due_in) == (JobState.QUEUED, 0, 30)
    assert payments.snapshot().failures == 0


def test_a_mode_that_an_operator_may_end_is_asked_again_within_minutes(queue, clock, payments):
    """However long it is to last: a worker that is told of jobs, and a refusal inside."""
    from recloser import CircuitBreaker

    stock = CircuitBreaker("stock", clock=clock, wall_clock=clock.of_day)
    until = datetime.fromtimestamp(clock.wall + 86_400, UTC)
    stock.force_open(by="ann", reason="inventory", until=until)
    charge = queue.task("payments", name="charge")(lambda job: stock.call(print))
    job = charge.later()

    drain(queue, clock)
    assert queue.find(job.id).due_in == 300
    payments.force_open(by="ann", reason="migration", until=until)
    clock.advance(300)

    assert queue.run(job.id) <= 301


@pytest.mark.parametrize("status", [400, 402, 404, 422])
def test_an_answer_that_blames_the_request_ends_the_job(queue, clock, payments, status):
    """A declined card is declined tomorrow too; the service is well."""
    script, charge = scripted(queue, Refused(status))
    job = charge.later()

    drain(queue, clock)

    record = queue.find(job.id)
    assert (record.state, record.error) == (JobState.FAILED, f"Refused: {status}")
    assert (len(script.calls), payments.snapshot().failures) == (1, 0)


def test_answers_that_may_change_do_not():
    """Conflict, too early, too many: another attempt may succeed."""
    assert not any(is_final(Refused(status)) for status in (200, 408, 409, 425, 429, 500, 503))
    assert not is_final(Boom())
    assert is_final(type("Aiohttp", (Exception,), {"status_code": 410})())


def test_an_error_that_the_breaker_does_not_count_ends_the_job(make, clock):
    """A bug in the task is for a person, not for a hundred attempts."""
    from recloser import CircuitBreaker

    queue = make()
    queue.breakers = {"stock": CircuitBreaker("stock", failure_on=(OSError,))}
    job = queue.task("stock", name="t")(Script(ZeroDivisionError("oops"))).later()

    drain(queue, clock)

    assert queue.find(job.id).error == "ZeroDivisionError: oops"


@pytest.mark.parametrize(
    "error",
    [json.JSONDecodeError("no", "", 0), KeyError("quantity"), TypeError(), UnicodeError(), RecursionError()],
    ids=lambda error: type(error).__name__,
)
def test_an_error_about_values_ends_the_job_and_blames_no_service(queue, clock, payments, error):
    """Whoever may submit cannot hold the circuit open with bodies that no job can read."""
    script, charge = scripted(queue, *[error] * 3)
    jobs = [charge.later().id for _ in range(3)]

    drain(queue, clock)

    assert {queue.find(job).state for job in jobs} == {JobState.FAILED}
    assert (payments.state, payments.snapshot().failures, len(script.calls)) == ("closed", 0, 3)


def test_an_error_about_values_after_a_failure_inside_is_tried_again(queue, clock, payments):
    """It comes of what the dependency answered, which its breaker has counted."""

    @queue.task("payments")
    def charge(job):
        try:
            with payments.calling():
                raise OSError
        except OSError:
            raise ValueError("no receipt") from None

    job = charge.later()
    drain(queue, clock)

    assert queue.find(job.id).state == JobState.QUEUED
    assert payments.snapshot().failures == 1


def test_a_policy_that_names_an_error_about_values_counts_it(make, clock):
    """Some clients raise nothing else."""
    from recloser import CircuitBreaker

    queue = make()
    queue.breakers = {"stock": CircuitBreaker("stock", failure_on=(ValueError,))}
    job = queue.task("stock", name="t")(Script(ValueError("no answer"))).later()

    drain(queue, clock)

    assert queue.find(job.id).state == JobState.QUEUED
    assert queue.breakers["stock"].snapshot().failures == 1


def test_a_job_that_is_too_old_is_given_up(make, clock):
    """While its circuit stays open, and when its next attempt would come too late."""
    queue = make(max_age=60, rate=1000.0)
    script, charge = scripted(queue, Boom())
    job = charge.later()
    drain(queue, clock)

    clock.advance(61)
    drain(queue, clock)

    record = queue.find(job.id)
    assert (record.state, len(script.calls)) == (JobState.FAILED, 1)
    assert record.error == "older than the queue's max_age; Boom"


def test_an_old_job_is_given_up_at_the_claim_too(make, clock):
    """Between two looks of the housekeeper nothing too old is run."""
    queue = make(max_age=3, rate=1000.0)
    script, charge = scripted(queue)
    worker = Worker(queue, threads=0, clock=clock)
    worker.step()
    job = charge.later()
    clock.advance(4)

    worker.step()

    assert (script.calls, queue.find(job.id).state) == ([], JobState.FAILED)


def test_a_given_up_job_can_be_replayed_or_dropped(make, clock):
    """Replayed it is as new, with the key that it had."""
    queue = make(max_age=60, rate=1000.0)
    script, charge = scripted(queue, Refused(402), Refused(402), "paid")
    first, second = charge.later(1), charge.later(2)
    drain(queue, clock)
    clock.advance(3600)

    assert queue.table.replay([first.id, "nobody"]) == [first.id]
    drain(queue, clock)
    assert queue.table.drop(None) == [second.id]

    assert queue.find(first.id).state == JobState.DONE
    assert queue.find(second.id) is None
    assert [key for key, *_ in script.calls] == [first.id, second.id, first.id]


def test_jobs_begin_at_a_bounded_rate(make, clock):
    """However long the backlog and however many the workers, a recovering service is not drowned."""
    queue = make(rate=2.0)
    script, charge = scripted(queue)
    for _ in range(10):
        charge.later()
    workers = [Worker(queue, threads=0, clock=clock) for _ in range(3)]

    begun = []
    for _ in range(30):
        for worker in workers:
            before = len(script.calls)
            worker.step()
            begun += [clock.now] * (len(script.calls) - before)
        clock.advance(0.1)

    assert len(begun) == 6
    assert all(later - earlier >= 0.49 for earlier, later in pairwise(begun))


def test_a_lease_that_runs_out_gives_the_job_to_another(make, clock):
    """A worker that was killed leaves nothing behind but its lease."""
    queue = make(rate=1000.0, lease=30)
    script, charge = scripted(queue)
    job = charge.later()
    record, _ = queue.table.claim(["charge"], "payments", lease=30, every=0.001)

    drain(queue, clock)
    assert (record.attempts, script.calls) == (1, [])
    clock.advance(30)
    drain(queue, clock)

    assert [attempt for _, attempt, *_ in script.calls] == [2]
    assert queue.find(job.id).state == JobState.DONE


def lose(queue, clock, *, name=None):
    """Begin a job that is due, and hear no more of it until its lease has ended."""
    record, _ = queue.table.claim(["charge"], "payments", name=name, lease=30, every=0.001)
    clock.advance(30)
    return record


def test_a_job_that_is_lost_three_times_is_given_up(make, clock, caplog):
    """It may be what kills its workers: its client and the operators hear of it, and may have it tried again."""
    queue = make(rate=1000.0, lease=30)
    script, charge = scripted(queue)
    job = charge.later()
    for _ in range(3):
        lose(queue, clock)
    assert queue.find(job.id).state == JobState.RUNNING
    drain(queue, clock)

    given_up = queue.find(job.id)
    assert (given_up.state, given_up.attempts, script.calls) == (JobState.FAILED, 3, [])
    assert "begun 3 times, and its worker went without a word" in given_up.error
    assert f"job {job.id} of 'charge' is given up" in caplog.text
    assert json.loads(describe(queue, "GET", job.id).body) == {"id": job.id, "state": "failed", "attempts": 3}

    queue.table.replay(None)
    drain(queue, clock)
    assert queue.find(job.id).state == JobState.DONE


def test_only_losses_in_a_row_count(make, clock):
    """An attempt that ended, however badly, did not kill its worker."""
    queue = make(rate=1000.0, lease=30)
    _, charge = scripted(queue, Boom())
    job = charge.later()
    for _ in range(2):
        lose(queue, clock)
    drain(queue, clock)
    clock.advance(400)
    for _ in range(3):
        lose(queue, clock)
    assert (queue.find(job.id).state, queue.find(job.id).attempts) == (JobState.RUNNING, 6)
    queue.table.complete(job.id, "1")
    assert queue.find(job.id).unfinished == 0


def test_lost_jobs_are_begun_one_at_a_time(make, clock):
    """The one that kills its worker takes none of those with it again that were lost beside it; others go on."""
    queue = make(rate=1000.0, lease=30)
    script, charge = scripted(queue)
    lost = [charge.later().id for _ in range(2)]
    for name in lost:
        queue.table.claim(["charge"], "payments", name=name, lease=30, every=0.001)
        clock.advance(0.01)
    clock.advance(30)

    one, _ = queue.table.claim(["charge"], "payments", lease=30, every=0.001)
    clock.advance(0.01)
    (other,) = {*lost} - {one.id}
    assert queue.waiting() == []
    assert queue.run(other) >= 1
    fresh = charge.later()
    drain(queue, clock)
    assert [key for key, *_ in script.calls] == [fresh.key]

    queue.table.complete(one.id, "1")
    clock.advance(5)
    drain(queue, clock)
    assert queue.find(other).state == JobState.DONE


def test_a_late_success_counts_and_a_late_failure_does_not(make, clock):
    """Whoever took over may be done already."""
    queue = make(rate=1000.0, lease=30)
    _, charge = scripted(queue)
    job = charge.later()
    _, late = queue.table.claim(["charge"], "payments", lease=30, every=0.001)
    clock.advance(31)
    _, own = queue.table.claim(["charge"], "payments", lease=30, every=0.001)

    queue.table.put_back(job.id, late, delay=99, error="late")
    queue.table.give_up(job.id, late, "late")
    assert queue.find(job.id).state == JobState.RUNNING
    queue.table.complete(job.id, '"late"')
    queue.table.give_up(job.id, own, "own")

    assert queue.find(job.id).result == '"late"'


@pytest.mark.parametrize(
    "result",
    [object(), "x" * 200_000, {"rate": float("nan")}],
    ids=["no object", "too long", "no number of JSON"],
)
def test_a_result_that_cannot_be_kept_is_no_failure(queue, clock, caplog, result):
    """The work is done; only its receipt is missing, and the log says so."""
    _, charge = scripted(queue, result)
    job = charge.later()

    with caplog.at_level(logging.ERROR, "recloser"):
        drain(queue, clock)

    record = queue.find(job.id)
    assert (record.state, record.result) == (JobState.DONE, "null")
    assert "result" in caplog.text


def test_what_is_done_while_the_file_cannot_be_written_is_not_done_again(make, clock, monkeypatch):
    """Somebody holds its lock, or the disk is full: the receipt is written as soon as it can be."""
    monkeypatch.setattr("recloser.deferred.attempt.RECEIPT_PAUSES", (0.0, 0.0, 0.0))
    queue = make(lease=30, rate=1000.0)
    script, charge = scripted(queue)
    job = charge.later()
    complete, tries = queue.table.complete, []

    def locked(*arguments):
        tries.append(1)
        if len(tries) < 4:
            raise sqlite3.OperationalError("database is locked")
        complete(*arguments)

    queue.table.complete = locked
    drain(queue, clock)
    clock.advance(31)
    drain(queue, clock)

    assert len(script.calls) == 1
    assert queue.find(job.id).state is JobState.DONE


def test_what_can_never_be_noted_is_left_to_the_lease(make, clock, monkeypatch):
    """At least once: a worker is not held up for ever."""
    monkeypatch.setattr("recloser.deferred.attempt.RECEIPT_PAUSES", (0.0,))
    queue = make(lease=30, rate=1000.0)
    _, charge = scripted(queue)
    job = charge.later()

    def full(*_):
        raise sqlite3.OperationalError("database or disk is full")

    queue.table.complete = full
    with pytest.raises(QueueError, match="disk is full"):
        drain(queue, clock)
    assert queue.find(job.id).state is JobState.RUNNING


def test_what_ends_the_process_puts_the_job_back(queue, clock):
    """It is passed on; the job waits for the next process."""
    _, charge = scripted(queue, KeyboardInterrupt())
    job = charge.later()

    with pytest.raises(KeyboardInterrupt):
        drain(queue, clock)

    record = queue.find(job.id)
    assert (record.state, record.error) == (JobState.QUEUED, "KeyboardInterrupt")


def test_the_depth_counts_jobs_by_state_and_tells_the_oldest(queue, clock):
    """For metrics and pages."""
    assert queue.depth() == Depth()
    _, charge = scripted(queue, "paid", Refused(402))
    charge.later()
    charge.later()
    drain(queue, clock)
    charge.later()
    clock.advance(5)
    queue.table.claim(["charge"], "payments", lease=9, every=0.001)
    clock.advance(2)
    charge.later()

    assert queue.depth() == Depth(queued=1, running=1, done=1, failed=1, oldest=7)


def test_done_jobs_are_forgotten_in_time(make, clock):
    """Given-up ones are not: they wait for a person."""
    queue = make(keep=100, rate=1000.0)
    _, charge = scripted(queue, "paid", Refused(402))
    done, failed = charge.later(), charge.later()
    drain(queue, clock)
    clock.advance(101)
    drain(queue, clock)

    assert queue.find(done.id) is None
    assert queue.find(failed.id) is not None


def test_a_week_of_done_jobs_is_forgotten_bit_by_bit(make, clock, monkeypatch):
    """As after a week without a worker: one long transaction would hold up those who submit."""
    monkeypatch.setattr("recloser.deferred.table.FORGOTTEN", 2)
    queue = make(keep=60, rate=1000.0)
    _, charge = scripted(queue)
    for _ in range(5):
        charge.later()
    drain(queue, clock)
    clock.advance(61)
    left = []
    for _ in range(3):
        queue.expire()
        left.append(queue.depth().done)

    assert left == [3, 1, 0]


def test_what_a_done_job_was_given_is_forgotten(queue, clock):
    """Only its result and its key are still asked for."""
    _, charge = scripted(queue, "paid")
    job = charge.later("4111 1111 1111 1111")
    assert "4111" in queue.find(job.id).payload

    drain(queue, clock)

    assert queue.find(job.id).payload == "{}"
    assert b"4111" not in dump(queue)


def test_given_up_jobs_cannot_fill_the_disk(make, clock, caplog):
    """As many as may wait are kept, the latest ones; the log tells of the others."""
    queue = make(max_jobs=2, rate=1000.0)
    _, charge = scripted(queue, *[Refused(402)] * 4)
    jobs = []
    for _ in range(4):
        jobs.append(charge.later().id)
        clock.advance(1)
        drain(queue, clock)
    clock.advance(10)
    drain(queue, clock)

    assert [queue.find(job) is not None for job in jobs] == [False, False, True, True]
    assert "given-up jobs were forgotten" in caplog.text


def test_a_call_that_is_refused_is_put_off(queue, clock, payments):
    """The fallback answers with the job; the function's own arguments come back later."""
    script, charge_later = scripted(queue)

    @payments.protect(fallback=charge_later)
    def charge(amount):
        return "now"

    assert charge(5) == "now"
    fail(payments, 2)
    job = charge(5)
    clock.advance(10)
    drain(queue, clock)

    assert script.calls == [(job.key, 1, (5,), {})]


@pytest.mark.anyio
async def test_a_refused_coroutine_call_is_put_off_in_a_thread(queue, payments):
    """Its event loop waits for no disk, under asyncio and trio."""
    _, charge_later = scripted(queue)

    @payments.protect(fallback=charge_later)
    async def charge(amount):
        return "now"

    fail(payments, 2)
    job = await charge(5)

    assert queue.find(job.id).state == JobState.QUEUED


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param


def test_a_call_that_cannot_be_put_off_was_refused_after_all(make, clock, payments, caplog):
    """A full queue, and arguments that JSON cannot write: the caller gets the refusal, the log the reason."""
    queue = make(max_jobs=1)
    _, charge_later = scripted(queue)

    @payments.protect(fallback=charge_later)
    def charge(amount):
        return "now"

    fail(payments, 2)
    with pytest.raises(CircuitOpenError):
        charge(object())
    charge(1)
    with pytest.raises(CircuitOpenError):
        charge(2)
    deep = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(CircuitOpenError):
        charge(deep)

    assert "not JSON serializable" in caplog.text
    assert "RecursionError" in caplog.text
    assert "is full: 1 jobs wait or run" in caplog.text


def test_a_worker_survives_whatever_its_jobs_raise(queue, caplog):
    """A task that ends its thread, and a file that cannot be used for a moment; SIGTERM's way out stays open."""
    ran = threading.Event()

    @queue.task("payments")
    def leaves(job):
        ran.set()
        raise SystemExit

    leaves.later()
    worker = Worker(queue, threads=1)
    worker.start()
    assert ran.wait(10)
    deadline = time.monotonic() + 10
    while "going on" not in caplog.text and time.monotonic() < deadline:
        time.sleep(0.01)
    [thread] = worker._threads
    alive = thread.is_alive()
    worker.stop()
    worker.join()

    assert alive
    assert "the worker met an error; going on" in caplog.text


def test_a_worker_tidies_up_around_each_job(queue, clock):
    """As Django lets go of old database connections around each request."""
    said = []
    queue.task("payments", name="charge")(lambda job: said.append("job")).later()
    worker = Worker(queue, threads=0, clock=clock, around=lambda: said.append("around"))

    worker.step()
    worker.step()

    assert said == ["around", "job", "around"]


def test_a_worker_waits_for_a_file_that_cannot_be_used(queue, caplog, monkeypatch):
    """It says so once, however long that lasts, and tries again."""
    monkeypatch.setattr("recloser.deferred.worker.AFTER_TROUBLE", 0.01)
    script, charge = scripted(queue)
    charge.later()
    broken = queue.table.waiting
    tries = []

    def waiting(tasks):
        tries.append(1)
        if len(tries) < 5:
            raise sqlite3.OperationalError("disk I/O error")
        return broken(tasks)

    queue.table.waiting = waiting
    worker = Worker(queue, threads=1)
    worker.start()
    deadline = time.monotonic() + 10
    while not script.calls and time.monotonic() < deadline:
        time.sleep(0.01)
    worker.stop()
    worker.join()

    assert len(script.calls) == 1
    assert caplog.text.count("the worker cannot use its queue; trying again") == 1


def test_jobs_follow_their_task_to_another_breaker(make, clock, payments):
    """A deployment may rename a breaker, or give a task another: jobs that wait run under it, and hold up no other."""
    before = make(rate=1000.0)
    _, charge = scripted(before)
    told, kept = charge.later(), charge.later()
    after = make(rate=1000.0)
    after.breakers = {"payments-api": payments, "mail": CircuitBreaker("mail", clock=clock)}
    script = Script()
    after.task("payments-api", name="charge")(script)
    mail = after.task("mail")(lambda job: "sent").later()

    assert after.run(told.id) is None
    clock.advance(0.01)
    drain(after, clock)

    assert len(script.calls) == 2
    assert [after.find(job.id).state for job in (told, kept, mail)] == [JobState.DONE] * 3


def test_the_longest_due_goes_first_whatever_its_breaker(make, clock, payments):
    """A breaker whose jobs never end starves no other."""
    queue = make(rate=1000.0)
    order = []
    queue.breakers = {"payments": payments, "mail": CircuitBreaker("mail", clock=clock)}
    tasks = [
        queue.task(name, name=name)(lambda job: order.append(job.record.task)) for name in queue.breakers
    ]
    for task in (*tasks, *tasks):
        clock.advance(1)
        task.later()
    drain(queue, clock)

    assert order == ["payments", "mail"] * 2
