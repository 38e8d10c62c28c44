"""The kit lets dependencies fail or take long, for every way to call them."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Callable, Iterator

import httpx2
import pytest
import trio

from recloser import BulkheadFullError, CircuitBreaker, CircuitOpenError, Registry
from recloser.clients.httpx2 import BreakerTransport
from recloser.testing import Breakers

REACHED: list[str] = []


@pytest.fixture(autouse=True)
def nobody_reached() -> Iterator[None]:
    REACHED.clear()
    yield
    assert REACHED == []


def reach() -> str:
    REACHED.append("the dependency")
    return "answer"


async def reach_async() -> str:
    return reach()


def by_decorator(breaker: CircuitBreaker) -> None:
    breaker(reach)()


def by_call(breaker: CircuitBreaker) -> None:
    breaker.call(reach)


def by_block(breaker: CircuitBreaker) -> None:
    with breaker.calling():
        reach()


def by_permit(breaker: CircuitBreaker) -> None:
    permit = breaker.acquire()
    reach()
    permit.success()


def by_generator(breaker: CircuitBreaker) -> None:
    @breaker
    def stream() -> Iterator[str]:
        yield reach()

    list(stream())


def by_fallback_when_open(breaker: CircuitBreaker) -> None:
    breaker.protect(fallback="fallback")(reach)()


def by_async_fallback_when_open(breaker: CircuitBreaker) -> None:
    asyncio.run(breaker.protect(fallback="fallback")(reach_async)())


def by_async_decorator(breaker: CircuitBreaker) -> None:
    asyncio.run(breaker(reach_async)())


def by_async_call(breaker: CircuitBreaker) -> None:
    trio.run(breaker.call_async, reach_async)


def by_async_block(breaker: CircuitBreaker) -> None:
    async def block() -> None:
        async with breaker.calling():
            reach()

    trio.run(block)


def by_async_generator(breaker: CircuitBreaker) -> None:
    @breaker
    async def stream() -> AsyncIterator[str]:
        yield reach()

    async def read() -> None:
        async for _ in stream():
            pass

    asyncio.run(read())


WAYS = [way for name, way in list(globals().items()) if name.startswith("by_")]


@pytest.mark.parametrize("way", WAYS)
def test_an_injected_error_is_raised_and_counted(
    breakers: Breakers, depot: CircuitBreaker, way: Callable[[CircuitBreaker], None]
):
    """Three of them trip the circuit; the dependency is never reached."""
    with breakers.inject("depot", ConnectionError("down")):
        for _ in range(3):
            with pytest.raises(ConnectionError, match="down"):
                way(depot)
        assert depot.state == "open"
        assert depot.snapshot().last_failure == "ConnectionError: down"


def test_a_transport_fails_without_a_network(breakers: Breakers):
    """The caller sees the error that his client would raise."""

    def send(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, text=reach())

    registry = Registry({"BREAKERS": {"depot": {"origins": ["http://inventory.example"]}}})
    transport = BreakerTransport(registry, httpx2.MockTransport(send))
    with httpx2.Client(transport=transport) as client:
        with (
            breakers.inject("depot", httpx2.ConnectTimeout("no answer")),
            pytest.raises(httpx2.ConnectTimeout),
        ):
            client.get("http://inventory.example/")
        assert breakers.snapshot("depot").failures == 1


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize(("error", "answered"), [(ConnectionError, True), (LookupError, False)])
def test_a_fallback_answers_an_injected_failure(
    breakers: Breakers, asynchronous: bool, error: type[Exception], answered: bool
):
    """Where it answers for failures; what the policy does not count as one is raised."""
    breaker = CircuitBreaker("depot", ignore=LookupError)
    protect = breaker.protect(fallback=lambda failure: type(failure).__name__, on="failure")

    def ask() -> str:
        return asyncio.run(protect(reach_async)()) if asynchronous else protect(reach)()

    with breakers.inject(breaker, error):
        if answered:
            assert ask() == "ConnectionError"
        else:
            with pytest.raises(LookupError):
                ask()
    assert breaker.snapshot().ignored == (not answered)


def test_the_policy_judges_what_is_injected(breakers: Breakers):
    """An ignored error trips nothing, and gives a probe's place back."""
    breaker = CircuitBreaker("depot", failure_threshold=1, ignore=LookupError)
    breakers.half_open(breaker)
    with breakers.inject(breaker, LookupError):
        for _ in range(3):
            with pytest.raises(LookupError):
                breaker.call(reach)
    assert (breaker.state, breaker.snapshot().ignored) == ("half_open", 3)
    with breakers.inject(breaker, OSError), pytest.raises(OSError):
        breaker.call(reach)
    assert breaker.state == "open"


def test_an_open_circuit_refuses_before_a_fault_can_strike(breakers: Breakers, depot: CircuitBreaker):
    """Refusals are refusals."""
    breakers.inject("depot", ConnectionError)
    breakers.open("depot")
    with pytest.raises(CircuitOpenError):
        depot.call(reach)


def test_a_fault_is_counted_once_and_leaves_no_place_taken(breakers: Breakers):
    """Not even of a bulkhead."""
    breaker = CircuitBreaker("depot", max_concurrent_calls=1)
    with breakers.inject("depot", ConnectionError):
        for _ in range(2):
            with pytest.raises(ConnectionError):
                breaker.acquire()
    held = breaker.acquire()
    with pytest.raises(BulkheadFullError):
        breaker.acquire()
    held.ignore()
    assert (breaker.snapshot().failures, breaker.snapshot().in_flight) == (2, 0)


def test_the_innermost_fault_holds_and_the_outer_one_returns(breakers: Breakers, depot: CircuitBreaker):
    """Blocks nest, also with the very same fault."""
    down = ConnectionError("down")
    with breakers.inject(depot, TimeoutError), breakers.inject(depot, down):
        outer = breakers.inject(depot, down)
        with pytest.raises(ConnectionError):
            depot.call(reach)
        outer.undo()
        with pytest.raises(ConnectionError):
            depot.call(reach)
    with breakers.inject(depot, TimeoutError), pytest.raises(TimeoutError):
        depot.call(reach)


def test_an_error_may_be_made_anew_for_each_call(breakers: Breakers, depot: CircuitBreaker):
    """A class, or any function that makes one."""
    numbers = iter(range(9))
    with breakers.inject(depot, lambda: ConnectionError(next(numbers))):
        for number in range(2):
            with pytest.raises(ConnectionError, match=str(number)):
                depot.call(reach)


def test_an_injected_instance_keeps_nothing_of_the_calls_that_it_ended(
    breakers: Breakers, depot: CircuitBreaker
):
    """It outlives them, and tracebacks hold frames."""

    class Witness:
        pass

    def call() -> weakref.ref[Witness]:
        witness = Witness()
        with pytest.raises(ConnectionError):
            depot.call(reach)
        return weakref.ref(witness)

    down = ConnectionError("down")
    with breakers.inject(depot, down):
        seen = call()
    gc.collect()
    assert seen() is None
    assert down.__traceback__ is None


@pytest.mark.parametrize("way", [way for way in WAYS if "generator" not in way.__name__])
def test_latency_passes_within_a_call_without_waiting(
    breakers: Breakers, way: Callable[[CircuitBreaker], None]
):
    """Slow calls trip by their rate; nobody has waited for them."""
    breaker = CircuitBreaker("slow", slow_call_duration=2, slow_call_rate_threshold=0.5, minimum_calls=2)
    with breakers.inject("slow", latency=2):
        for _ in range(2):
            way(breaker)
    assert breakers.clock.elapsed == 4
    assert (breaker.state, breaker.snapshot().slow) == ("open", 2)
    REACHED.clear()


def test_latency_below_the_threshold_is_no_slowness(breakers: Breakers):
    """Nor is the time between calls."""
    breaker = CircuitBreaker("slow", slow_call_duration=2, slow_call_rate_threshold=0.5, minimum_calls=1)
    with breakers.inject("slow", latency=1.9):
        breaker.call(reach)
        breakers.clock.advance(10)
        breaker.call(reach)
    assert (breaker.snapshot().calls, breaker.snapshot().slow) == (2, 0)
    REACHED.clear()


def test_an_error_may_come_late(breakers: Breakers):
    """A time-out has both: it takes its time, and fails."""
    breaker = CircuitBreaker("slow", slow_call_duration=2, slow_call_rate_threshold=0.5, minimum_calls=1)
    with breakers.inject("slow", TimeoutError, latency=5), pytest.raises(TimeoutError):
        breaker.call(reach)
    assert breakers.clock.elapsed == 5
    assert (breaker.snapshot().slow, breaker.snapshot().failures) == (1, 1)


@pytest.mark.parametrize("latency", [0, -1, float("nan"), float("inf")])
def test_a_fault_does_something(breakers: Breakers, depot: CircuitBreaker, latency: float):
    """Neither error nor latency is a mistake, and so is a time that never comes."""
    with pytest.raises(ValueError, match=r"an error .*, a latency"):
        breakers.inject(depot, latency=latency)


@pytest.mark.parametrize("error", ["down", 503, dict])
def test_what_cannot_be_raised_is_refused_where_it_is_injected(
    breakers: Breakers, depot: CircuitBreaker, error: object
):
    """Not in the middle of the application."""
    with pytest.raises(ValueError, match="an exception, or what makes one"):
        breakers.inject(depot, error)  # type: ignore[arg-type]


def test_a_class_that_needs_arguments_is_refused_there_too(breakers: Breakers, depot: CircuitBreaker):
    """It says which."""
    with pytest.raises(TypeError, match="missing 1 required"):
        breakers.inject(depot, httpx2.HTTPStatusError)


def broken() -> BaseException:
    raise TypeError("a mistake in the test")


@pytest.mark.parametrize(("make", "message"), [(lambda: None, "made None"), (broken, "a mistake")])
def test_a_maker_that_makes_no_error_fails_the_test_alone(
    breakers: Breakers, depot: CircuitBreaker, make: Callable[[], BaseException], message: str
):
    """Its mistake is no outcome, and takes no probe's place."""
    breakers.half_open(depot)
    with breakers.inject(depot, make):
        for _ in range(2):
            with pytest.raises(TypeError, match=message):
                depot.call(reach)
    assert (depot.state, depot.snapshot().probes_in_flight, depot.snapshot().ignored) == ("half_open", 0, 2)
