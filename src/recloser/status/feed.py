"""Server-sent events: one look per interval for all readers, and to each what has changed since it last heard.

A reader has no queue. When it has taken what it was sent, it gets the latest state; what a slow one missed meanwhile
is never built. So memory does not grow with readers' slowness, and nobody waits for anybody.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import weakref
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Any, Final

from recloser.core.log import logger
from recloser.status import live
from recloser.status.ending import is_ending
from recloser.status.messages import RefusedError
from recloser.status.query import Query
from recloser.status.sampler import Rates, Sampler
from recloser.status.sight import Sight
from recloser.status.snapshot import document

LIFE: Final = 25.0  # seconds after which a stream ends and its reader comes again
RETRY: Final = 1000  # milliseconds until it does
MAX_READERS: Final = 1000
SHARED_QUERIES: Final = 32
VOLATILE: Final = ("elapsed", "retry_in")

Signs = dict[str, tuple[str, int]]  # what something looked like, and since which tick


class Tick:
    """What was seen at one moment, told to any number of readers.

    Args:
        number: Grows by one.
        sight: What was seen.
        rates: What happened per second.
    """

    def __init__(self, number: int, sight: Sight, rates: Rates) -> None:
        self.number = number
        self._sight = sight
        self._rates = rates
        self.events: dict[tuple[object, ...], bytes] = {}  # by what they depend on: most readers get the same
        self._documents: dict[Query, dict[str, Any]] = {}
        self._rows: dict[tuple[str, str, bool], str] = {}
        self._sections: dict[str, str] | None = None

    def document(self, query: Query) -> dict[str, Any]:
        """Describe what was seen."""
        found = self._documents.get(query)
        if found is None:
            found = document(self._sight, query, self._rates)
            if len(self._documents) < SHARED_QUERIES:
                self._documents[query] = found
        return found

    def sections(self, found: Mapping[str, Any], changed: list[str]) -> dict[str, str]:
        """Make those of the page's sections that have changed."""
        if self._sections is None:
            self._sections = live.sections(found)
        return {name: self._sections[name] for name in changed}

    def rows(
        self, found: Mapping[str, Any], changed: list[str], base: str, *, may_choose: bool
    ) -> dict[str, str]:
        """Make the page's rows of changed breakers."""
        names = set(changed)
        made: dict[str, str] = {}
        for entry in found["breakers"]:
            name = entry["name"]
            if name in names:
                key = name, base, may_choose
                if key not in self._rows:
                    changes = live.changes_of(found, name)
                    self._rows[key] = live.row(entry, base, self._rates, changes, may_choose=may_choose)
                made[name] = self._rows[key]
        return made


class Feed:
    """Tells readers on one event loop what changes.

    Args:
        sampler: Looks.
        life: Seconds after which a stream ends.

    Attributes:
        readers: How many there are.
    """

    def __init__(self, sampler: Sampler, *, life: float = LIFE) -> None:
        self._sampler = sampler
        self._life = life
        self._instance = secrets.token_hex(4)
        self._tick: Tick | None = None
        self._number = 0  # never falls, also while nobody reads: readers come again with what they heard
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._signs: Signs = {}
        self._parts: Signs = {}
        self.readers = 0

    def admit(self) -> None:
        """Take one more reader.

        Raises:
            RefusedError: There are too many.
        """
        if self.readers >= MAX_READERS:
            raise RefusedError(503, "Too many readers", "Ask for the page itself.")

    async def stream(
        self, query: Query, last_id: str, base: str = "", rows: bool = False, may_choose: bool = False
    ) -> AsyncIterator[bytes]:
        """Tell one reader, until its stream's life is over or the server is to end.

        Args:
            query: Which breakers it asks for.
            last_id: What it has heard last, as `Last-Event-ID` says.
            base: The endpoint's path.
            rows: Also send the page's rows.
            may_choose: Rows have a box to tick.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + self._life
        heard = self._heard(last_id)
        self.readers += 1
        try:
            if self._task is None:
                self._task = loop.create_task(self._look())
            yield f"retry: {RETRY}\n\n".encode()
            while (left := end - loop.time()) > 0 and not is_ending():
                tick, news = self._tick, self._news
                if tick is not None and tick.number != heard:
                    yield self._event(tick, heard, query, base, rows=rows, may_choose=may_choose)
                    heard = tick.number
                    continue
                with suppress(TimeoutError):
                    await asyncio.wait_for(news.wait(), left)
        finally:
            self.readers -= 1
            if not self.readers and self._task is not None:
                self._task.cancel()
                self._task = self._tick = None

    def _heard(self, last_id: str) -> int:
        instance, _, number = last_id.partition("-")
        known = instance == self._instance and number.isascii() and number.isdecimal() and len(number) < 16
        return int(number) if known else -1

    async def _look(self) -> None:
        while True:
            try:
                sight, rates = await asyncio.to_thread(self._sampler.take)
                self._number += 1
                tick = Tick(self._number, sight, rates)
                self._compare(tick)
                self._tick = tick
                self._news.set()
                self._news = asyncio.Event()
            except Exception:
                logger().exception("status: the events' next look failed")
            await asyncio.sleep(self._sampler.interval)

    def _compare(self, tick: Tick) -> None:
        everything = tick.document(Query(limit=1_000_000))
        breakers = {entry["name"]: _sign(entry) for entry in everything["breakers"]}
        workers = [{**worker, "heard": 0} for worker in everything["workers"]]
        parts = {"workers": json.dumps(workers), "changes": json.dumps(everything["transitions"])}
        self._signs = _changed(self._signs, breakers, tick.number)
        self._parts = _changed(self._parts, parts, tick.number)

    def _event(
        self, tick: Tick, heard: int, query: Query, base: str, *, rows: bool, may_choose: bool
    ) -> bytes:
        key = heard, query, base, rows, may_choose
        event = tick.events.get(key)
        if event is None:
            event = self._made(tick, heard, query, base, rows=rows, may_choose=may_choose)
            if len(tick.events) < SHARED_QUERIES:
                tick.events[key] = event
        return event

    def _made(
        self, tick: Tick, heard: int, query: Query, base: str, *, rows: bool, may_choose: bool
    ) -> bytes:
        found = tick.document(query)
        changed = [
            entry
            for entry in found["breakers"]
            if heard < 0 or self._signs.get(entry["name"], ("", tick.number))[1] > heard
        ]
        told = {
            **found,
            "order": [entry["name"] for entry in found["breakers"]],
            "breakers": changed,
        }
        if rows:
            names = [entry["name"] for entry in changed]
            told = {
                "at": found["at"],
                "order": told["order"],
                "head": live.head(found),
                "sections": tick.sections(
                    found, [part for part, (_, changed) in self._parts.items() if changed > heard]
                ),
                "rows": tick.rows(found, names, base, may_choose=may_choose),
            }
        data = json.dumps(told, separators=(",", ":"))  # on one line, whatever is in it
        kind = "snapshot" if heard < 0 else "update"
        return f"id: {self._instance}-{tick.number}\nevent: {kind}\ndata: {data}\n\n".encode()


def _changed(known: Signs, now: Mapping[str, str], number: int) -> Signs:
    return {
        name: known[name] if name in known and known[name][0] == sign else (sign, number)
        for name, sign in now.items()
    }


def _sign(entry: Mapping[str, Any]) -> str:
    # What moves with the clock alone is no change: readers have clocks.
    lasting = {key: value for key, value in entry.items() if key not in VOLATILE}
    lasting["mode"] = {**entry["mode"], "remaining": None}
    leases = [{**lease, "age": 0, "remaining": 0} for lease in entry["probes"]["leases"]]
    lasting["probes"] = {**entry["probes"], "leases": leases}
    if entry["rates"] is not None:
        lasting["rates"] = {**entry["rates"], "over": 0}
    return json.dumps(lasting)


class Feeds:
    """The feed of each event loop of this process.

    Args:
        sampler: Looks.
        life: Seconds after which a stream ends.
    """

    def __init__(self, sampler: Sampler, life: float) -> None:
        self._sampler = sampler
        self._life = life
        self._feeds: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Feed] = weakref.WeakKeyDictionary()

    def here(self) -> Feed:
        """Return the running loop's."""
        loop = asyncio.get_running_loop()
        feed = self._feeds.get(loop)
        if feed is None:
            feed = self._feeds[loop] = Feed(self._sampler, life=self._life)
        return feed
