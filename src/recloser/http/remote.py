"""The response cache outside this process: shared by a fleet, and never waited for longer than a moment.

Reading has a time-out and a breaker, writing happens off the response's path and has a breaker of its own: a cache that
is down, slow or full of rubbish costs requests next to nothing, they only have no stale answers.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import count
from secrets import token_hex
from typing import Final, NamedTuple, Protocol

from recloser.config.report import redacted
from recloser.core.breaker import CircuitBreaker
from recloser.core.errors import CallRejectedError
from recloser.core.log import logger
from recloser.http import frames
from recloser.http.background import Background
from recloser.http.event_loops import awaited, has_event_loop, waited
from recloser.http.kept import DEFAULT_MAX_BODY, MAX_VARIANTS, Kept, freshened, made
from recloser.http.messages import Request, Response

READ_TIMEOUT: Final = 0.05  # seconds
KEPT_FOR: Final = 30 * 86400  # seconds, at most
MAX_DEBTS: Final = 1024
_PAYING: Final = "debts"


class Shelf(Protocol):
    """Where bytes are kept under keys, for a time. Its methods may block, and may raise anything."""

    def load(self, *keys: str) -> Sequence[bytes | None]:
        """Read what is kept under keys, `None` where there is nothing."""
        ...

    def save(self, key: str, data: bytes, seconds: int) -> None:
        """Keep something for so many seconds."""
        ...

    def drop(self, key: str) -> None:
        """Drop what is kept under a key."""
        ...


class _Keys(NamedTuple):
    """Where a request's responses are: those of its own partition, and the target's generation.

    An entry counts only while the generation is the one that it was written in: a new generation outdates what is
    kept for all partitions at once, however many there are.
    """

    generation: str
    entry: str


class _Debt(NamedTuple):
    """What must be written before anything of a key is served again.

    Attributes:
        number: In the order of all that is to be written: a response from before is outdated too.
        data: The new generation; `None`: nothing is to be left.
    """

    number: int
    data: bytes | None


class RemoteCache:
    """Keeps the last good responses on a shelf outside this process.

    Entries end by themselves once no plan may serve them any more, after 30 days at the latest.

    Args:
        shelf: Where they are; its text names it in the log.
        namespace: The application's name among others on the same shelf.
        max_body: Bytes of the longest body to keep; all variants of an entry together have twice as much.
        wall_clock: Seconds since the epoch: workers share no other clock.

    Attributes:
        max_body: As given.
    """

    def __init__(
        self,
        shelf: Shelf,
        *,
        namespace: str,
        max_body: int = DEFAULT_MAX_BODY,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.max_body = max_body
        self._shelf = shelf
        self._prefix = f"{namespace}:recloser:cache:{frames.VERSION}"
        self._clock = wall_clock
        self._reads = _breaker("recloser-cache-reads")
        self._writes = _breaker("recloser-cache-writes")
        self._readers = Background("recloser-cache-read", 4)
        self._writer = Background("recloser-cache-write", 1)
        self._order = count(1)
        self._debts: dict[str, _Debt] = {}
        self._has_told = False
        self._gives_up = False

    def __repr__(self) -> str:
        return f"<RemoteCache {self._shelf}>"

    # -- reading -------------------------------------------------------------------------------------------

    def find(self, request: Request) -> Kept | Awaitable[Kept | None] | None:
        """Find what a GET or HEAD request selects; nothing if the cache does not answer within 50 ms."""
        keys = self._keys(request)
        if not self._debts.keys().isdisjoint(keys):
            self._writer.run(partial(self._pay, next(self._order)), key=_PAYING)
            return None
        if has_event_loop():
            return self._find_async(request, keys)
        try:
            with self._reads.calling():
                found = waited(self._readers.begin(partial(self._shelf.load, *keys)), READ_TIMEOUT)
        except Exception as error:
            self._missed(error)
            return None
        return self._selected(request, keys, found)

    async def _find_async(self, request: Request, keys: _Keys) -> Kept | None:
        try:
            async with self._reads.calling():
                found = await awaited(self._readers.begin(partial(self._shelf.load, *keys)), READ_TIMEOUT)
        except Exception as error:
            self._missed(error)
            return None
        return self._selected(request, keys, found)

    def _missed(self, error: Exception) -> None:
        if not isinstance(error, CallRejectedError):
            self._log("gave no stale answer", error)

    def _selected(self, request: Request, keys: _Keys, found: Sequence[bytes | None]) -> Kept | None:
        variants = self._variants(keys, found)
        return next((variant.kept for variant in variants if variant.answers(request)), None)

    def _variants(self, keys: _Keys, found: Sequence[bytes | None]) -> tuple[frames.Stored, ...]:
        present, data = found
        if present is None or data is None:
            return ()
        try:
            generation, variants = frames.read(keys.entry, data)
        except frames.CorruptError as error:
            if not self._has_told:
                self._has_told = True
                self._log("holds an entry that is none, which counts as a miss", error)
            return ()
        return variants if generation.encode() == present else ()

    def age(self, kept: Kept) -> int:
        """Compute a response's current age (RFC 9111 §4.2.3), in whole seconds."""
        return max(0, int(self._clock() - kept.born))

    # -- writing -------------------------------------------------------------------------------------------

    def keep(self, request: Request, response: Response, *, max_stale: float = math.inf) -> None:
        """Keep a response that is storable, soon, instead of the one kept for such a request before."""
        kept, seconds = self._made(request, response, max_stale)
        if seconds < 0:
            self.drop(request)
            return
        keys = self._keys(request)
        write = partial(self._replace, keys, request, kept, seconds)
        self._writer.run(
            partial(self._write, next(self._order), keys, write), key=keys.entry, weight=kept.size
        )

    def refresh(self, request: Request, head: Response, *, max_stale: float = math.inf) -> None:
        """Renew what is kept for such a request by a 304, soon (RFC 9111 §4.3.4)."""
        keys = self._keys(request)
        write = partial(self._renew, keys, request, head, max_stale)
        self._writer.run(partial(self._write, next(self._order), keys, write), key=(keys.entry, "304"))

    def drop(self, request: Request) -> None:
        """Drop what is kept for the request's target in its own partition, soon; never serve it again."""
        self._owe(self._keys(request).entry, None)

    def forget(self, request: Request) -> None:
        """Drop what is kept for the request's target in all partitions, soon (RFC 9111 §4.4)."""
        self._owe(self._keys(request).generation, _new_generation())

    def holds(self, path: str) -> bool:  # noqa: ARG002 - other workers may have kept anything
        """Tell whether anything may be kept for a path."""
        return True

    def flush(self, timeout: float = 10.0) -> None:
        """Wait until everything is written that can be.

        Args:
            timeout: Seconds to wait.

        Raises:
            TimeoutError: It took longer.
        """
        self._writer.begin(lambda: None).result(timeout)

    def _made(self, request: Request, response: Response, max_stale: float) -> tuple[Kept, int]:
        now = self._clock()
        kept = made(request, response, now=now, wall=now)
        useful = kept.lifetime + min(kept.stale_limit, max_stale) - (now - kept.born)
        return kept, -1 if useful < 0 else math.ceil(min(useful, KEPT_FOR)) + 1

    def _write(self, number: int, keys: _Keys, write: Callable[[], None]) -> None:
        if not self._pay(number) or not self._debts.keys().isdisjoint(keys):
            return
        try:
            with self._writes.calling():
                write()
        except Exception as error:
            if not isinstance(error, CallRejectedError):
                self._log("keeps nothing", error)

    def _replace(self, keys: _Keys, request: Request, kept: Kept, seconds: int) -> None:
        found = self._shelf.load(*keys)
        others = [variant for variant in self._variants(keys, found) if not variant.answers(request)]
        present = found[0]
        if present is None:
            # Never without one: if it were lost, so must be all that was written under it.
            present = _new_generation()
            self._shelf.save(keys.generation, present, 2 * KEPT_FOR)
        variants = [frames.stored(kept), *others][:MAX_VARIANTS]
        while sum(variant.kept.size for variant in variants[1:]) > self.max_body:
            variants.pop()
        self._shelf.save(keys.entry, frames.write(keys.entry, present.decode(), variants), seconds)

    def _renew(self, keys: _Keys, request: Request, head: Response, max_stale: float) -> None:
        kept = self._selected(request, keys, self._shelf.load(*keys))
        renewed = None if kept is None else freshened(kept.response, head)
        if renewed is not None:
            kept, seconds = self._made(request, renewed, max_stale)
            if seconds >= 0:
                self._replace(keys, request, kept, seconds)

    def _owe(self, key: str, data: bytes | None) -> None:
        if len(self._debts) >= MAX_DEBTS and key not in self._debts:
            if not self._gives_up:
                self._gives_up = True
                logger().error("%s: too many invalidations wait; the oldest are given up", self._shelf)
            self._debts.pop(next(iter(self._debts), ""), None)
        number = next(self._order)
        self._debts[key] = _Debt(number, data)
        self._writer.run(partial(self._pay, number), key=_PAYING)

    def _pay(self, number: int) -> bool:
        # Only what was owed before: a response that is still to be written must not come to be after its own end.
        for key, debt in self._debts.copy().items():
            if debt.number > number:
                continue
            try:
                with self._writes.calling():
                    if debt.data is None:
                        self._shelf.drop(key)
                    else:
                        self._shelf.save(key, debt.data, 2 * KEPT_FOR)
            except Exception as error:
                if not isinstance(error, CallRejectedError):
                    self._log("still holds what is outdated", error)
                return False
            paid = self._debts.pop(key, None)
            if paid is not None and paid is not debt:  # a later one, from another thread
                self._debts.setdefault(key, paid)
        self._gives_up = False
        return True

    # -- both ----------------------------------------------------------------------------------------------

    def _keys(self, request: Request) -> _Keys:
        target = frames.key_of(
            request.scheme, request.host.lower(), request.path, request.raw_path, request.query
        )
        # In braces: both keys are in one slot of a cluster.
        base = f"{self._prefix}:{{{target}}}"
        partition = frames.key_of(target, request.partition) if request.partition else "public"
        return _Keys(f"{base}:generation", f"{base}:{partition}")

    def _log(self, what: str, error: Exception) -> None:
        logger().warning("%s %s: %s: %s", self._shelf, what, type(error).__name__, redacted(str(error)))


def _new_generation() -> bytes:
    return token_hex(8).encode()


def _breaker(name: str) -> CircuitBreaker:
    return CircuitBreaker(name, failure_threshold=3, recovery_timeout=5, recovery_timeout_max=60)
