"""Degraded answers are counted by breaker and strategy: exactly, within bounds, and anew in each process."""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings

from recloser import Registry
from recloser.degradations import MAX_PAIRS, OTHERS, Degradations


def test_each_answer_is_counted_under_its_breaker_and_strategy():
    """What was counted so far is a snapshot: it does not change any more, nor can it be changed."""
    degraded = Registry({"BREAKERS": {"inventory": {}}}).degraded
    degraded.note("inventory", "stale")
    before = degraded.counts()
    degraded.note("inventory", "stale")
    degraded.note("inventory", "json")
    assert before == {("inventory", "stale"): 1}
    assert degraded.counts() == {("inventory", "stale"): 2, ("inventory", "json"): 1}
    assert not hasattr(before, "__setitem__")


def test_listeners_are_told_of_each_answer(caplog):
    """At once, in order and until they are removed; one that raises is logged, and harms nobody."""
    degraded, heard = Degradations(), []

    def broken(breaker, strategy):
        raise ValueError(strategy)

    degraded.add_listener(broken)
    remove = degraded.add_listener(lambda *told: heard.append(told))
    degraded.note("inventory", "stale")
    degraded.note("payments", "json")
    remove()
    degraded.note("inventory", "stale")

    assert heard == [("inventory", "stale"), ("payments", "json")]
    assert degraded.counts()["inventory", "stale"] == 2
    assert len(caplog.records) == 3
    assert "raised on a degraded answer" in caplog.records[0].getMessage()


def test_nothing_is_lost_under_threads():
    """Every one of 40,000 answers of 8 threads counts, also while others read."""
    degraded = Degradations()
    begin = threading.Barrier(9)
    interval = sys.getswitchinterval()

    def answer(number: int) -> None:
        begin.wait()
        for _ in range(5000):
            degraded.note(f"breaker-{number % 2}", "stale")

    threads = [threading.Thread(target=answer, args=(number,)) for number in range(8)]
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        begin.wait()
        read = [sum(degraded.counts().values()) for _ in range(200)]
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert read == sorted(read)
    assert degraded.counts() == {("breaker-0", "stale"): 20_000, ("breaker-1", "stale"): 20_000}


def test_names_are_bounded():
    """Breakers per origin come and go; past the bound their answers are counted together."""
    degraded = Degradations()
    for number in range(MAX_PAIRS + 5):
        degraded.note(f"host-{number}:80", "unavailable")
    degraded.note("host-0:80", "unavailable")
    counts = degraded.counts()
    assert len(counts) == MAX_PAIRS + 1
    assert counts[OTHERS, "unavailable"] == 5
    assert counts["host-0:80", "unavailable"] == 2


def test_a_forked_child_begins_at_zero():
    """Also if another thread was counting at that moment; the parent's counts stay."""
    degraded = Degradations()
    degraded.note("inventory", "stale")
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with degraded._lock:
            held.set()
            done.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(20)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
        child = os.fork()
    if child == 0:
        status = 1
        signal.alarm(20)
        try:
            before = dict(degraded.counts())
            degraded.note("inventory", "json")
            status = (before, degraded.counts()) != ({}, {("inventory", "json"): 1})
        finally:
            os._exit(status)
    done.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert degraded.counts() == {("inventory", "stale"): 1}
