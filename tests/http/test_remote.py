"""A cache outside the process, without a server: its bounds, and what it owes."""

from __future__ import annotations

import threading
import time

import anyio
import pytest

from http_tools import Clock, request, response
from recloser.http import remote
from recloser.http.remote import RemoteCache


class Drawer(dict):
    """Keeps everything, unless it is out of order."""

    broken = False

    def load(self, *keys):
        self._work()
        return [self.get(key) for key in keys]

    def save(self, key, data, seconds):
        self._work()
        self[key] = data

    def drop(self, key):
        self._work()
        self.pop(key, None)

    def _work(self):
        if self.broken:
            raise ConnectionError("refused")


@pytest.fixture
def drawer():
    return Drawer()


@pytest.fixture
def cache(drawer, monkeypatch):
    monkeypatch.setattr(remote, "READ_TIMEOUT", 10.0)
    return RemoteCache(drawer, namespace="shop", wall_clock=Clock().of_day)


def test_ages_are_differences_of_the_time_of_day(drawer, monkeypatch):
    """Workers share no other clock; one whose clock is behind sees age 0, never less."""
    monkeypatch.setattr(remote, "READ_TIMEOUT", 10.0)
    clock, late = Clock(), Clock()
    late.now -= 100
    one = RemoteCache(drawer, namespace="shop", wall_clock=clock.of_day)
    other = RemoteCache(drawer, namespace="shop", wall_clock=late.of_day)
    one.keep(request(), response())
    one.flush()
    found = other.find(request())
    assert other.age(found) == 0
    late.advance(142.9)
    assert other.age(found) == 42


def test_namespaces_are_apart(cache, drawer):
    """Two applications may share a server."""
    cache.keep(request(), response())
    cache.flush()
    other = RemoteCache(drawer, namespace="blog")
    assert cache.find(request()) is not None
    assert other.find(request()) is None


def test_what_is_owed_is_served_by_nobody_here_and_written_at_last(cache, drawer):
    """Also when nothing else is to be written: being asked is enough."""
    cache.keep(request(), response())
    cache.flush()
    drawer.broken = True
    cache.drop(request())
    cache.flush()
    assert cache.find(request()) is None
    drawer.broken = False
    assert cache.find(request()) is None
    cache.flush()
    assert not cache._debts
    assert [key for key in drawer if not key.endswith("generation")] == []


def test_debts_are_bounded(cache, drawer, monkeypatch, caplog):
    """The oldest are given up, which is told once."""
    monkeypatch.setattr(remote, "MAX_DEBTS", 3)
    drawer.broken = True
    for number in range(10):
        cache.forget(request("POST", path=f"/{number}"))
    cache.flush()
    assert len(cache._debts) == 3
    assert caplog.text.count("the oldest are given up") == 1
    drawer.broken = False
    cache._writes.reset(by="test", reason="time has passed")
    cache.find(request(path="/9"))
    cache.flush()
    assert len(cache._debts) == 0
    assert len(drawer) == 3


def test_an_entry_with_no_time_left_is_not_written(cache, drawer):
    """And takes the place of an older one all the same."""
    cache.keep(request(), response(), max_stale=600)
    cache.keep(request(), response(cache_control="must-revalidate", age="5"), max_stale=600)
    cache.flush()
    assert cache.find(request()) is None


def test_a_later_debt_outlives_the_payment_of_an_earlier_one(cache, drawer, monkeypatch):
    """A second change while the first is being written."""
    entered, opened = threading.Event(), threading.Event()
    save = Drawer.save

    def slowly(self, key, data, seconds):
        entered.set()
        assert opened.wait(10)
        save(self, key, data, seconds)

    monkeypatch.setattr(Drawer, "save", slowly)
    cache.forget(request("POST"))
    assert entered.wait(10)
    cache.forget(request("POST"))
    [debt] = cache._debts.values()
    opened.set()
    cache.flush()
    assert list(drawer.values()) == [debt.data]
    assert not cache._debts


def test_who_refuses_is_not_asked_again_and_again(cache, drawer, caplog):
    """After three failures the circuit of each direction is open: silence."""
    drawer.broken = True
    for number in range(10):
        assert cache.find(request()) is None
        cache.keep(request(path=f"/{number}"), response())
        cache.flush()
    assert caplog.text.count("gave no stale answer: ConnectionError: refused") == 3
    assert caplog.text.count("keeps nothing: ConnectionError: refused") == 3
    assert repr(cache).startswith("<RemoteCache ")
    assert cache.holds("/anything")


@pytest.mark.parametrize("backend", [None, "asyncio", "trio"])
def test_a_question_that_came_too_late_is_never_asked(cache, drawer, monkeypatch, backend):
    """Those who waited have gone: a cache that comes back is not flooded with what they wanted."""
    monkeypatch.setattr(remote, "READ_TIMEOUT", 0.02)
    opened, asked = threading.Event(), []

    def slowly(*keys):
        asked.append(keys)
        assert opened.wait(10)
        return [None] * len(keys)

    drawer.load = slowly
    readers = cache._readers
    for _ in range(4):  # all threads are busy
        readers.begin(slowly)
    end = time.monotonic() + 10
    while len(asked) < 4:
        assert time.monotonic() < end
        time.sleep(0.001)

    async def find():
        return await cache.find(request())

    assert (cache.find(request()) if backend is None else anyio.run(find, backend=backend)) is None
    opened.set()
    readers.begin(lambda: None).result(10)
    assert len(asked) == 4


def test_a_304_renews_an_entry(drawer, monkeypatch):
    """Not before the response itself is there, and unless it is about another one, or ends its use."""
    monkeypatch.setattr(remote, "READ_TIMEOUT", 10.0)
    clock = Clock()
    cache = RemoteCache(drawer, namespace="shop", wall_clock=clock.of_day)
    cache.refresh(request(), response(b"", 304, etag='"1"'))
    cache.flush()
    assert not drawer
    cache.keep(request(), response(etag='"1"'))
    clock.advance(50)
    cache.refresh(request(), response(b"", 304, etag='"1"'))
    cache.flush()
    clock.advance(50)
    for head in (response(b"", 304, etag='"2"'), response(b"", 304, etag='"1"', age="5")):
        cache.refresh(request(), head, max_stale=3)
    cache.flush()
    found = cache.find(request())
    assert (cache.age(found), found.response.body) == (50, b"good")
