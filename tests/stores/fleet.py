"""A fleet for tests: workers on one store, by a clock that stands still until it is moved."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from recloser.core.state import Epoch, Mode, Override, State
from recloser.stores.operations import (
    Answer,
    Chance,
    Flush,
    Force,
    Lease,
    Settle,
    Sync,
    Terms,
    Trip,
    new_tag,
)
from recloser.stores.protocol import Store
from recloser.stores.record import UNKNOWN, Record
from recloser.stores.view import Belief, Worker
from stores.servers import until

START = 1_700_000_000.1234
# Half of at least ten calls in ten seconds; open for 10 s; leases of 3 s.
TERMS = Terms(
    recovery_timeout=10.0,
    recovery_jitter=0.0,
    lasting=10.0,
    probe_timeout=3.0,
    window_seconds=10.0,
    failure_rate=0.5,
)
NO_WINDOW = TERMS._replace(window_seconds=0.0, failure_rate=0.0)


class Clock:
    """Seconds; of the store and of the wall."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class Member:
    """A worker, who knows of each breaker what the store answered him last."""

    def __init__(self, store: Store, worker: str, terms: Terms) -> None:
        self.store = store
        self.worker = worker
        self.terms = terms
        self.records: dict[str, Record] = {}

    def epoch(self, breaker: str = "shop") -> Epoch:
        return self.records.get(breaker, UNKNOWN).epoch

    def _common(self, told: dict[str, Any]) -> dict[str, Any]:
        tag, jitter = told.pop("tag", None), told.pop("jitter", 0.5)
        return {
            "breaker": told.pop("breaker", "shop"),
            "worker": self.worker,
            "chance": Chance(new_tag() if tag is None else tag, jitter),
        }

    def _with_terms(self, told: dict[str, Any]) -> dict[str, Any]:
        common = self._common(told)
        return {**common, "terms": self.terms, "epoch": self.epoch(common["breaker"]), **told}

    def _does(self, operation: Any) -> Answer:
        (answer,) = self.store.exchange([operation]).answers
        self.records[operation.breaker] = answer.record
        return answer

    def flush(self, **told: Any) -> Answer:
        return self._does(Flush(**self._with_terms(told)))

    def trip(self, cause: Any, **told: Any) -> Answer:
        knobs = {
            name: told.pop(name)
            for name in ("period", "reopenings", "last_failure", "vote_ttl")
            if name in told
        }
        return self.flush(trip=Trip(**{"cause": cause, "period": 10.0, "reopenings": 0, **knobs}), **told)

    def lease(self, wanted: int = 1, **told: Any) -> Answer:
        return self._does(Lease(**self._with_terms({"wanted": wanted, **told})))

    def settle(self, lease: str, **told: Any) -> Answer:
        return self._does(Settle(**self._with_terms({"lease": lease, **told})))

    def force(self, mode: Mode = Mode.AUTO, **told: Any) -> Answer:
        override = Override(mode, told.pop("by", "ann"), told.pop("why", "test"), told.pop("expires", None))
        return self._does(Force(**self._common(told), override=override, **told))

    def reset(self, **told: Any) -> Answer:
        return self.force(resets=True, **told)

    def read(self, breaker: str = "shop") -> Record:
        return self._does(Sync(breaker, self.worker, Chance(new_tag()))).record

    def restore(self, record: Record, remaining: float = 0.0, **told: Any) -> Answer:
        common = self._common(told)
        return self._does(Sync(**common, epoch=record.epoch, remaining=remaining, record=record))

    def beat(self, *breakers: str) -> int:
        return self.store.beat(self.described(*breakers))

    def described(self, *breakers: str) -> Worker:
        beliefs = {name: Belief(self.epoch(name), State.CLOSED, Mode.AUTO, calls=7) for name in breakers}
        return Worker(self.worker, "host", 12, "0.1", START, beliefs)

    def hears(self, breaker: str = "shop") -> Record:
        """Wait for news of a breaker."""
        heard: dict[str, Record] = {}

        def has_heard() -> bool:
            news = self.store.news()
            heard.update({} if news is None else news.records)
            return breaker in heard

        until(has_heard, 5)
        self.records[breaker] = heard[breaker]
        return heard[breaker]


class Fleet:
    """Members on one store.

    Args:
        make: Makes one client of it, given the clock.
    """

    def __init__(self, make: Callable[[Clock], Store]) -> None:
        self.clock = Clock()
        self._make = make
        self.stores: list[Store] = []

    def member(self, worker: str = "", terms: Terms = TERMS) -> Member:
        """Add a worker with a client of its own."""
        store = self._make(self.clock)
        store.connect()
        self.stores.append(store)
        return Member(store, worker or f"w{len(self.stores)}", terms)

    def end(self) -> None:
        for store in self.stores:
            store.close()


def namespace() -> str:
    """Return one that no other test uses."""
    return f"test-{uuid.uuid4().hex}"
