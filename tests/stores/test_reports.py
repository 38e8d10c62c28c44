"""Heartbeats: what a view of the fleet reads of them, and what it need not read again."""

from __future__ import annotations

import pytest

from recloser.core.state import Epoch, Mode, State
from recloser.stores.view import REPORTS_KEPT, Belief, Reports, Worker, worker_to_text


def report(number, calls=0):
    belief = Belief(Epoch(1, 255), State.OPEN, Mode.SHADOW, calls, last_failure="ConnectionError: no")
    return worker_to_text(Worker(f"worker-{number}", "host", number, "1.0", 5.0, {"payments": belief}))


def workers(heard):
    return [each.worker for each in heard]


def test_a_worker_that_told_nothing_new_is_not_read_again_and_his_age_is_the_present_one():
    """A view costs what has changed; when a worker was heard of is never remembered."""
    reports = Reports()
    first = reports.heard([(report(1), 0.5), (report(2), 0.7)])
    second = reports.heard([(report(1), 1.5), (report(2, calls=9), 0.1)])
    assert second[0].worker is first[0].worker
    assert second[1].worker.beliefs["payments"].calls == 9
    assert [each.ago for each in second] == [1.5, 0.1]


def test_what_is_remembered_is_bounded():
    """Workers come and go, and very large fleets are read each time beyond the bound; nobody is left out."""
    reports = Reports()
    told = [(report(number), 0.0) for number in range(REPORTS_KEPT + 2)]
    first, second = reports.heard(told), reports.heard(told)
    same = [one.worker is other.worker for one, other in zip(first, second, strict=True)]
    assert workers(first) == workers(second)
    assert same == [True] * REPORTS_KEPT + [False] * 2
    reports.heard([])
    assert reports.heard(told[:1])[0].worker is not first[0].worker


def test_a_report_that_is_none_is_an_error_each_time():
    """What cannot be read is not mistaken for what is known."""
    reports = Reports()
    for _ in range(2):
        with pytest.raises(ValueError, match="Expecting"):
            reports.heard([("", 0.0)])
