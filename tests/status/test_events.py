"""Server-sent events: one look for all readers, none of whom can hold up another."""

from __future__ import annotations

import asyncio
import json
import time

from recloser import Registry
from recloser.status.app import StatusApp
from recloser.status.feed import Feed
from recloser.status.query import Query
from recloser.status.sampler import Sampler


def asked(app, registry_path="/events", last_id=""):
    headers = [(b"last-event-id", last_id.encode())] if last_id else []
    return {"type": "http", "method": "GET", "path": registry_path, "query_string": b"", "headers": headers}


def events_of(chunks):
    return [chunk for chunk in chunks if b"data: " in chunk]


def data_of(event):
    return json.loads(event.decode().partition("data: ")[2])


async def until(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def test_a_hundred_readers_cost_one_look_per_interval():
    """And each hears of a change."""

    async def scenario():
        registry = Registry({"BREAKERS": {"payments": {}, "mail": {}}})
        sampler = Sampler(registry, interval=0.1)
        feed = Feed(sampler, life=0.6)
        heard = await asyncio.gather(*(told(feed) for _ in range(100)))
        assert sampler.looks <= 8
        assert all(events_of(chunks) for chunks in heard)
        assert feed.readers == 0

    asyncio.run(scenario())


async def told(feed, last_id=""):
    return [event async for event in feed.stream(Query(), last_id)]


def test_a_reader_that_comes_again_hears_only_what_changed():
    """By `Last-Event-ID`; one of another process hears everything."""

    async def scenario():
        registry = Registry({"BREAKERS": {"payments": {}, "mail": {}}})
        feed = Feed(Sampler(registry, interval=0.05), life=0.4)
        first = events_of(await told(feed))
        assert len(data_of(first[0])["breakers"]) == 2
        last = first[-1].decode().partition("id: ")[2].partition("\n")[0]
        registry["mail"].shadow(by="ann", reason="x")
        again = events_of(await told(feed, last))
        names = {entry["name"] for event in again for entry in data_of(event)["breakers"]}
        assert "mail" in names
        assert b"event: update" in again[0]
        assert b"event: snapshot" in events_of(await told(feed, "other-3"))[0]

    asyncio.run(scenario())


def test_five_hundred_slow_readers_stall_nobody_and_leave_nothing():
    """They take nothing; others are answered; when they hang up, no task remains."""

    async def scenario():
        registry = Registry({"BREAKERS": {"payments": {}}})
        app = StatusApp(registry, public=True)
        gone = asyncio.Event()
        stuck = []

        async def send(message):
            stuck.append(message["type"])
            if message["type"] == "http.response.body":
                await asyncio.Event().wait()

        async def receive():
            await gone.wait()
            return {"type": "http.disconnect"}

        before = len(asyncio.all_tasks())
        readers = [asyncio.create_task(app(asked(app), receive, send)) for _ in range(500)]
        await until(lambda: stuck.count("http.response.body") == 500)
        sent = []

        async def keep(message):
            sent.append(message)

        began = time.monotonic()
        await app(asked(app, "/"), receive, keep)
        assert sent[0]["status"] == 200
        assert time.monotonic() - began < 2
        gone.set()
        await asyncio.gather(*readers)
        await asyncio.sleep(0.05)
        assert app._feeds.here().readers == 0
        assert len(asyncio.all_tasks()) == before

    asyncio.run(scenario())
