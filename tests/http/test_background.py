"""What happens off the response's path: bounded, in order, and never in a request's context."""

from __future__ import annotations

import threading
import time
from contextvars import ContextVar

import pytest

from recloser.http import background
from recloser.http.background import MAX_WAITING, MAX_WEIGHT, Background

name: ContextVar[str] = ContextVar("name", default="nobody")


class Gate:
    """Holds the one thread up until it is opened."""

    def __init__(self) -> None:
        self.background = Background("test", 1)
        self.entered = threading.Event()
        self.opened = threading.Event()
        self.background.run(self._wait)
        assert self.entered.wait(10)

    def _wait(self) -> None:
        self.entered.set()
        self.opened.wait(10)

    def finish(self) -> None:
        self.opened.set()
        self.background.begin(lambda: None).result(10)


@pytest.fixture
def gate():
    gate = Gate()
    yield gate
    gate.opened.set()


def test_functions_run_in_order_and_the_latest_of_a_key_only(gate):
    """At the place of the latest."""
    ran = []
    for number, key in enumerate(["a", "b", "a", None, None, "b"]):
        gate.background.run(lambda number=number: ran.append(number), key=key)
    gate.finish()
    assert ran == [2, 3, 4, 5]


def test_too_many_and_too_heavy_ones_are_dropped(gate):
    """Memory is bounded whatever hangs; what waits for a result is told so."""
    accepted = [gate.background.run(int) for _ in range(MAX_WAITING + 5)]
    assert accepted.count(True) == MAX_WAITING
    with pytest.raises(TimeoutError, match="test is busy"):
        gate.background.begin(int)
    other = Gate()
    try:
        assert [other.background.run(int, weight=MAX_WEIGHT // 2) for _ in range(3)] == [True, True, False]
    finally:
        other.opened.set()


def test_weight_is_given_back(gate):
    """By what has run, and by what a later one of the same key has replaced."""
    heavy = MAX_WEIGHT - 1
    assert gate.background.run(int, key="a", weight=heavy)
    assert gate.background.run(int, key="a", weight=heavy)
    assert not gate.background.run(int, key="b", weight=heavy)
    gate.finish()
    assert gate.background.run(int, key="b", weight=heavy)


def test_what_raises_is_logged_and_the_next_runs(gate, caplog):
    """The thread lives on."""
    gate.background.run(lambda: 1 / 0)
    assert gate.opened.set() is None
    assert gate.background.begin(lambda: 5).result(10) == 5
    assert "test failed: ZeroDivisionError" in caplog.text


def test_threads_do_not_inherit_a_request():
    """Nor would they keep it alive."""
    name.set("ann")
    assert Background("test", 1).begin(name.get).result(10) == "nobody"


def test_no_more_threads_than_allowed():
    """And none before they are needed."""
    before = threading.active_count()
    background = Background("counted", 2)
    assert threading.active_count() == before
    for _ in range(10):
        background.begin(lambda: None).result(10)
    assert sum(thread.name == "counted" for thread in threading.enumerate()) == 2


def test_idle_threads_end_and_others_begin_when_needed(monkeypatch):
    """Nothing is left of a cache that nobody uses any more."""
    monkeypatch.setattr(background, "IDLE", 0.01)
    idle = Background("idle", 2)
    for _ in range(2):
        assert idle.begin(lambda: 5).result(10) == 5
        end = time.monotonic() + 10
        while any(thread.name == "idle" for thread in threading.enumerate()):
            assert time.monotonic() < end
            time.sleep(0.01)


def test_a_thread_that_cannot_start_harms_nobody(monkeypatch, caplog):
    """As at the end of the interpreter."""

    def refuse(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    background = Background("test", 1)
    assert not background.run(int)
    with pytest.raises(TimeoutError):
        background.begin(int)
    assert "test cannot start" in caplog.text
