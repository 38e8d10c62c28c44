"""The one background thread of a process that speaks to the store, for all breakers of a registry (SEMANTICS E)."""

from __future__ import annotations

import atexit
import random as chance
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Final, TypeVar

from recloser.core import fork
from recloser.core.breaker import CircuitBreaker
from recloser.core.leading import LedDriver
from recloser.core.log import logger
from recloser.stores.courier import Courier
from recloser.stores.health import Connection, Health
from recloser.stores.link import Link, Moment
from recloser.stores.operations import Answer, Force, Operation
from recloser.stores.protocol import Store, StoreError
from recloser.stores.record import UNKNOWN, Record
from recloser.stores.wakeup import Wakeup
from recloser.stores.worker import Myself

TICK: Final = 0.1  # seconds between flushes of counts
BEAT: Final = 2.0  # seconds between heartbeats
IDLE: Final = 1.0  # seconds between two looks of a process that does nothing, at most
BUSY: Final = 0.002  # seconds of the processor in a tick that tell that this process does something
RETRY_FIRST: Final = 0.1  # seconds until the first try to reach a lost store again, at most
RETRY_LAST: Final = 5.0
FAREWELL: Final = 1.0  # seconds that closing waits for the thread

T = TypeVar("T")


class Hub:
    """Brings the fleet's word to the breakers of one registry, and theirs to the fleet.

    Its thread starts with the first call through one of them, anew in every forked child. No caller waits for it:
    they read and write memory.

    Args:
        store: Where the fleet meets.
        clock: Monotonic time (seconds), the same as the breakers'.
        wall_clock: Time of day (seconds since the epoch).
        random: Gives 0 <= x < 1.

    Attributes:
        begun: The thread was started, or never will be (again).
    """

    def __init__(
        self,
        store: Store,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        random: Callable[[], float] = chance.random,
    ) -> None:
        self._store = store
        self._clock = clock
        self._wall_clock = wall_clock
        self._random = random
        self._links: dict[str, tuple[Link, weakref.ref[LedDriver]]] = {}
        self._linking = threading.Lock()
        self._health = Health(connection=Connection.STARTING, address=store.address, since=wall_clock())
        self._begin_anew()
        fork.watch(self, first=True)

    def _begin_anew(self) -> None:
        self.begun = False
        self._starting = threading.Lock()
        self._stepping = threading.RLock()  # the thread at work; whoever forks waits for it
        self._thread: threading.Thread | None = None
        self._wakeup = Wakeup()
        self._courier = Courier()
        self._synced = threading.Event()
        self._myself = Myself(self._wall_clock)
        self._dirty: set[str] = set()
        self._requests: list[Callable[[], None]] = []
        self._records: dict[str, Record] = {}
        self._offset = 0.0
        self._is_connected = False
        self._is_closing = False
        self._failures = 0
        self._retry_at = self._flush_at = self._beat_at = 0.0
        self._answered_at = self._clock()
        self._pause = TICK
        self._cpu = 0.0

    # -- what breakers and callers ask -------------------------------------------------------------------------

    def link(self, breaker: CircuitBreaker) -> None:
        """Join a breaker to the fleet, for as long as it lives."""
        driver = breaker._driver  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        assert isinstance(driver, LedDriver)  # noqa: S101 - it was made with this hub as its lead
        with self._linking:
            self._links[driver.name] = (Link(driver, self._random), weakref.ref(driver))

    def begin(self) -> None:
        """Start the thread, if need be. Neither waits nor raises."""
        with self._starting:
            if self.begun:
                return
            self.begun = True
            self._thread = threading.Thread(target=self._run, name="recloser-hub", daemon=True)
            atexit.register(_close_at_exit, weakref.ref(self))
            try:
                self._thread.start()
            except RuntimeError as error:  # out of threads, or the interpreter ends
                self._thread = None
                logger().error("the hub of %s did not start: %s", self._store.address, error)
                self._health = self._changed(Connection.DOWN, f"its thread did not start: {error}")

    def wake(self, name: str) -> None:
        """Look after a breaker now. Neither waits nor raises."""
        self._dirty.add(name)
        self._wakeup.ring()

    def ready(self, timeout: float) -> bool:
        """Wait until the fleet's state is known here.

        Args:
            timeout: Seconds.

        Returns:
            Whether it is.
        """
        self.begin()
        return self._synced.wait(timeout)

    def ask(self, question: Callable[[Store], T], timeout: float = 2.0) -> T:
        """Put a question to the store, on the hub's thread.

        Args:
            question: Is given the store.
            timeout: Seconds.

        Raises:
            StoreError: The store is lost, or did not answer in time.
        """
        self.begin()
        answer: Future[T] = Future()

        def put() -> None:
            if not answer.set_running_or_notify_cancel():
                return
            try:
                answer.set_result(question(self._reached()))
            except BaseException as error:
                answer.set_exception(error)

        self._requests.append(put)
        self._wakeup.ring()
        try:
            return answer.result(timeout)
        except TimeoutError:
            answer.cancel()
            raise StoreError(f"store {self._store.address}: no answer within {timeout:g} s") from None

    def _reached(self) -> Store:
        if not self._is_connected:
            raise StoreError(str(self.health))
        return self._store

    def force(self, force: Force, timeout: float = 2.0) -> Answer:
        """Let an operator act on the whole fleet, and follow what came of it.

        Raises:
            StoreError: The store is lost, or did not answer in time.
        """

        def act(store: Store) -> Answer:
            sent = self._moment()
            answers = store.exchange([force])
            self._take([force], answers.answers, sent, self._noted(answers.now))
            return answers.answers[0]

        return self.ask(act, timeout)

    @property
    def worker(self) -> str:
        """This process's id in the fleet."""
        return self._myself.id

    @property
    def health(self) -> Health:
        """How this process stands with the store."""
        return replace(self._health, lag=max(0.0, self._clock() - self._answered_at), worker=self.worker)

    def close(self) -> None:
        """Say farewell to the fleet and end the thread; the breakers go on alone. May be called again."""
        with self._starting:
            self.begun = True
            thread, self._thread = self._thread, None
        self._is_closing = True
        self._wakeup.ring()
        if thread is not None and thread is not threading.current_thread():
            thread.join(FAREWELL)
        self._health = self._changed(Connection.CLOSED)

    # -- the thread --------------------------------------------------------------------------------------------

    def _run(self) -> None:
        stepping = self._stepping
        while not self._is_closing:
            with stepping:
                pause = self.step()
            self._courier.send()
            self._wakeup.wait(pause, self._fileno())
        with stepping:
            self._leave()
        self._courier.send()

    def step(self) -> float:
        """Do one round: connect, tell, hear, beat.

        Returns:
            Seconds until the next round is due.
        """
        try:
            if not self._is_connected and not self._connect():
                return self._until_retry()
            self._tell()
            self._hear()
            self._beat()
        except StoreError as error:
            self._lose(error)
        except Exception as error:  # whatever it is, breakers must not be left without an answer
            logger().exception("the hub of %s failed; its breakers lead themselves", self._store.address)
            self._lose(StoreError(f"the hub failed: {error!r}"))
        self._answer_requests()
        return self._until_next() if self._is_connected else self._until_retry()

    def _connect(self) -> bool:
        if self._clock() < self._retry_at:
            self._answer_requests()
            return False
        self._store.connect()
        news = self._store.news()
        moment = self._noted(news.now) if news is not None else self._moment()
        self._records = dict(news.records) if news is not None else {}
        self._is_connected = True
        self._failures = 0
        self._beat_at = 0.0
        if self._health.connection is not Connection.UP:
            logger().info("store %s: reached", self._store.address)
            self._health = self._changed(Connection.UP)
        for link, driver in self._living():
            link.heard(self._records.get(link.name, UNKNOWN), moment, self.worker)
            self._courier.take(driver)
        self._synced.set()
        return True

    def _tell(self) -> None:
        now = self._clock()
        counts = now >= self._flush_at
        dirty, self._dirty = self._dirty, set()
        operations: list[Operation] = []
        asked: list[Link] = []
        living = self._living()
        for link, _ in living:
            if counts and link.is_adrift:
                link.heard(self._records.get(link.name, UNKNOWN), self._moment(), self.worker)
            if link.name in dirty or link.has_plea or link.due() <= now or (counts and link.counts_always):
                told = link.operations(self.worker, now, counts=counts)
                operations += told
                asked += [link] * len(told)
        if counts:
            self._flush_at = now + TICK
            self._pace(is_busy=bool(operations))
        if not operations:
            return
        sent = self._moment()
        try:
            answers = self._store.exchange(operations)
        except StoreError:
            for link in dict.fromkeys(asked):
                mine = [operation for operation, own in zip(operations, asked, strict=True) if own is link]
                link.lost(mine)
            raise
        self._take(operations, answers.answers, sent, self._noted(answers.now))

    def _take(
        self, operations: Sequence[Operation], answers: Sequence[Answer], sent: Moment, moment: Moment
    ) -> None:
        for operation, answer in zip(operations, answers, strict=True):
            self._records[operation.breaker] = answer.record
            for link, driver in self._found(operation.breaker):
                link.answered(operation, answer, sent, moment, self.worker)
                self._courier.take(driver)

    def _hear(self) -> None:
        news = self._store.news()
        if news is None:
            return
        moment = self._noted(news.now)
        for name, record in news.records.items():
            self._records[name] = record
            for link, driver in self._found(name):
                link.heard(record, moment, self.worker)
                self._courier.take(driver)

    def _beat(self) -> None:
        now = self._clock()
        self._answered_at = now
        if now < self._beat_at:
            return
        self._beat_at = now + BEAT
        workers = self._store.beat(self._myself.report(driver for _, driver in self._living()))
        self._health = replace(self._health, workers=workers)

    def _lose(self, error: StoreError) -> None:
        self._is_connected = False
        self._store.close()
        if self._health.connection is not Connection.DOWN:
            logger().warning("store %s: lost (%s); breakers lead themselves", self._store.address, error)
            self._health = self._changed(Connection.DOWN, str(error))
        pause = min(RETRY_LAST, RETRY_FIRST * 2 ** min(self._failures, 16))
        self._failures += 1
        self._retry_at = self._clock() + pause * (0.5 + self._random() / 2)
        for link, _ in self._living():
            link.lost([])

    def _leave(self) -> None:
        if self._is_connected:
            try:
                self._tell()
                self._store.leave(self.worker)
            except StoreError:
                pass  # it will be forgotten by its silence
        self._is_connected = False
        self._store.close()
        for link, _ in self._living():
            link.lost([])

    def _answer_requests(self) -> None:
        while self._requests:
            self._requests.pop(0)()

    # -- time ------------------------------------------------------------------------------------------------

    def _moment(self) -> Moment:
        now = self._clock()
        return Moment(now, now + self._offset)

    def _noted(self, there: float) -> Moment:
        now = self._clock()
        self._offset = there - now
        return Moment(now, there)

    def _pace(self, *, is_busy: bool) -> None:
        """Slow down while the process does nothing: neither here nor elsewhere does anybody wait then."""
        cpu = time.process_time() - time.thread_time()
        is_busy = is_busy or cpu - self._cpu > BUSY
        self._cpu = cpu
        self._pause = TICK if is_busy else min(IDLE, self._pause * 2)

    def _until_next(self) -> float:
        if self._dirty or self._requests:
            return 0.0
        now = self._clock()
        dues = [link.due() for link, _ in self._living()]
        is_busy = self._pause <= TICK
        pause = (
            self._pause
            if self._store.fileno() is not None
            else (self._store.poll_interval if is_busy else min(self._pause, 0.25))
        )
        flush = self._flush_at - now if is_busy else IDLE
        return max(0.0, min(pause, flush, *(due - now for due in dues), self._beat_at - now))

    def _until_retry(self) -> float:
        return max(0.0, self._retry_at - self._clock())

    def _fileno(self) -> int | None:
        return self._store.fileno() if self._is_connected else None

    def _changed(self, connection: Connection, error: str = "") -> Health:
        return replace(self._health, connection=connection, since=self._wall_clock(), error=error)

    # -- breakers --------------------------------------------------------------------------------------------

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
        """Wait until the thread is between two rounds; close what a child must not inherit (SEMANTICS C13)."""
        self._stepping.acquire()
        self._linking.acquire()
        if self._is_connected and self._store.fileno() is None:
            self._store.close()
            self._is_connected = False

    def after_fork_in_parent(self) -> None:
        """Go on."""
        self._linking.release()
        self._stepping.release()

    def after_fork_in_child(self) -> None:
        """Forget the thread, the connections and all that was known: the first call begins anew."""
        self._linking = threading.Lock()
        self._store.abandon()
        self._wakeup.abandon()
        self._begin_anew()
        self._health = self._changed(Connection.STARTING)
        for link, _ in self._living():
            link.forget()


def _close_at_exit(found: weakref.ref[Hub]) -> None:
    hub = found()
    if hub is not None:
        hub.close()
