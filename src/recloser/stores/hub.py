"""The one background thread of a process that speaks to the store, for all breakers of a registry (SEMANTICS E)."""

from __future__ import annotations

import atexit
import random as chance
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial
from typing import Final, TypeVar

from recloser.core import fork
from recloser.core.breaker import CircuitBreaker
from recloser.core.leading import LedDriver
from recloser.core.log import logger
from recloser.stores.health import Connection, Health
from recloser.stores.operations import Answer, Force
from recloser.stores.protocol import Store, StoreError
from recloser.stores.rounds import Rounds
from recloser.stores.view import FleetView
from recloser.stores.wakeup import Wakeup

FAREWELL: Final = 1.0  # seconds that closing waits for the thread

_STILL: Final = 0.001  # seconds

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
        is_closing: It is to end.
        forks: Forks under way, for which its thread stands still.
    """

    def __init__(
        self,
        store: Store,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        random: Callable[[], float] = chance.random,
    ) -> None:
        self._rounds = Rounds(store, clock, wall_clock, random)
        self._users = 0
        self._begin_anew()
        fork.watch(self, first=True)

    def _begin_anew(self) -> None:
        self.begun = False
        self._starting = threading.Lock()
        self._counting = threading.RLock()  # whoever comes while the last user leaves opens after that
        self._stepping = threading.RLock()  # the thread at work; whoever forks waits for it
        self._thread: threading.Thread | None = None
        self._wakeup: Wakeup | None = None
        self._requests: list[Callable[[], None]] = []
        self.is_closing = False
        self.forks = 0

    # -- what breakers and callers ask -------------------------------------------------------------------------

    def link(self, breaker: CircuitBreaker) -> None:
        """Join a breaker to the fleet, for as long as it lives."""
        driver = breaker._driver  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        assert isinstance(driver, LedDriver)  # noqa: S101 - it was made with this hub as its lead
        self._rounds.link(driver)
        self._ring()

    def report_degraded(self, degraded: Callable[[], Mapping[tuple[str, str], int]]) -> None:
        """Tell the fleet in each heartbeat how many answers this process gave in the breakers' stead."""
        self._rounds.report_degraded(degraded)

    def begin(self) -> None:
        """Start the thread, if need be. Neither waits nor raises."""
        with self._starting:
            if self.begun:
                return
            self.begun = True
            try:
                self._start()
            except (RuntimeError, OSError) as error:  # out of threads or files, or the interpreter ends
                logger().error("the hub of %s did not start: %s", self.health.address, error)
                self._rounds.note(Connection.DOWN, f"its thread did not start: {error}")

    def _start(self) -> None:
        wakeup = Wakeup()
        # The thread keeps only what it needs to say farewell: a registry that everybody forgets ends it.
        found: weakref.ref[Hub] = weakref.ref(self, lambda _: wakeup.ring())
        work = (found, self._rounds, wakeup)
        thread = threading.Thread(target=_run, args=work, name="recloser-hub", daemon=True)
        try:
            thread.start()
        except BaseException:
            wakeup.close()
            raise
        self._thread, self._wakeup = thread, wakeup
        self._at_exit = partial(_wait_at_exit, found, thread)
        atexit.register(self._at_exit)

    def wake(self, name: str) -> None:
        """Look after a breaker now. Neither waits nor raises."""
        self._rounds.dirty.add(name)
        self._ring()

    def _ring(self) -> None:
        wakeup = self._wakeup
        if wakeup is not None:
            wakeup.ring()

    def ready(self, timeout: float) -> bool:
        """Wait until the fleet's state is known here.

        Args:
            timeout: Seconds.

        Returns:
            Whether it is.
        """
        self.begin()
        return self._rounds.synced.wait(timeout)

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
            if answer.set_running_or_notify_cancel():
                try:
                    answer.set_result(question(self._reached()))
                except BaseException as error:
                    answer.set_exception(error)

        self._requests.append(put)
        self._ring()
        try:
            return answer.result(timeout)
        except TimeoutError:
            answer.cancel()
            raise StoreError(f"store {self.health.address}: no answer within {timeout:g} s") from None

    def _reached(self) -> Store:
        if not self._rounds.is_connected:
            raise StoreError(str(self.health))
        return self._rounds.store

    def view(self, timeout: float) -> FleetView:
        """Read the whole fleet, and of this process what it holds now, rather than what its last heartbeat told.

        Args:
            timeout: Seconds.

        Raises:
            StoreError: The store is lost, or did not answer in time.
        """
        return self.ask(lambda store: self._rounds.with_me(store.view()), timeout)

    def force(self, force: Force, timeout: float = 2.0) -> Answer:
        """Let an operator act on the whole fleet, and follow what came of it.

        Args:
            force: What he does.
            timeout: Seconds.

        Raises:
            StoreError: The store is lost, or did not answer in time.
        """
        rounds = self._rounds

        def act(store: Store) -> Answer:
            sent = rounds.moment()
            answers = store.exchange([force])
            rounds.take([force], answers.answers, sent, rounds.noted(answers.now))
            return answers.answers[0]

        return self.ask(act, timeout)

    @property
    def worker(self) -> str:
        """This process's id in the fleet."""
        return self._rounds.worker

    @property
    def health(self) -> Health:
        """How this process stands with the store."""
        return self._rounds.health

    def close(self) -> None:
        """Say farewell to the fleet and end the thread; the breakers go on alone. May be called again."""
        with self._starting:
            self.begun = self.is_closing = True
            thread = self._thread
        self._ring()
        if thread is not None and thread is not threading.current_thread():
            thread.join(FAREWELL)
            atexit.unregister(self._at_exit)
        self._rounds.note(Connection.CLOSED)

    def reopen(self) -> None:
        """Let the first call start the thread again, if it was closed: as after an outage."""
        with self._starting:
            if not self.is_closing:
                return
            if self._thread is not None:
                self._thread.join(FAREWELL)
                if self._thread.is_alive():
                    logger().error(
                        "the hub of %s still hangs in its store: not begun again", self.health.address
                    )
                    return
            self._thread = self._wakeup = None
            self._rounds.come_back()
            self.begun = self.is_closing = False

    def enter(self) -> None:
        """Open for one more user."""
        with self._counting:
            self._users += 1
            self.reopen()

    def leave(self) -> None:
        """Close, if this was the last user."""
        with self._counting:
            self._users -= 1
            if not self._users:
                self.close()

    # -- the thread --------------------------------------------------------------------------------------------

    def step(self) -> float:
        """Do one round, and answer what was asked meanwhile.

        Returns:
            Seconds until the next round is due.
        """
        with self._stepping:
            self._rounds.go()
            while self._requests:
                self._requests.pop(0)()
            return self._rounds.pause()

    # -- forks -------------------------------------------------------------------------------------------------

    def before_fork(self) -> None:
        """Wait until the thread is between two rounds; close what a child must not inherit (SEMANTICS C13)."""
        self.forks += 1  # the lock is not fair: a thread that goes round after round would never let go of it
        self._stepping.acquire()
        self._rounds.before_fork()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        self._rounds.after_fork_in_parent()
        self._stepping.release()
        self.forks -= 1
        self._ring()

    def after_fork_in_child(self) -> None:
        """Forget the thread, the connections and all that was known: the first call begins anew."""
        self._rounds.store.abandon()
        if self._wakeup is not None:
            self._wakeup.close()
        self._rounds.begin_anew()
        self._begin_anew()


def _run(found: weakref.ref[Hub], rounds: Rounds, wakeup: Wakeup) -> None:
    while True:
        hub = found()
        if hub is None or hub.is_closing:
            break
        while hub.forks:
            time.sleep(_STILL)
        pause = hub.step()
        fileno = rounds.store.fileno() if rounds.is_connected else None
        del hub
        rounds.courier.send()
        wakeup.wait(pause, fileno)
    rounds.leave()
    rounds.courier.send()
    wakeup.close()


def _wait_at_exit(found: weakref.ref[Hub], thread: threading.Thread) -> None:
    hub = found()
    if hub is not None:
        hub.close()
    elif thread.is_alive():
        thread.join(FAREWELL)
