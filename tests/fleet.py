"""A fleet in one process for tests: workers with a clock of their own making, whose hubs go their rounds by hand."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from recloser import CallRejectedError, CircuitBreaker, Registry
from recloser.core.events import Event
from recloser.stores.operations import Answers, Operation
from recloser.stores.protocol import News, Store, StoreError
from recloser.stores.sqlite import SQLiteStore
from recloser.stores.view import FleetView, Worker

NAME = "payments"
DAY = 1_000_000_000.0


class Time:
    """The clock of a whole fleet (seconds).

    Attributes:
        latest: The one that was made last.
    """

    latest: Time

    def __init__(self) -> None:
        self.now = 1000.0
        Time.latest = self

    def __call__(self) -> float:
        return self.now

    def wall(self) -> float:
        return DAY + self.now


class Cable:
    """A worker's connection to its store; a test may cut it.

    Attributes:
        is_cut: The store cannot be reached.
        loses_answers: What is asked is done, but its answer does not come back.
        surprise: What the store's client raises at each exchange and at its end, and no store should.
        sent: All operations that got through.
    """

    poll_interval = 0.02

    def __init__(self, store: Store) -> None:
        self._store = store
        self.address = store.address
        self.is_cut = False
        self.loses_answers = False
        self.surprise: Exception | None = None
        self.sent: list[Operation] = []

    def _check(self) -> None:
        if self.is_cut:
            raise StoreError("the cable is cut")

    def _fail(self) -> None:
        if self.surprise is not None:
            raise self.surprise

    def connect(self) -> None:
        self._check()
        self._store.connect()

    def exchange(self, operations: list[Operation]) -> Answers:
        self._check()
        answers = self._store.exchange(operations)
        self.sent += operations
        if self.loses_answers:
            raise StoreError("the answer was lost")
        self._fail()
        return answers

    def news(self) -> News | None:
        self._check()
        return self._store.news()

    def fileno(self) -> int | None:
        return self._store.fileno()

    def beat(self, worker: Worker) -> int:
        self._check()
        return self._store.beat(worker)

    def leave(self, worker_id: str) -> None:
        self._check()
        self._store.leave(worker_id)

    def view(self, transitions: int = 100) -> FleetView:
        self._check()
        return self._store.view(transitions)

    def close(self) -> None:
        self._store.close()
        self._fail()

    def abandon(self) -> None:
        self._store.abandon()


class Member:
    """One worker of the fleet."""

    def __init__(self, store: Store, time: Time, settings: dict[str, object], seed: int = 1) -> None:
        self.cable = Cable(store)
        self.time = time
        chance = random.Random(seed)
        self.registry = Registry(
            {"BREAKERS": {NAME: settings}},
            store=self.cable,
            clock=time,
            wall_clock=time.wall,
            random=chance.random,
        )
        self.hub = self.registry._hub
        assert self.hub is not None
        self.hub.begun = True  # no thread: the test goes the rounds
        self.hub._rounds.cpu = time  # in a fleet that is never idle
        self.events: list[Event] = []
        self.registry.add_listener(self.events.append)

    @property
    def breaker(self) -> CircuitBreaker:
        return self.registry[NAME]

    @property
    def state(self) -> str:
        return self.breaker._driver.machine.condition.state.value

    @property
    def epoch(self) -> tuple[int, int]:
        return self.breaker._driver.machine.condition.epoch

    def step(self, rounds: int = 1) -> None:
        """Go so many rounds, and deliver what came of them."""
        for _ in range(rounds):
            self.hub.step()
        self.breaker._driver.deliver()

    def call(self, *, fails: bool = False) -> str:
        """Make one call; tell whether it was a success, a failure or refused."""
        try:
            self.breaker.call(lambda: 1 / 0 if fails else 1)
        except ZeroDivisionError:
            return "failure"
        except CallRejectedError as error:
            assert error.retry_after >= 0
            return f"refused: {error.reason}"
        return "success"

    def told(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]

    def close(self) -> None:
        self.registry.close()
        self.cable.close()


class Fleet:
    """Some workers of one SQLite file, unless a test brings another store.

    Args:
        folder: Where the file lies.
        size: How many workers.
        make: Makes a worker's client of another store, by the given clock.
        **settings: Of their breaker.
    """

    def __init__(
        self, folder: Path, size: int = 2, make: Callable[[Time], Store] | None = None, **settings: object
    ) -> None:
        self.time = Time()
        self.folder = folder
        self._make = make
        self.settings: dict[str, object] = {
            "failure_threshold": 3,
            "recovery_timeout": 10,
            "recovery_jitter": 0,
            "probe_timeout": 6,
            **settings,
        }
        self.members: list[Member] = []
        for _ in range(size):
            self.join()

    def store(self) -> Store:
        if self._make is not None:
            return self._make(self.time)
        path = self.folder / "fleet" / "store.db"
        return SQLiteStore(path, clock=self.time, wall_clock=self.time.wall, boot="test")

    def join(self, **settings: object) -> Member:
        """Add a worker, and let it find its place."""
        member = Member(self.store(), self.time, {**self.settings, **settings}, seed=len(self.members))
        self.members.append(member)
        member.step()
        return member

    def __getitem__(self, index: int) -> Member:
        return self.members[index]

    def step(self, rounds: int = 2) -> None:
        for _ in range(rounds):
            for member in self.members:
                member.step()

    def pass_time(self, seconds: float, tick: float = 0.1) -> None:
        """Let time pass, with all hubs at work."""
        end = self.time.now + seconds
        while self.time.now < end - 1e-9:
            self.time.now = min(end, self.time.now + tick)
            self.step(1)

    @property
    def states(self) -> list[str]:
        return [member.state for member in self.members]

    def trip(self, index: int = 0) -> None:
        for _ in range(3):
            assert self[index].call(fails=True) == "failure"
        self.step()

    def close(self) -> None:
        for member in self.members:
            member.close()


@contextmanager
def fleet_in(folder: Path, size: int = 2, **settings: object) -> Iterator[Fleet]:
    fleet = Fleet(folder, size, **settings)
    try:
        yield fleet
    finally:
        fleet.close()
