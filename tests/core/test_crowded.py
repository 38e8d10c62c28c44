"""C11: outcomes that come faster than the one who is in the section takes them."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from core.acting import Boom, Clock, crowd
from core.conftest import Build
from recloser import Permit
from recloser.core import section
from recloser.core.section import CROWD

PATIENCE = 60.0


def hold(breaker_section: section.Section, meanwhile: Callable[[], None]) -> None:
    """Do something while another thread is in the section."""
    entered, leave = threading.Event(), threading.Event()

    def stay() -> None:
        entered.set()
        assert leave.wait(PATIENCE)

    holder = threading.Thread(target=breaker_section.look, args=(stay,))
    holder.start()
    try:
        assert entered.wait(PATIENCE)
        meanwhile()
    finally:
        leave.set()
        holder.join(PATIENCE)


def all_fail(permits: list[Permit]) -> None:
    for permit in permits:
        permit.failure(Boom())


def test_calls_are_let_in_again_before_all_is_taken(build: Build, clock: Clock):
    """A queue that never gets empty does not keep what was decided from those outside."""
    driver = build(duration_buckets=[1.0])._driver
    fast: list[bool] = []

    def outcome() -> None:
        fast.append(clock() < driver.machine.next_look)
        if len(fast) < 3:
            driver.queue(outcome)  # as another thread would, while this one is taken

    clock.advance(1)
    driver.queue(outcome)
    assert fast == [False, True, True]


@pytest.mark.parametrize("knobs", [{}, {"duration_buckets": [1.0]}], ids=["default", "durations"])
def test_the_queue_is_bounded(build: Build, knobs: dict[str, list[float]]):
    """However many threads fail without a pause, memory does not grow, nor is one of them kept for ever."""
    breaker = build(failure_threshold=10**9, **knobs)
    inbox, longest = breaker._driver._inbox, [0]

    def storm() -> None:
        for _ in range(4 * CROWD):
            breaker.acquire().failure(Boom())
            longest[0] = max(longest[0], len(inbox))

    crowd([storm] * 8)
    assert (breaker.snapshot().failures, len(inbox)) == (32 * CROWD, 0)
    assert longest[0] < 2 * CROWD


def test_few_outcomes_wait_for_nobody(build: Build, monkeypatch: pytest.MonkeyPatch):
    """Up to a thousand are left to whoever is in the section, however long that lasts."""
    monkeypatch.setattr(section, "GIVE_WAY", PATIENCE)
    breaker = build(failure_threshold=10**9)
    permits = [breaker.acquire() for _ in range(CROWD)]
    hold(breaker._driver, lambda: all_fail(permits))
    assert breaker.snapshot().failures == CROWD


def test_who_brings_more_gives_way(build: Build, monkeypatch: pytest.MonkeyPatch):
    """One more waits until the section is free, and is settled then."""
    monkeypatch.setattr(section, "GIVE_WAY", PATIENCE)
    breaker = build(failure_threshold=10**9)
    permits = [breaker.acquire() for _ in range(CROWD + 1)]
    settled = threading.Event()

    def settle() -> None:
        all_fail(permits)
        settled.set()

    settling = threading.Thread(target=settle)

    def meanwhile() -> None:
        settling.start()
        assert not settled.wait(0.2)

    hold(breaker._driver, meanwhile)
    settling.join(PATIENCE)
    assert breaker.snapshot().failures == CROWD + 1


def test_who_brings_more_waits_only_a_moment(build: Build):
    """A finaliser in the section may wait for him: he goes on, and leaves his outcomes to who is there."""
    breaker = build(failure_threshold=10**9)
    permits = [breaker.acquire() for _ in range(CROWD + 3)]
    hold(breaker._driver, lambda: all_fail(permits))
    assert breaker.snapshot().failures == CROWD + 3
