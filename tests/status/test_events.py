"""Server-sent events: one look for all readers, none of whom can hold up another."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import aclosing

import pytest

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
    """And each hears of it."""

    async def scenario():
        registry = Registry({"BREAKERS": {"payments": {}, "mail": {}}})
        sampler = Sampler(registry, interval=0.1)
        feed = Feed(sampler, life=60)
        began = time.monotonic()
        readers = await asyncio.gather(*(heard(feed, lambda events: len(events) == 4) for _ in range(100)))
        assert sampler.looks <= 2 + (time.monotonic() - began) / 0.09
        assert all(names_in(events[0]) == {"payments", "mail"} for events in readers)
        assert feed.readers == 0

    asyncio.run(asyncio.wait_for(scenario(), 60))


def test_a_reader_that_comes_again_hears_what_changed_meanwhile_and_only_that():
    """By `Last-Event-ID`, however long nothing changed before; one of another process hears everything."""

    async def scenario():
        registry = Registry({"BREAKERS": {"payments": {}, "mail": {}}})
        feed = Feed(Sampler(registry, interval=0.01), life=60)
        first, *_, last = await heard(feed, lambda events: len(events) == 5)
        assert names_in(first) == {"payments", "mail"}
        registry["mail"].shadow(by="ann", reason="x")
        last_id = last.decode().partition("id: ")[2].partition("\n")[0]
        again = await heard(feed, lambda events: names_in(events[-1]), last_id)
        assert b"event: update" in again[0]
        assert names_in(again[-1]) == {"mail"}
        (other,) = await heard(feed, len, "other-3")
        assert b"event: snapshot" in other
        assert names_in(other) == {"payments", "mail"}

    asyncio.run(asyncio.wait_for(scenario(), 30))


async def heard(feed, enough, last_id=""):
    """The events until there are enough of them; then the reader hangs up."""
    events = []
    async with aclosing(feed.stream(Query(), last_id)) as stream:
        async for event in stream:
            events += events_of([event])
            if events and enough(events):
                break
    return events


def names_in(event):
    return {entry["name"] for entry in data_of(event)["breakers"]}


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

        await asyncio.wait_for(app(asked(app, "/"), receive, keep), 30)
        assert sent[0]["status"] == 200
        gone.set()
        await asyncio.gather(*readers)
        await until(lambda: app._feeds.here().readers == 0 and len(asyncio.all_tasks()) == before)

    asyncio.run(scenario())


def test_an_error_while_telling_is_the_servers_to_log(monkeypatch):
    """The stream breaks off, and not as if it had come to its end."""

    def fail(*_, **__):
        raise ZeroDivisionError

    async def scenario():
        registry = Registry({"BREAKERS": {"payments": {}}})
        app = StatusApp(registry, public=True)
        sent = []

        async def send(message):
            sent.append(message)

        monkeypatch.setattr(Feed, "_made", fail)
        with pytest.raises(ZeroDivisionError):
            await app(asked(app), asyncio.Event().wait, send)
        assert all(message.get("more_body") for message in sent[1:])

    asyncio.run(asyncio.wait_for(scenario(), 30))
