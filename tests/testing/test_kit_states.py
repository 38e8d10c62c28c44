"""The kit puts breakers into states, and moves their time."""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from recloser import CircuitBreaker, CircuitOpenError, Mode, Registry, StateChanged
from recloser.testing import Breakers, Clock, isolated


def ask(breaker: CircuitBreaker) -> str:
    return breaker.call(lambda: "answer")


def test_an_opened_circuit_refuses_until_the_block_ends(breakers: Breakers, depot: CircuitBreaker):
    """Refusals are those of a circuit that has just tripped."""
    with breakers.open("depot"):
        with pytest.raises(CircuitOpenError) as refusal:
            ask(depot)
        assert (refusal.value.breaker, refusal.value.reason, refusal.value.retry_after) == (
            "depot",
            "open",
            30,
        )
    assert depot.state == "closed"
    assert ask(depot) == "answer"


def test_a_change_takes_effect_at_once_and_lasts_to_the_end_of_the_test(
    breakers: Breakers, depot: CircuitBreaker
):
    """No block is needed, and `undo` ends it earlier."""
    change = breakers.open(depot)
    assert depot.state == "open"
    change.undo()
    change.undo()
    assert depot.state == "closed"


def test_an_opened_circuit_recovers_as_time_moves(breakers: Breakers, depot: CircuitBreaker):
    """Its open period is its policy's; then a probe decides."""
    breakers.open("depot")
    breakers.clock.advance(29.9)
    with pytest.raises(CircuitOpenError) as refusal:
        ask(depot)
    assert refusal.value.retry_after == pytest.approx(0.1)
    breakers.clock.advance(0.1)
    assert ask(depot) == "answer"
    assert depot.state == "closed"


def test_an_open_period_has_no_jitter_in_tests(breakers: Breakers):
    """It ends when the policy says, every time; a source of chance that a test gives is its own affair."""
    for number in range(20):
        breaker = CircuitBreaker(f"depot{number}", recovery_timeout=30)
        breakers.open(breaker)
        assert breaker.snapshot().retry_after == 30
    early = CircuitBreaker("early", recovery_timeout=30, recovery_jitter=0.1, random=lambda: 0.0)
    breakers.open(early)
    assert early.snapshot().retry_after == 27


def test_half_open_the_next_call_is_the_probe(breakers: Breakers, depot: CircuitBreaker):
    """And the one beside it is refused."""
    breakers.half_open("depot")
    probe = depot.acquire()
    with pytest.raises(CircuitOpenError):
        depot.acquire()
    probe.failure()
    assert depot.state == "open"


def test_closed_lifts_what_was_forced(breakers: Breakers, depot: CircuitBreaker):
    """And puts it back."""
    depot.force_open(by="ann", reason="migration")
    with breakers.closed("depot"):
        assert ask(depot) == "answer"
    assert (depot.state, depot.mode.mode) == ("open", Mode.FORCED_OPEN)
    with pytest.raises(CircuitOpenError):
        ask(depot)


def test_changes_are_undone_from_the_innermost_outwards(breakers: Breakers, depot: CircuitBreaker):
    """Each restores the state that it found, deadlines included."""
    with breakers.open("depot"):
        breakers.clock.advance(10)
        with breakers.half_open("depot"):
            assert depot.state == "half_open"
        assert depot.state == "open"
        assert depot.snapshot().retry_after == 20
        with pytest.raises(CircuitOpenError) as refusal:
            ask(depot)
        assert refusal.value.retry_after == 20
    with breakers.half_open("depot"), breakers.closed("depot"):
        assert depot.state == "closed"
    assert depot.state == "closed"


def test_time_stands_still_unless_it_is_moved(breakers: Breakers):
    """Breakers, their registry's time of day, and the clock itself."""
    breaker = CircuitBreaker("slow", slow_call_duration=1, slow_call_rate_threshold=0.5, minimum_calls=1)
    before = breakers.clock(), breakers.clock.of_day()
    breakers.open(breaker)
    waits = set()
    for _ in range(2):
        with pytest.raises(CircuitOpenError) as refusal:
            breaker.acquire()
        waits.add(refusal.value.retry_after)
        time.sleep(0.01)  # real time, which must not show
    assert len(waits) == 1
    assert (breakers.clock(), breakers.clock.of_day()) == before
    breakers.clock.advance(60)
    assert (breakers.clock() - before[0], breakers.clock.of_day() - before[1]) == pytest.approx((60, 60))


def test_the_end_of_a_mode_comes_with_the_clock(breakers: Breakers, depot: CircuitBreaker):
    """The time of day moves too."""
    depot.force_open(by="ann", reason="migration", until=time.time() + 60)
    breakers.clock.advance(50)
    assert depot.state == "open"
    breakers.clock.advance(11)
    assert depot.state == "closed"


def test_a_clock_that_a_test_made_goes_on(breakers: Breakers):
    """The kit's clock moves what reads it as well."""
    own = Clock()
    breaker = CircuitBreaker("own", failure_threshold=1, recovery_timeout=30, recovery_jitter=0, clock=own)
    breaker.acquire().failure()
    own.advance(20)
    assert breaker.snapshot().retry_after == 10
    breakers.clock.advance(5)
    assert breaker.snapshot().retry_after == 5


def test_the_kits_own_clock_given_to_a_registry_moves_it_once(breakers: Breakers):
    """Both ways to give time to breakers may meet."""
    clock = breakers.clock
    with Registry(
        {"BREAKERS": {"own": {"recovery_timeout": 30}}}, clock=clock, wall_clock=clock.of_day
    ) as own:
        clock.advance(5)
        breakers.open("own")
        clock.advance(20)
        assert own["own"].snapshot().retry_after == 10
        own["own"].force_open(by="ann", reason="drill", until=clock.of_day() + 60)
        clock.advance(59)
        assert own["own"].mode.mode is Mode.FORCED_OPEN
        clock.advance(1)
        assert own["own"].mode.mode is Mode.AUTO


def test_a_clock_may_be_given_to_a_registry():
    """It is a clock like any other."""
    clock = Clock()
    with Registry(
        {"BREAKERS": {"own": {"recovery_timeout": 7}}}, clock=clock, wall_clock=clock.of_day
    ) as registry:
        registry["own"].force_open(by="ann", reason="drill", until=clock.of_day() + 3)
        clock.advance(3)
        assert registry["own"].state == "closed"


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf")])
def test_a_clock_only_moves_forward(breakers: Breakers, seconds: float):
    """Monotonic time is what it stands for."""
    with pytest.raises(ValueError, match="forward"):
        breakers.clock.advance(seconds)


def test_events_are_recorded_in_order(breakers: Breakers, depot: CircuitBreaker):
    """Also those of breakers that the test makes itself."""
    breakers.open("depot")
    made = CircuitBreaker("made")
    breakers.half_open(made)
    changes = [(event.breaker, event.new) for event in breakers.events if isinstance(event, StateChanged)]
    assert changes == [("depot", "open"), ("made", "half_open")]
    with pytest.raises(CircuitOpenError):
        depot.acquire()
    assert type(breakers.events[-1]).__name__ == "CallRejected"


def test_what_an_earlier_test_forgot_takes_no_part(breakers: Breakers, depot: CircuitBreaker):
    """A breaker of the same name in a cycle that nobody has collected yet changes nothing, and is not heard."""
    gc.disable()
    try:
        forgotten = [CircuitBreaker("depot")]
        forgotten.append(forgotten)
        del forgotten
        breakers.open("depot")
    finally:
        gc.enable()
    assert [event.breaker for event in breakers.events] == ["depot"]
    assert depot.state == "open"


def test_a_name_that_nobody_has_is_an_error_with_a_hint(breakers: Breakers, depot: CircuitBreaker):
    """Nothing is created by a mistyped name."""
    with pytest.raises(LookupError, match=r"'deppot' \(did you mean 'depot'\?\)"):
        breakers.open("deppot")
    with pytest.raises(LookupError, match=r"'xyz'; there are \[.*'depot'"):
        breakers.open("xyz")


def test_a_name_stands_for_every_breaker_that_has_it(breakers: Breakers, depot: CircuitBreaker):
    """Applications under test may have been made twice; only a question needs one answer."""
    twin = CircuitBreaker("depot")
    breakers.open("depot")
    assert (depot.state, twin.state) == ("open", "open")
    with pytest.raises(LookupError, match="2 breakers are named 'depot'"):
        breakers.state("depot")
    assert breakers.state(twin) == "open"


def test_a_breaker_of_an_application_that_is_gone_is_in_nobodys_way(
    breakers: Breakers, depot: CircuitBreaker
):
    """Garbage that is not collected yet has no name."""
    registry = Registry({"BREAKERS": {"depot": {}}})
    registry.itself = registry  # type: ignore[attr-defined]
    del registry
    assert breakers.state("depot") == "closed"


class Deaf:
    """A fleet's lead that does nothing."""

    begun = True

    def begin(self) -> None: ...

    def wake(self, name: str) -> None: ...


def test_a_breaker_that_a_fleet_leads_is_left_alone(breakers: Breakers):
    """What a test does to it would reach the fleet."""
    led = CircuitBreaker("led", lead=Deaf())
    with pytest.raises(RuntimeError, match="leave STORE out"):
        breakers.open("led")
    assert led.state == "closed"


@pytest.fixture
def shared() -> Iterator[CircuitBreaker]:
    breaker = CircuitBreaker(
        "shared", failure_threshold=3, slow_call_duration=1, slow_call_rate_threshold=0.9
    )
    yield breaker
    assert breaker.state == "closed"


def test_a_breaker_is_given_back_as_new(shared: CircuitBreaker):
    """Closed, in automatic mode, without counts, on its own clock and its own fast path."""
    driver = shared._driver
    before = type(driver), driver.clock, driver.wall_clock, driver.machine._clock
    shared.acquire().failure()
    heard: list[object] = []
    silence = shared.add_listener(heard.append)
    with isolated() as breakers:
        assert shared.snapshot().failures == 0
        assert shared.recorder is None
        breakers.clock.advance(3600)
        breakers.inject("shared", OSError)
        breakers.open("shared")
        shared.force_closed(by="ann", reason="drill")
        mode = len(heard)
    assert len(heard) == mode  # what the kit undoes is no news of the dependency
    silence()
    assert shared.snapshot().calls == shared.snapshot().opened == 0
    assert shared.mode.mode is Mode.AUTO
    assert (type(driver), driver.clock, driver.wall_clock, driver.machine._clock) == before
    assert shared.recorder is not None
    assert driver.delivery.listeners == ()
    assert shared.call(lambda: 1) == 1
    assert shared.snapshot().calls == 1


def test_a_decorated_function_goes_on_after_the_kit(shared: CircuitBreaker):
    """Wrappers that were made before, or while, it was held find its own clock again."""
    slow = CircuitBreaker(
        "rolling", failure_rate_threshold=0.5, slow_call_duration=5, slow_call_rate_threshold=0.5
    )
    before = slow(lambda: 1)
    with isolated() as breakers:
        within = slow(lambda: 2)
        breakers.clock.advance(100)
        assert (before(), within()) == (1, 2)
    assert (before(), within()) == (1, 2)
    assert (slow.snapshot().calls, slow.snapshot().slow) == (2, 0)
    assert slow.state == "closed"


def test_a_function_decorated_in_a_test_is_timed_after_it():
    """An application imported by its first test is used by all others."""
    own = Clock()
    slow = CircuitBreaker(
        "slow", slow_call_duration=2, slow_call_rate_threshold=0.5, minimum_calls=1, clock=own
    )
    with isolated() as breakers:
        breakers.clock.advance(100)
        ask = slow(lambda: own.advance(3))
    breakers.clock.advance(100)
    ask()
    assert slow.state == "open"
    real = CircuitBreaker("real", slow_call_duration=0.01, slow_call_rate_threshold=0.5, minimum_calls=1)
    with isolated():
        ask = real(lambda: time.sleep(0.02))  # slow by the real clock
    ask()
    assert real.state == "open"


def test_a_thread_that_outlives_its_test_meets_no_trace_of_it(depot: CircuitBreaker):
    """A live server goes on serving while breakers are taken in hand and given back."""
    over, errors = threading.Event(), []

    def serve() -> None:
        while not over.is_set():
            try:
                depot.call(lambda: 1)
            except Exception as error:
                errors.append(error)

    servers = [threading.Thread(target=serve) for _ in range(3)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for server in servers:
            server.start()
        end = time.monotonic() + 2
        for turn in range(100):
            if turn > 5 and time.monotonic() > end:  # each turn is long where many breakers live
                break
            with isolated():
                pass
    finally:
        over.set()
        sys.setswitchinterval(interval)
        for server in servers:
            server.join()
    assert errors == []


def test_what_a_test_raises_passes_through_and_everything_is_given_back(shared: CircuitBreaker):
    """A failing test harms none that come after it."""
    with pytest.raises(AssertionError, match="mine"), isolated() as breakers:
        breakers.open("shared")
        raise AssertionError("mine")
    assert shared.state == "closed"


def test_what_outlives_its_test_changes_nothing(shared: CircuitBreaker):
    """A fixture torn down too late meets an error, and what it undoes then is as new already."""
    with isolated() as held:
        held.open(shared)
        late = held.half_open(shared)
    late.undo()
    assert shared.state == "closed"
    for ask_late in (held.open, held.snapshot, lambda name: held.inject(name, OSError)):
        with pytest.raises(RuntimeError, match="their test is over"):
            ask_late("shared")


def test_breakers_are_held_by_one_at_a_time(breakers: Breakers, depot: CircuitBreaker):
    """A block within a test that has the fixture would give them back too early."""
    with pytest.raises(RuntimeError, match="held already"), isolated():
        pass
    breakers.open("depot")
    assert depot.state == "open"
