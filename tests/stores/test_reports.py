"""Heartbeats: what a view of the fleet reads of them, and what it need not read again."""

from __future__ import annotations

from recloser.core.state import Epoch, Mode, State
from recloser.stores.unreadable import KEPT, Unreadable
from recloser.stores.view import REPORTS_KEPT, Belief, Reports, Worker, worker_to_text


def worker(number, calls=0):
    belief = Belief(Epoch(1, 255), State.OPEN, Mode.SHADOW, calls, last_failure="ConnectionError: no")
    return Worker(f"worker-{number}", "host", number, "1.0", 5.0, {"payments": belief})


def report(number, calls=0):
    return worker_to_text(worker(number, calls))


def workers(heard):
    return [each.worker for each in heard]


def test_a_worker_that_told_nothing_new_is_not_read_again_and_his_age_is_the_present_one():
    """A view costs what has changed; when a worker was heard of is never remembered."""
    reports = Reports(Unreadable("memory"))
    first = reports.heard([("1", report(1), 0.5), ("2", report(2), 0.7)])
    second = reports.heard([("1", report(1), 1.5), ("2", report(2, calls=9), 0.1)])
    assert second[0].worker is first[0].worker
    assert second[1].worker.beliefs["payments"].calls == 9
    assert [each.ago for each in second] == [1.5, 0.1]


def test_what_is_remembered_is_bounded():
    """Workers come and go, and very large fleets are read each time beyond the bound; nobody is left out."""
    reports = Reports(Unreadable("memory"))
    told = [(str(number), report(number), 0.0) for number in range(REPORTS_KEPT + 2)]
    first, second = reports.heard(told), reports.heard(told)
    same = [one.worker is other.worker for one, other in zip(first, second, strict=True)]
    assert workers(first) == workers(second)
    assert same == [True] * REPORTS_KEPT + [False] * 2
    reports.heard([])
    assert reports.heard(told[:1])[0].worker is not first[0].worker


def test_what_cannot_be_read_is_never_mistaken_for_what_is_known(caplog):
    """It is left out each time, and named once; the memory of that is bounded, too."""
    unreadable = Unreadable("memory")
    reports = Reports(unreadable)
    for _ in range(2):
        assert workers(reports.heard([("ann", "", 0.0), ("bob", report(2), 0.0)])) == [worker(2)]
    assert [record.args[0] for record in caplog.records] == ["ann"]
    reports.heard((f"worker-{number}", "", 0.0) for number in range(KEPT))
    assert len(caplog.records) == 1 + KEPT
    assert len(unreadable._told) <= KEPT
