"""What the hub does in one round: connect, tell, hear, beat; without a thread, so that tests may lead it."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from math import inf
from typing import Final

from recloser.core.leading import LedDriver
from recloser.core.log import logger
from recloser.stores.census import disagreeing
from recloser.stores.courier import Courier
from recloser.stores.health import Connection, Health
from recloser.stores.link import Link, Moment
from recloser.stores.operations import Answer, Operation
from recloser.stores.protocol import Store, StoreError
from recloser.stores.record import UNKNOWN, Record
from recloser.stores.view import FleetView, Heard, Worker
from recloser.stores.worker import Myself

TICK: Final = 0.1  # seconds between flushes of counts
BATCH: Final = 200  # breakers at once: nobody waits long for a store at work on them, nor it for them
BEAT: Final = 2.0  # seconds between heartbeats
BEAT_SOON: Final = 0.5  # seconds after a change by which a worker tells that it follows, at most
CENSUS: Final = 10.0  # seconds between two looks at what the others believe
IDLE: Final = 1.0  # seconds between two looks of a process that does nothing, at most
IDLE_POLL: Final = 0.25  # and of one that must ask for news
BUSY: Final = 0.002  # seconds of the processor since the last tick that tell that this process does something
RETRY_FIRST: Final = 0.1  # seconds until the first try to reach a lost store again, at most
RETRY_LAST: Final = 5.0


class Rounds:
    """The hub's work and what it knows of the fleet. For one thread at a time, but for `link`, `wake` and `health`.

    Args:
        store: Where the fleet meets.
        clock: Monotonic time (seconds), the same as the breakers'.
        wall_clock: Time of day (seconds since the epoch).
        random: Gives 0 <= x < 1.

    Attributes:
        courier: Takes up the events that come of it.
        dirty: Names of breakers that must be looked after now.
        synced: Set as soon as the fleet's state is known here.
        is_connected: The store answers.
        cpu: Tells the processor time of all other threads of this process (seconds).
    """

    def __init__(
        self,
        store: Store,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        random: Callable[[], float],
    ) -> None:
        self.store = store
        self._clock = clock
        self._wall_clock = wall_clock
        self._random = random
        self._links: dict[str, tuple[Link, weakref.ref[LedDriver]]] = {}
        self._degraded: Callable[[], Mapping[tuple[str, str], int]] = dict
        self.cpu: Callable[[], float] = _cpu_of_others
        self.begin_anew()

    def begin_anew(self) -> None:
        """Know nothing of the fleet: at first, and in a fork's child."""
        self.courier = Courier()
        self.dirty: set[str] = set()
        self.synced = threading.Event()
        self.is_connected = False
        self._linking = threading.Lock()
        self._myself = Myself(self._wall_clock)
        self._myself.degraded = self._degraded
        self._health = Health(
            connection=Connection.STARTING, address=self.store.address, since=self._wall_clock()
        )
        self._records: dict[str, Record] = {}
        self._offset = 0.0
        self._failures = 0
        self._retry_at = self._flush_at = self._beat_at = self._census_at = 0.0
        self._due_at = -inf
        self._answered_at = self._clock()
        self._pause = TICK
        self._cpu_before = 0.0
        for link, _ in self._living():
            link.forget()

    @property
    def worker(self) -> str:
        """This process's id in the fleet."""
        return self._myself.id

    @property
    def health(self) -> Health:
        """How this process stands with the store."""
        return replace(self._health, lag=max(0.0, self._clock() - self._answered_at), worker=self.worker)

    def note(self, connection: Connection, error: str = "") -> None:
        """Change what `health` says."""
        self._health = replace(self._health, connection=connection, since=self._wall_clock(), error=error)

    def report_degraded(self, degraded: Callable[[], Mapping[tuple[str, str], int]]) -> None:
        """Tell the fleet in each heartbeat how many answers this process gave in the breakers' stead."""
        self._degraded = self._myself.degraded = degraded

    def link(self, driver: LedDriver) -> None:
        """Join a breaker to the fleet, for as long as it lives."""
        with self._linking:
            self._links[driver.name] = (Link(driver, self._random), weakref.ref(driver))
        if self.is_connected:  # else it joins with all others
            self.dirty.add(driver.name)

    # -- a round -----------------------------------------------------------------------------------------------

    def go(self) -> None:
        """Do one round."""
        try:
            if self.is_connected or self._clock() >= self._retry_at:
                if not self.is_connected:
                    self._connect()
                self._beat()  # first: a quorum is counted among those who have been heard
                self._tell()
                self._hear()
                self._reach()
        except StoreError as error:
            self._lose(error)
        except Exception as error:  # whatever it is, breakers must not be left without an answer
            logger().exception("the hub of %s failed; its breakers lead themselves", self.store.address)
            self._lose(StoreError(f"the hub failed: {error!r}"))

    def pause(self) -> float:
        """Return in how many seconds the next round is due."""
        now = self._clock()
        if not self.is_connected:
            return max(0.0, self._retry_at - now)
        if self.dirty:
            return 0.0
        if self._due_at == -inf:
            self._due_at = min((link.due() for link, _ in self._living()), default=inf)
        pause = min(self._flush_at, self._beat_at, self._due_at) - now
        if self.store.fileno() is None:
            pause = min(pause, IDLE_POLL if self._is_idle else self.store.poll_interval)
        return max(0.0, pause)

    def _connect(self) -> None:
        self.store.connect()
        news = self.store.news()
        moment = self.noted(news.now) if news is not None else self.moment()
        self.is_connected = True
        self._beat_at = 0.0
        self._hear_all({} if news is None else news.records, moment)

    def _reach(self) -> None:
        """Count as reached: the store lets itself be written to as well as read, unlike one whose disk is full."""
        self._failures = 0
        if self._health.connection is not Connection.UP:
            logger().info("store %s: reached", self.store.address)
            self.note(Connection.UP)
            self.synced.set()

    def _tell(self) -> None:
        now = self._clock()
        counts = now >= self._flush_at or (self._is_idle and self._has_worked())
        is_due = now >= self._due_at
        if not (counts or self.dirty or is_due):
            return
        self._due_at = -inf
        dirty: set[str] = set()
        while self.dirty:  # not another set: a caller may be about to add to this one
            dirty.add(self.dirty.pop())
        asked: list[Link] = []
        living = self._living()  # and to live until all is answered
        for link, driver in living:
            machine = driver.machine
            if not machine.led and (counts or link.known is None) and link.is_adrift:
                link.heard(self._records.get(link.name, UNKNOWN), self.moment(), self.worker)
            has_counted = counts and link.counts_always and driver.look(machine.has_counted)
            if has_counted or link.name in dirty or (is_due and link.due() <= now):
                asked.append(link)
        if counts:
            self._pace(is_busy=bool(asked) or self._has_worked())
            self._flush_at = now + self._pause
        for start in range(0, len(asked), BATCH):
            self._tell_of(asked[start : start + BATCH], now, counts=counts)

    def _tell_of(self, links: Sequence[Link], now: float, *, counts: bool) -> None:
        """Tell what some have to tell. What the others have is not taken from them before its turn: it may be lost."""
        told = [
            (link, operation)
            for link in links
            for operation in link.operations(self.worker, now, counts=counts)
        ]
        operations = [operation for _, operation in told]
        if not operations:
            return
        sent = self.moment()
        try:
            answers = self.store.exchange(operations)
        except Exception:  # whatever it is, what an operator did must not be lost by it
            for link in links:
                link.lost([operation for own, operation in told if own is link])
            raise
        self.take(operations, answers.answers, sent, self.noted(answers.now))

    def take(
        self, operations: Sequence[Operation], answers: Sequence[Answer], sent: Moment, moment: Moment
    ) -> None:
        """Let the breakers follow what operations have come to."""
        self._due_at = -inf
        for operation, answer in zip(operations, answers, strict=True):
            self._learn(operation.breaker, answer.record)
            for link, driver in self._found(operation.breaker):
                link.answered(operation, answer, sent, moment, self.worker)
                self.courier.take(driver)

    def _learn(self, name: str, record: Record) -> None:
        known, self._records[name] = self._records.get(name, UNKNOWN), record
        if record.epoch != known.epoch and name in self._links:
            # Whoever looks on wants to see that all follow. Not at the same moment: there may be hundreds.
            soon = self._clock() + BEAT_SOON * (0.5 + self._random() / 2)
            self._beat_at = min(self._beat_at, soon)

    def _hear(self) -> None:
        news = self.store.news()
        if news is None:
            return
        moment = self.noted(news.now)
        if news.is_whole:
            self._hear_all(news.records, moment)
            return
        self._due_at = -inf
        for name, record in news.records.items():
            self._learn(name, record)
            for link, driver in self._found(name):
                link.heard(record, moment, self.worker)
                self.courier.take(driver)

    def _hear_all(self, records: Mapping[str, Record], moment: Moment) -> None:
        """Also of those that the store does not know, or no more: it gets them from us (SEMANTICS D1)."""
        self._due_at = -inf
        self._records = dict(records)
        for link, driver in self._living():
            link.heard(self._records.get(link.name, UNKNOWN), moment, self.worker)
            self.courier.take(driver)

    def _beat(self) -> None:
        now = self._clock()
        self._answered_at = now
        if now < self._beat_at:
            return
        self._beat_at = now + BEAT
        me = self._report()
        if not me.beliefs:  # who only looks, as a command does, is no worker
            return
        workers = self.store.beat(me)
        self._health = replace(self._health, workers=workers)
        if now >= self._census_at:
            self._census_at = now + CENSUS
            self._health = replace(self._health, disagreeing=disagreeing(self.store.view(0)))

    def with_me(self, view: FleetView) -> FleetView:
        """Put into a view what this process holds now."""
        workers = [
            Heard(self._report(), 0.0) if heard.worker.id == self.worker else heard for heard in view.workers
        ]
        return view._replace(workers=workers)

    def _report(self) -> Worker:
        return self._myself.report([driver for _, driver in self._living()])

    def _lose(self, error: StoreError) -> None:
        self._let_go()
        if self._health.connection is not Connection.DOWN:
            logger().warning("store %s: lost (%s); breakers lead themselves", self.store.address, error)
            self.note(Connection.DOWN, str(error))
        elif self._health.error != str(error):  # what stands in the way now is what somebody can mend
            logger().info("store %s: still lost (%s)", self.store.address, error)
            self._health = replace(self._health, error=str(error))
        pause = min(RETRY_LAST, RETRY_FIRST * 2 ** min(self._failures, 16))
        self._failures += 1
        self._retry_at = self._clock() + pause * (0.5 + self._random() / 2)
        for link, _ in self._living():
            link.lost([])

    def _let_go(self) -> None:
        self.is_connected = False
        try:
            self.store.close()
        except Exception:
            logger().exception("store %s: not closed", self.store.address)

    def leave(self) -> None:
        """Tell what is left to tell, say farewell, and let the breakers lead themselves."""
        if self.is_connected:
            self._flush_at = -inf
            try:
                self._tell()
                self.store.leave(self.worker)
            except StoreError:
                pass  # it will be forgotten by its silence
            except Exception:
                logger().exception("the hub of %s failed at its farewell", self.store.address)
        self._let_go()
        for link, _ in self._living():
            link.lost([])

    def come_back(self) -> None:
        """After `leave`: go on as after an outage."""
        self.synced.clear()
        self._failures = 0
        self._retry_at = 0.0
        self.note(Connection.STARTING)

    def moment(self) -> Moment:
        """Return the present in both clocks."""
        now = self._clock()
        return Moment(now, now + self._offset)

    def noted(self, there: float) -> Moment:
        """Return the present, given the store's, and remember how they differ."""
        now = self._clock()
        self._offset = there - now
        return Moment(now, there)

    @property
    def _is_idle(self) -> bool:
        return self._pause > TICK

    def _has_worked(self) -> bool:
        """Whether the process has done anything since the last tick; callers leave no trace that is cheaper to see."""
        return self.cpu() - self._cpu_before > BUSY

    def _pace(self, *, is_busy: bool) -> None:
        """Slow down while the process does nothing: neither here nor elsewhere does anybody wait then."""
        self._cpu_before = self.cpu()
        self._pause = TICK if is_busy else min(IDLE, self._pause * 2)

    def _living(self) -> list[tuple[Link, LedDriver]]:
        with self._linking:
            pairs = [(link, driver()) for link, driver in self._links.values()]
            for link, driver in pairs:
                if driver is None:
                    del self._links[link.name]
        return [(link, driver) for link, driver in pairs if driver is not None]

    def _found(self, name: str) -> Iterator[tuple[Link, LedDriver]]:
        known = self._links.get(name)
        driver = None if known is None else known[1]()
        if known is not None and driver is not None:
            yield known[0], driver

    # -- forks -------------------------------------------------------------------------------------------------

    def before_fork(self) -> None:
        """Close what a child must not inherit (SEMANTICS C13)."""
        self._linking.acquire()
        if self.is_connected and self.store.fileno() is None:
            self._let_go()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        self._linking.release()


def _cpu_of_others() -> float:
    return time.process_time() - time.thread_time()
