"""`recloser queue`: what a person sees of jobs, and does with those that were given up."""

from __future__ import annotations

import sys
import types

import pytest

from deferred.test_attempts import Refused, drain, scripted
from recloser import cli
from recloser.deferred import JobState


@pytest.fixture
def shop(make, clock, monkeypatch):
    """A module with a queue that holds a done job, a given-up one and one that waits."""
    queue = make(rate=1000.0)
    script, charge = scripted(queue, "paid", Refused(402))
    jobs = [charge.later().id for _ in range(2)]
    drain(queue, clock)
    script.steps.append(OSError())
    jobs.append(charge.later().id)
    drain(queue, clock)
    module = types.ModuleType("deferred_shop")
    module.queue, module.jobs, module.other = queue, jobs, object()
    monkeypatch.setitem(sys.modules, "deferred_shop", module)
    monkeypatch.setattr("sys.path", [*sys.path])
    return module


def run(*arguments: str) -> int:
    return cli.main(["queue", *arguments])


def test_jobs_are_listed_with_their_state_age_and_error(shop, clock, capsys):
    """One line each, the oldest first."""
    clock.advance(0.001)

    assert run("list", "deferred_shop:queue") == 0

    done, failed, waiting = capsys.readouterr().out.splitlines()
    assert done.startswith(f"{shop.jobs[0]}  done  charge  0 s old  1 attempt")
    assert failed.endswith("failed  charge  0 s old  1 attempt  Refused: 402")
    assert "queued  charge  0 s old  1 attempt  due in 1 s  OSError" in waiting


def test_a_state_may_be_asked_for(shop, capsys):
    """Those given up, say."""
    assert run("list", "deferred_shop:queue", "--state", "failed") == 0

    assert capsys.readouterr().out.startswith(shop.jobs[1])


def test_a_given_up_job_is_replayed(shop, clock, capsys):
    """Its workers are told."""
    words = []
    shop.queue.wake = lambda job, delay: words.append((job, delay))

    assert run("replay", "deferred_shop:queue", shop.jobs[1]) == 0

    assert capsys.readouterr().out == f"{shop.jobs[1]} queued again\n"
    assert words == [(shop.jobs[1], 0.0)]
    assert shop.queue.find(shop.jobs[1]).state == JobState.QUEUED


def test_no_job_is_mistaken_for_an_option(shop):
    """Their ids are of letters and digits alone."""
    assert all(shop.queue.tasks["charge"].later().id.isalnum() for _ in range(20))


def test_all_given_up_jobs_may_be_dropped(shop, capsys):
    """And no others."""
    assert run("drop", "deferred_shop:queue", "--all") == 0

    assert capsys.readouterr().out == f"{shop.jobs[1]} dropped\n"
    assert len(shop.queue.table.jobs()) == 2


def test_only_jobs_that_were_given_up_are_changed(shop, capsys):
    """Others are named, and the exit status says it."""
    assert run("drop", "deferred_shop:queue", shop.jobs[0]) == 1
    assert run("replay", "deferred_shop:queue") == 1

    told = capsys.readouterr().err
    assert f"not among the jobs that were given up: {shop.jobs[0]}" in told
    assert "recloser: queue replay needs ids, or --all" in told


def test_a_long_list_says_that_it_is_cut(shop, capsys, monkeypatch):
    """Nobody takes the first thousand for all."""
    monkeypatch.setattr("recloser.deferred.commands.LISTED", 2)

    assert run("list", "deferred_shop:queue") == 0

    assert capsys.readouterr().out.splitlines()[2:] == ["... only the 2 oldest are listed; choose by --state"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["work", "shop:queue", "--threads", "0"], "must be a positive number, got '0'"),
        (
            ["queue", "list", "shop:queue", "--state", "lost"],
            "choose from 'queued', 'running', 'done', 'failed'",
        ),
    ],
)
def test_wrong_options_say_what_would_be_right(arguments, complaint, capsys):
    """Before anything is opened."""
    with pytest.raises(SystemExit):
        cli.main(arguments)

    assert complaint.replace("'", "") in capsys.readouterr().err.replace("'", "")


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("deferred_shop:nothing", "must name something that exists"),
        ("deferred_shop:other", "must name a recloser.deferred.Queue, got a object"),
        ("queue", 'as "pkg.module:Name"'),
    ],
)
def test_what_is_no_queue_is_refused(shop, capsys, source, complaint):
    """With what would be one."""
    assert run("list", source) == 1

    assert complaint in capsys.readouterr().err


def test_a_queue_that_cannot_be_read_is_said_so(shop, capsys):
    """No traceback."""
    shop.queue.close()
    shop.queue.table.path.write_bytes(b"no database" * 100)

    assert run("list", "deferred_shop:queue") == 1

    assert "cannot be used: file is not a database" in capsys.readouterr().err


def test_a_queue_without_tasks_has_nothing_to_work_on(shop, capsys):
    """Somebody names it from the module that makes it, rather than the one that declares its tasks."""
    shop.queue.tasks.clear()

    assert cli.main(["work", "deferred_shop:queue"]) == 1
    assert "deferred_shop:queue has no tasks" in capsys.readouterr().err


def test_a_worker_names_the_tasks_that_it_does_not_know(shop, capsys):
    """A deployment has renamed one: its jobs must not wait unseen until they are too old."""
    shop.queue.tasks["charge_later"] = shop.queue.tasks.pop("charge")
    shop.queue.breakers = {}  # so that work ends before it begins

    with pytest.raises(KeyError, match="payments"):
        cli.main(["work", "deferred_shop:queue"])
    assert "jobs wait for tasks that are not declared here: charge\n" in capsys.readouterr().err
