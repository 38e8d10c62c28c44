"""A fleet of clients against one service, in virtual time."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count

import tenacity

from core.acting import Boom, Clock
from recloser import CallRejectedError, CircuitBreaker, retry
from recloser.retry.tenacity import retrying

CLIENTS = 50
TAKES = 0.05  # how long the service works on a call (seconds)


class Nap:
    """Suspends a coroutine for so many seconds of virtual time."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __await__(self) -> Generator[float, None, None]:
        yield self.seconds


async def nap(seconds: float) -> None:
    await Nap(seconds)


def run(clock: Clock, coroutines: Sequence[Coroutine[float, None, None]], until: float) -> None:
    """Run coroutines that only nap, in the order of their waking, until a moment of the clock."""
    order = count()
    waiting = [(clock.now, next(order), coroutine) for coroutine in coroutines]
    heapq.heapify(waiting)
    while waiting:
        due, _, coroutine = heapq.heappop(waiting)
        if due >= until:
            coroutine.close()
            continue
        clock.advance(due - clock.now)
        try:
            seconds = coroutine.send(None)
        except StopIteration:
            continue
        heapq.heappush(waiting, (clock.now + seconds, next(order), coroutine))


@dataclass
class Service:
    """Fails during its outage, and whenever more calls come within a second than it can bear."""

    clock: Clock
    outage: tuple[float, float]
    capacity: int
    calls: int = 0
    during_outage: int = 0
    failed_after: int = 0
    _recent: deque[float] = field(default_factory=deque)

    async def answer(self) -> str:
        now = self.clock.now
        self.calls += 1
        self._recent.append(now)
        while self._recent[0] <= now - 1:
            self._recent.popleft()
        down = self.outage[0] <= now < self.outage[1]
        self.during_outage += down
        overloaded = len(self._recent) > self.capacity
        await nap(TAKES)
        if down or overloaded:
            self.failed_after += now >= self.outage[1]
            raise Boom
        return "paid"


@dataclass(frozen=True)
class Story:
    """What happens, whoever retries.

    Attributes:
        outage: How long the service is down, from ten seconds on (seconds).
        seconds: How long it all takes.
        pause: Between a client's orders (seconds); none waits for the one before.
        capacity: Calls per second that the service bears.
        attempts: Per call.
        shared: Clients that share a breaker, as the threads of one process do.
        threshold: Consecutive failures that open a circuit.
    """

    outage: float
    pause: float
    capacity: int
    attempts: int
    shared: int
    threshold: int
    seconds: float = 60.0


@dataclass
class Told:
    """How a story went."""

    service: Service
    breakers: list[CircuitBreaker]
    wanted: int = 0

    @property
    def granted(self) -> int:
        return sum(retry.counts(breaker).granted for breaker in self.breakers)

    @property
    def probes(self) -> int:
        return sum(breaker.snapshot().probes for breaker in self.breakers)


Wrap = Callable[[CircuitBreaker, Callable[[], Coroutine[float, None, str]], int], Callable[[], object]]


def ours(breaker, call, attempts):
    """The retry outside, the breaker inside."""
    return retrying(breaker, attempts)(breaker(call)).retry_with(sleep=nap)


def naive(breaker, call, attempts):
    """The breaker around a usual retry."""
    stop = tenacity.stop_after_attempt(attempts)
    wait = tenacity.wait_random_exponential(multiplier=0.2, max=5)

    async def attempt() -> str:
        return await call()

    retried = tenacity.AsyncRetrying(stop=stop, wait=wait, sleep=nap, reraise=True)
    return lambda: breaker.call_async(retried, attempt)


def tell(story: Story, wrap: Wrap) -> Told:
    """Play a story."""
    clock = Clock()
    start = clock.now
    service = Service(clock, (start + 10, start + 10 + story.outage), story.capacity)
    breakers = [
        CircuitBreaker(
            f"payments-{number}",
            clock=clock,
            wall_clock=clock.of_day,
            failure_threshold=story.threshold,
            recovery_timeout=5,
        )
        for number in range(CLIENTS // story.shared)
    ]
    told = Told(service, breakers)

    charges = [wrap(breaker, service.answer, story.attempts) for breaker in breakers]

    async def order(number: int, at: float) -> None:
        await nap(at)
        told.wanted += 1
        with suppress(Boom, CallRejectedError):
            await charges[number % len(charges)]()

    rounds = int(story.seconds / story.pause)
    times = [
        (number, (turn + number / CLIENTS) * story.pause)
        for turn in range(rounds)
        for number in range(CLIENTS)
    ]
    run(clock, [order(number, at) for number, at in times], start + story.seconds)
    return told
