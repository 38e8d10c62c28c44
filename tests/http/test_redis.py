"""The response cache in a real server: shared, bounded in time, and never in a request's way."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import replace

import anyio
import pytest
from redis import Redis

from cache_server import Valkey
from http_tools import refusal, request, response
from recloser.http import plans, remote
from recloser.http.plan import Plan
from recloser.http.redis import RedisShelf
from recloser.http.remote import RemoteCache
from recloser.http.strategy import Means

SOON = 10.0  # seconds within which something must have happened on a busy machine


@pytest.fixture(scope="module")
def one_server() -> Iterator[Valkey]:
    server = Valkey()
    yield server
    server.kill()


@pytest.fixture
def server(one_server: Valkey) -> Iterator[Valkey]:
    if not one_server._server.is_running():
        one_server.start()
    with Redis.from_url(one_server.url) as client:
        client.flushall()
    return one_server


@pytest.fixture(autouse=True)
def patience(monkeypatch) -> None:
    """A busy machine may need more than the 50 ms; what is about them asks for `hurry`."""
    monkeypatch.setattr(remote, "READ_TIMEOUT", SOON)


@pytest.fixture
def hurry(monkeypatch, patience) -> None:
    monkeypatch.setattr(remote, "READ_TIMEOUT", 0.05)


@pytest.fixture
def client(server: Valkey) -> Iterator[Redis]:
    with Redis.from_url(server.url) as client:
        yield client


def worker(server: Valkey, **knobs) -> RemoteCache:
    """The cache as one of several processes has it."""
    return RemoteCache(RedisShelf(server.url), namespace="shop", **knobs)


def kept_by(cache: RemoteCache, asked, answered) -> None:
    cache.keep(asked, answered, max_stale=600)
    cache.flush()


def body(cache: RemoteCache, asked) -> bytes | None:
    found = cache.find(asked)
    return None if found is None else found.response.body


def eventually(is_so) -> None:
    end = time.monotonic() + SOON
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_what_one_worker_keeps_another_serves(server):
    """Body, headers and age come back as they were."""
    kept_by(worker(server), request(), response(b"\x00good", content_type="text/plain", age="40"))
    other = worker(server)
    found = other.find(request())
    assert found.response == response(b"\x00good", content_type="text/plain")
    assert 40 <= other.age(found) < 60


def test_variants_and_partitions_are_apart(server):
    """Each has its own, at most eight per partition, and the last one kept is the first one found."""
    cache = worker(server)
    ann, bob = (replace(request(), partition=f"str:{name}") for name in ("ann", "bob"))
    kept_by(cache, ann, response(b"ann's"))
    kept_by(cache, request(), response(b"everybody's"))
    assert (body(cache, ann), body(cache, bob), body(cache, request())) == (b"ann's", None, b"everybody's")
    for number in range(10):
        kept_by(cache, request(accept=str(number)), response(str(number).encode(), vary="accept"))
    assert [body(cache, request(accept=str(number))) for number in range(10)] == [
        # What has no Vary is selected by every request, as long as it is among the last eight.
        *[None, None],
        *[str(number).encode() for number in range(2, 10)],
    ]


def test_nobody_can_be_recognised_by_keys_and_values(server, client):
    """Names of users and values of selecting headers are digests."""
    cache = worker(server)
    asked = replace(
        request(x_visitor="ann-0815"), partition="str:ann-4711", selecting=frozenset({"x-visitor"})
    )
    kept_by(cache, asked, response(b"hello", vary="authorization"))
    assert body(worker(server), asked) == b"hello"
    for key in client.keys("*"):
        assert key.startswith(b"shop:recloser:cache:1:{")
        assert b"ann" not in key + client.get(key)


def test_entries_end_by_themselves(server, client):
    """Once no plan may serve them any more."""
    kept_by(worker(server), request(), response(cache_control="max-age=60"))
    lives = sorted(client.ttl(key) for key in client.keys("*"))
    assert 600 < lives[0] <= 661
    assert lives[1] > lives[0]
    kept_by(worker(server), request(path="/no"), response(cache_control="must-revalidate", age="5"))
    assert len(client.keys("*")) == 2


def test_a_change_outdates_what_every_worker_has_kept_for_everybody(server):
    """RFC 9111 §4.4: a successful POST in one worker, whoever sent it."""
    one, other = worker(server), worker(server)
    ann = replace(request(), partition="str:ann")
    kept_by(one, request(), response(b"everybody's"))
    kept_by(one, ann, response(b"ann's"))
    kept_by(one, request(path="/other"), response(b"other"))
    other.forget(request("POST"))
    other.flush()
    assert [body(one, asked) for asked in (request(), ann, request(path="/other"))] == [None, None, b"other"]
    kept_by(one, ann, response(b"new"))
    assert body(other, ann) == b"new"


def test_dropping_is_for_one_partition(server):
    """An answer that one user must not see any more says nothing of another's."""
    cache = worker(server)
    ann, bob = (replace(request(), partition=f"str:{name}") for name in ("ann", "bob"))
    for asked in (ann, bob):
        kept_by(cache, asked, response(b"good"))
    cache.drop(ann)
    assert body(cache, ann) is None
    cache.flush()
    assert body(worker(server), ann) is None
    assert body(worker(server), bob) == b"good"


def test_what_the_server_forgets_for_want_of_room_does_not_bring_outdated_answers_back(server, client):
    """A lost generation takes all that was kept with it."""
    cache = worker(server)
    kept_by(cache, request(), response(b"old"))
    client.delete(*client.keys("*generation"))
    assert body(cache, request()) is None


@pytest.mark.parametrize("rubbish", [b"", b"rubbish", b"recloser\x01rubbish", b"\x80\x04N."])
def test_rubbish_is_a_miss_and_told_once(server, client, caplog, rubbish):
    """What another program wrote there, or a disk has damaged."""
    cache = worker(server)
    kept_by(cache, request(), response(b"good"))
    [entry] = client.keys("*public")
    whole = client.get(entry)
    for broken in (rubbish, whole[:-1], whole[:-1] + bytes([whole[-1] ^ 1])):
        client.set(entry, broken)
        assert body(cache, request()) is None
    assert len([record for record in caplog.records if "counts as a miss" in record.message]) == 1
    kept_by(cache, request(), response(b"good again"))
    assert body(cache, request()) == b"good again"


def test_an_entry_under_another_key_is_a_miss(server, client):
    """Whoever mixed them up: a page is served to those only for whom it was kept."""
    cache = worker(server)
    ann, bob = (replace(request(), partition=f"str:{name}") for name in ("ann", "bob"))
    kept_by(cache, ann, response(b"ann's"))
    [anns] = client.keys("*}:[0-9a-f]*")
    kept_by(cache, bob, response(b"bob's"))
    [bobs] = set(client.keys("*}:[0-9a-f]*")) - {anns}
    client.copy(anns, bobs, replace=True)
    assert body(cache, bob) is None


def test_a_page_for_one_host_or_tenant_is_not_anothers(server):
    """As in one process's memory: neither of a made-up one, nor of none."""
    cache = worker(server)
    for name in ("forwarded", "x_forwarded_host", "x_tenant_id"):
        of_b = request(path=f"/{name}", **{name: "host=b.example"})
        own = request(path=f"/{name}")
        kept_by(cache, own, response(b"own"))
        assert body(cache, of_b) is None
        kept_by(cache, of_b, response(b"b's"))
        assert (body(cache, own), body(cache, of_b)) == (b"own", b"b's")


# -- trouble -----------------------------------------------------------------------------------------------------


def test_a_hung_server_costs_a_request_a_moment_and_soon_nothing(server, caplog, hurry):
    """50 ms each, three times; then the circuit is open. Writing costs nothing at all."""
    cache = worker(server)
    kept_by(cache, request(), response(b"good"))
    took = []
    with server.hung():
        for _ in range(20):
            start = time.perf_counter()
            assert body(cache, request()) is None
            cache.keep(request(), response(b"newer"))
            cache.forget(request("POST", path="/other"))
            took.append(time.perf_counter() - start)
    assert all(0.045 < moment < 0.5 for moment in took[:3])
    assert sorted(took[3:])[8] < 0.002
    assert len([record for record in caplog.records if "gave no stale answer" in record.message]) == 3


def test_a_dead_server_costs_nothing_and_is_found_again(server, monkeypatch):
    """Killed and started again empty: misses, then hits, and what was outdated meanwhile stays so."""
    cache = worker(server)
    kept_by(cache, request(), response(b"good"))
    server.kill()
    start = time.perf_counter()
    for _ in range(100):
        assert body(cache, request()) is None
    assert time.perf_counter() - start < 1
    cache.flush()
    server.start()
    for breaker in (cache._reads, cache._writes):
        breaker.reset(by="test", reason="time has passed")
    kept_by(cache, request(), response(b"again"))
    eventually(lambda: body(cache, request()) == b"again")


def test_an_invalidation_that_could_not_be_written_is_not_lost(server):
    """This worker serves nothing outdated meanwhile; the others, as soon as the server can be written again."""
    one, other = worker(server), worker(server)
    kept_by(one, request(), response(b"old"))
    with server.hung():
        one.forget(request("POST"))
        one.flush()
    one._writes.reset(by="test", reason="time has passed")
    assert body(one, request()) is None  # which also tries again
    eventually(lambda: body(other, request()) is None)


def test_a_response_from_before_a_change_is_not_written_after_it(server):
    """However long it has waited: what is written keeps its order."""
    cache = worker(server)
    with server.hung():
        cache.keep(request(path="/first"), response(b"holds up the writer"), max_stale=600)
        cache.keep(request(), response(b"old"), max_stale=600)
        cache.forget(request("POST"))
    cache.flush()
    cache._writes.reset(by="test", reason="time has passed")
    kept_by(cache, request(path="/second"), response(b"pays debts"))
    eventually(lambda: not cache._debts)
    assert body(cache, request()) is None


def test_every_event_loop_may_ask(server, monkeypatch):
    """Several asyncio loops and trio, one after the other; none is held up while the server hangs."""
    cache = worker(server)
    kept_by(cache, request(), response(b"good"))
    plan = Plan([plans.stale(600)]).prepared(Means(cache))

    async def ask() -> bytes:
        return (await plan.answer(request(), refusal())).response.body

    for backend in ("asyncio", "asyncio", "trio"):
        assert anyio.run(ask, backend=backend) == b"good"

    async def hold_up() -> int:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await anyio.sleep(0.005)
                ticks += 1

        async with anyio.create_task_group() as group:
            group.start_soon(tick)
            answer = await plan.answer(request(), refusal())
            group.cancel_scope.cancel()
        assert answer.strategy.name == "unavailable"
        return ticks

    monkeypatch.setattr(remote, "READ_TIMEOUT", 0.05)
    with server.hung():
        for backend in ("asyncio", "trio"):
            assert anyio.run(hold_up, backend=backend) >= 3


def test_a_forked_child_has_its_own_threads_and_connections(server):
    """And leaves those of its parent alone."""
    cache = worker(server)
    kept_by(cache, request(), response(b"good"))
    assert body(cache, request()) == b"good"
    child = os.fork()
    if child == 0:
        status = 1
        try:
            kept_by(cache, request(path="/child"), response(b"the child's"))
            status = 0 if body(cache, request()) == b"good" else 2
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert body(cache, request(path="/child")) == b"the child's"


def test_a_password_is_never_shown(server, caplog):
    """Neither in what a cache calls itself, nor in the log."""
    url = server.url.replace("redis://", "redis://ann:s3cret@")
    cache = RemoteCache(RedisShelf(url), namespace="shop")
    with caplog.at_level(logging.DEBUG):
        kept_by(cache, request(), response(b"good"))
        assert body(cache, request()) is None
    assert "***@127.0.0.1" in caplog.text
    assert "s3cret" not in caplog.text + repr(cache)


def test_the_longest_entry_is_bounded(server, client):
    """All variants together: what is read within 50 ms cannot be long."""
    cache = worker(server, max_body=1000)
    for number in range(8):
        kept_by(cache, request(accept=str(number)), response(b"x" * 1000, vary="accept"))
    [entry] = client.keys("*public")
    assert client.strlen(entry) < 4000
    assert body(cache, request(accept="7")) is not None


def test_without_redis_py_the_error_names_the_extra(monkeypatch):
    """Like every other import that an extra brings."""
    monkeypatch.setitem(sys.modules, "redis", None)
    monkeypatch.delitem(sys.modules, "recloser.http.redis")
    with pytest.raises(ImportError, match=r'pip install "recloser\[redis\]"'):
        import recloser.http.redis  # noqa: F401
