"""The Redis and Valkey store, for workers on many machines: Lua scripts, pub/sub, polling behind it (SEMANTICS F2)."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any, Final
from urllib.parse import unquote

from recloser.stores import redis_wire as wire
from recloser.stores.operations import Answers, Operation
from recloser.stores.protocol import News, StoreError
from recloser.stores.record import UNKNOWN, Record
from recloser.stores.redis_entry import check
from recloser.stores.redis_link import RedisLink, RefusedError
from recloser.stores.redis_url import locate
from recloser.stores.unreadable import BREAKER, ERRORS, Unreadable
from recloser.stores.view import FleetView, Reports, Worker, worker_to_text

ALIVE: Final = 6.0  # seconds after its last heartbeat for which a worker counts in a quorum
REMEMBERED: Final = 60  # and is listed
TRANSITIONS: Final = 500
BREAKERS: Final = 200  # that are read at once: a server does nothing else meanwhile
POLL_BESIDE_NEWS: Final = 1.0  # seconds; a message may be lost, and nobody says so
POLL_WITHOUT_NEWS: Final = 0.1
GRACE: Final = 0.05  # seconds for a message to arrive after the answer to what it tells of
SUBSCRIBE_AGAIN: Final = 5.0  # seconds after a subscription was refused
EXTEND: Final = (
    3600.0  # seconds after which the records in use are said to be in use, of the day that they are kept
)


class RedisStore:
    """Keeps a fleet's records in a Redis or Valkey; its clock is the server's.

    Every answer is awaited for 250 ms at most (`?socket_timeout=` in the URL), and nothing is tried twice. Any error
    lets go of all connections.

    Args:
        url: Where it is: `redis://`, `rediss://`, `unix://`, `redis+sentinel://`, `redis+cluster://`.
        namespace: Of the application; others are not seen.
        clock: The store's clock (seconds), for tests; the server's if `None`.

    Attributes:
        address: The URL without credentials and options.

    Raises:
        ValueError: The URL is none that can be used.
    """

    def __init__(self, url: str, namespace: str, *, clock: Callable[[], float] | None = None) -> None:
        self._location = locate(url)
        self.address = self._location.address
        self._keys = wire.Keys(namespace)
        self._clock = clock
        self._commands = RedisLink(self._location)
        self._subscription = RedisLink(self._location)
        self._unreadable = Unreadable(self.address)
        self._reports = Reports(self._unreadable)
        self._is_in_doubt = False
        self._known: dict[str, Record] = {}
        self._seen = -1  # every change up to this revision is known; -1: nothing is
        self._expected = -1  # and up to this one there are changes
        self._expected_since = 0.0
        self._polled = self._subscribe_at = self._extended = float("-inf")

    def __repr__(self) -> str:
        return f"RedisStore({self.address!r})"

    @property
    def poll_interval(self) -> float:
        """Seconds; few where a subscription tells the news."""
        return POLL_BESIDE_NEWS if self._subscription.is_open else POLL_WITHOUT_NEWS

    def connect(self) -> None:
        """Connect and subscribe; without the right to a channel the news are polled."""
        if self._commands.is_open:
            return
        self.close()
        self._commands.open()
        if self._is_in_doubt:
            self._mend()
        self._subscribe()

    def exchange(self, operations: Sequence[Operation]) -> Answers:
        """Carry out operations in one round trip, by one script."""
        keys = self._keys
        with self._answering():
            known = [self._known.get(operation.breaker, UNKNOWN) for operation in operations]
            now, before, after, told = self._run(
                "exchange",
                [
                    keys.revision,
                    keys.names,
                    keys.transitions,
                    keys.beats,
                    *(keys.breaker(operation.breaker) for operation in operations),
                ],
                [keys.channel, wire.batch(operations, self._known), ALIVE, TRANSITIONS],
            )
            answers = [wire.answer(one, record) for one, record in zip(told, known, strict=True)]
        for operation, answer in zip(operations, answers, strict=True):
            self._known[operation.breaker] = answer.record
        self._note(before, after)
        return Answers(float(now), after, answers)

    def news(self) -> News | None:
        """Return what the subscription has brought, or a poll where it is due: once a second, or after a gap."""
        now, changed = self._heard()
        is_whole = False
        clock = time.monotonic()
        if not self._subscription.is_open and clock >= self._subscribe_at:
            self._subscribe()
        is_late = self._seen < self._expected and clock - self._expected_since >= GRACE
        if self._seen < 0 or is_late or clock - self._polled >= self.poll_interval:
            now, is_whole, polled = self._changes()
            changed |= polled
            self._polled = clock
        return News(now, changed, is_whole) if changed or is_whole else None

    def fileno(self) -> int | None:
        """Return the subscription's socket; another one after each loss."""
        return self._subscription.fileno()

    def beat(self, worker: Worker) -> int:
        """Note a heartbeat, and from time to time that the worker's breakers are in use."""
        clock = time.monotonic()
        is_due = clock - self._extended >= EXTEND
        in_use = [self._keys.breaker(name) for name in worker.beliefs] if is_due else []
        with self._answering():
            told = worker_to_text(worker).encode(errors="replace")
            keys = [self._keys.workers, self._keys.beats, *in_use]
            alive = self._commands.run("beat", keys, [worker.id, told, ALIVE, REMEMBERED, self._now()])
        if is_due:
            self._extended = clock
        return int(alive)

    def leave(self, worker_id: str) -> None:
        """Forget a worker."""
        with self._answering():
            self._commands.run("leave", [self._keys.workers, self._keys.beats], [worker_id])

    def view(self, transitions: int = 100) -> FleetView:
        """Read the whole fleet: in one round trip, where its breakers are not so many that the server was held up."""
        keys = self._keys
        read = [keys.names, keys.transitions, keys.workers, keys.beats]
        arguments = [keys.of_breakers, transitions, BREAKERS, self._now()]
        with self._answering():
            told = self._commands.run("view", read, arguments)
            view, more = wire.fleet_view(told, self._reports)
            breakers = dict(view.breakers)
            for start in range(0, len(more), BREAKERS):
                names = more[start : start + BREAKERS]
                (rest,) = self._commands.run("view", read, [*arguments, *names])
                breakers |= wire.shared_breakers(json.loads(rest)[1])
            return view._replace(breakers=breakers)

    def close(self) -> None:
        """Let go of both connections."""
        self._commands.close()
        self._subscription.close()
        self._forget()

    def abandon(self) -> None:
        """Let go of connections that a parent goes on using."""
        self._commands.abandon()
        self._subscription.abandon()
        self._forget()

    def _forget(self) -> None:
        self._known = {}
        self._seen = self._expected = -1
        self._polled = self._subscribe_at = self._extended = float("-inf")

    def _run(self, name: str, keys: list[str], arguments: list[Any]) -> Any:
        return json.loads(self._commands.run(name, keys, [*arguments, self._now()]))

    def _now(self) -> str:
        return "" if self._clock is None else repr(float(self._clock()))

    def _note(self, before: int, after: int) -> None:
        """Take note of the numbers in an answer."""
        if before < self._seen:  # the server has lost what it knew
            self._seen = -1
        elif before == self._seen:
            self._seen = after
        elif after > max(self._seen, self._expected):
            self._expected, self._expected_since = after, time.monotonic()

    def _subscribe(self) -> None:
        try:
            self._subscription.open()
            self._subscription.subscribe(self._keys.channel)
        except StoreError:
            self._subscription.close()
            self._subscribe_at = time.monotonic() + SUBSCRIBE_AGAIN

    def _heard(self) -> tuple[float, dict[str, Record]]:
        if not self._subscription.is_open:
            return 0.0, {}
        try:
            messages = self._subscription.received()
        except StoreError:
            self._subscribe_at = time.monotonic()  # at once; what was missed is polled
            self._polled = float("-inf")
            return 0.0, {}
        now, changed = 0.0, dict[str, Record]()
        with self._answering():
            for payload in (message[2] for message in messages if message[0] == b"message"):
                now, before, after, records = json.loads(payload)
                if before > self._seen and after > max(self._seen, self._expected):
                    self._expected, self._expected_since = after, float("-inf")
                elif before <= self._seen:
                    self._seen = max(self._seen, after)
                changed |= self._unknown(wire.records(records))
        return float(now), changed

    def _changes(self) -> tuple[float, bool, dict[str, Record]]:
        with self._answering():
            keys = [self._keys.revision, self._keys.names]
            now, revision, records = self._run("changes", keys, [self._seen, self._keys.of_breakers])
            told = wire.records(records)
        is_whole = revision < self._seen or self._seen < 0
        if is_whole:
            self._known = told
        else:
            told = self._unknown(told)
        self._seen = self._expected = revision
        return float(now), is_whole, dict(told)

    def _unknown(self, told: Mapping[str, Record]) -> dict[str, Record]:
        """Return those that are newer than what is known, and note them."""
        newer = {
            name: record
            for name, record in told.items()
            if name not in self._known
            or self._known[name].revision < record.revision
            or self._known[name].epoch.number < record.epoch.number  # restored, where revisions begin anew
        }
        self._known |= newer
        return newer

    def _mend(self) -> None:
        """Drop the records that cannot be read: the store has lost them, and gets them from who knows (SEMANTICS D1)."""
        keys = [self._keys.names, self._keys.revision]
        with self._answering():
            names: list[bytes] = []
            for start in count(0, BREAKERS):
                places = (self._keys.of_breakers, start, start + BREAKERS - 1)
                found = self._commands.run("mend", keys, [*places])
                names += [name for name, *held in found if not self._is_readable(name, *held)]
                if not found:
                    break
            for start in range(0, len(names), BREAKERS):
                self._commands.run(
                    "mend", keys, [self._keys.of_breakers, 1, 0, *names[start : start + BREAKERS]]
                )
        self._is_in_doubt = False

    def _is_readable(self, name: bytes, held: Sequence[bytes] = (b"no hash",)) -> bool:
        try:
            check(held)
        except ERRORS as error:
            self._unreadable.tell(BREAKER, unquote(name.decode(errors="replace")), error)
            return False
        return True

    @contextmanager
    def _answering(self) -> Generator[None]:
        """Let go of everything at an error, also at an answer that is none."""
        try:
            yield
        except StoreError as error:
            self._is_in_doubt |= isinstance(error, RefusedError)
            self.close()
            raise
        except ERRORS as error:
            self._is_in_doubt = True
            self.close()
            raise StoreError(
                f"{self.address}: the store holds what this version cannot read ({error!r})"
            ) from error
