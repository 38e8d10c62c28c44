"""What a Redis or Valkey store does when its server, or the way to it, fails: soon an error, and afterwards all is well."""

from __future__ import annotations

import os
import select
import time
from contextlib import contextmanager

import pytest

from fleet import NAME
from fleet import Fleet as Hubs
from recloser.core.state import Epoch, Mode, State
from recloser.stores.operations import new_tag
from recloser.stores.protocol import StoreError
from recloser.stores.record import UNKNOWN
from recloser.stores.redis import POLL_WITHOUT_NEWS, RedisStore
from stores.fleet import NO_WINDOW, Member, namespace
from stores.servers import until
from stores.test_counting import FIVE_IN_A_ROW


def member(store, worker="ann"):
    return Member(store, worker, NO_WINDOW)


@contextmanager
def fails_within(seconds):
    """Expect a store's error, and soon."""
    started = time.monotonic()
    with pytest.raises(StoreError) as caught:
        yield caught
    assert time.monotonic() - started < seconds


def test_f2_scripts_that_the_server_forgot_are_told_again(server, open_store):
    """`SCRIPT FLUSH`, or a restart, is felt by nobody."""
    ann = member(open_store(server.url))
    ann.flush()
    with server.client() as client:
        client.script_flush()
    ann.flush()
    ann.beat()
    ann.store.view()


def test_a_server_killed_is_an_error_and_empty_after_its_restart(start_server, open_store):
    """The worker that knows more seeds it again."""
    server = start_server("--save", "")
    ann = member(open_store(server.url))
    opened = ann.trip(FIVE_IN_A_ROW).record
    server.kill()
    with fails_within(1):
        ann.flush()
    with fails_within(1):
        ann.store.connect()
    with fails_within(1):
        ann.flush()
    server.start()
    ann.store.connect()
    news = ann.store.news()
    assert (news.records, news.is_whole) == ({}, True)
    assert ann.read() == UNKNOWN
    restored = ann.restore(opened, remaining=5.0).record
    assert (restored.epoch.number, restored.state) == (opened.epoch.number + 1, State.OPEN)


def test_a_server_restarted_with_its_data_tells_all_of_it(start_server, open_store):
    """And goes on counting its changes where it was."""
    server = start_server("--appendonly", "yes", "--appendfsync", "always")
    ann = member(open_store(server.url))
    opened = ann.trip(FIVE_IN_A_ROW).record
    server.kill()
    server.start()
    with fails_within(1):
        ann.flush()
    ann.store.connect()
    assert ann.store.news().records == {"shop": opened}
    assert ann.force(Mode.SHADOW).record.revision == opened.revision + 1


def test_a_server_rolled_back_to_a_snapshot_has_a_lower_epoch(start_server, open_store):
    """The worker restores what has happened since, above both."""
    server = start_server("--save", "")
    ann = member(open_store(server.url))
    ann.force(Mode.SHADOW)
    with server.client() as client:
        client.save()
    for mode in (Mode.AUTO, Mode.SHADOW, Mode.FORCED_OPEN):
        latest = ann.force(mode).record
    server.kill()
    server.start()
    ann.store.close()
    ann.store.connect()
    assert ann.store.news().records["shop"].epoch.number == 1
    restored = ann.restore(latest).record
    assert (restored.epoch.number, restored.override.mode) == (5, Mode.FORCED_OPEN)
    assert restored.epoch != Epoch(5, latest.epoch.tag)


def test_a_server_emptied_behind_its_connections_is_noticed(start_server, open_store):
    """`FLUSHALL`: the number of changes has fallen, so all that is known is in doubt."""
    server = start_server()
    ann, bob = member(open_store(server.url)), member(open_store(server.url), "bob")
    for _ in range(3):
        ann.force(Mode.SHADOW)
    bob.hears()
    with server.client() as client:
        client.flushall()
    ann.force(Mode.FORCED_OPEN, breaker="other")
    assert bob.flush(breaker="third").record == UNKNOWN
    assert bob.hears("other").state is State.OPEN
    assert bob.read() == UNKNOWN


def test_a_record_that_was_evicted_alone_is_restored_by_who_knows_it(server, tmp_path):
    """With the next exchange about its breaker: here of a worker that asks for a probe."""
    name = namespace()
    fleet = Hubs(tmp_path, 2, lambda clock: RedisStore(server.url, name, clock=clock))
    try:
        fleet.trip(0)
        until(lambda: fleet.pass_time(0.1) or fleet.states == ["open", "open"])
        before = fleet[0].epoch
        with server.client() as client:
            assert client.delete(f"recloser:1:{{{name}}}:breaker:{NAME}") == 1
        fleet.time.now += 10
        until(lambda: fleet[1].call() == "success" or fleet.pass_time(0.1))
        until(lambda: fleet.pass_time(0.1) or fleet.states == ["closed", "closed"])

        assert fleet[0].epoch == fleet[1].epoch > before
        assert fleet.join().epoch == fleet[0].epoch
    finally:
        fleet.close()


def test_a_server_that_hangs_is_an_error_within_its_time_out(start_server, open_store):
    """250 ms, at connecting too; what it did nevertheless is not done twice."""
    server = start_server()
    ann = member(open_store(server.url))
    before, tag = ann.epoch(), new_tag()
    server.pause()
    with fails_within(0.6):
        ann.trip(FIVE_IN_A_ROW, tag=tag)
    with fails_within(0.6):
        ann.store.connect()
    server.resume()
    ann.store.connect()
    assert ann.trip(FIVE_IN_A_ROW, tag=tag, epoch=before).won
    assert len(ann.store.view().transitions) == 1


def test_a_subscription_cut_alone_is_noticed_and_made_again(server, open_store):
    """What was published meanwhile is polled, and what comes later is heard at once."""
    ann, bob = member(open_store(server.url, "cut")), member(open_store(server.url, "cut"), "bob")
    bob.store.news()
    with server.client() as client:
        client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    ann.trip(FIVE_IN_A_ROW)
    assert bob.hears().state is State.OPEN
    until(lambda: bob.store.news() is None and bob.store.fileno() is not None)
    ann.reset()
    readable, _, _ = select.select([bob.store.fileno()], [], [], 0.5)
    assert readable
    assert bob.store.news().records["shop"].state is State.CLOSED


def test_e2_a_subscription_shows_on_its_socket_and_is_read_without_waiting(server, open_store):
    """As one message, and as three that came together."""
    ann, bob = member(open_store(server.url, "shown")), member(open_store(server.url, "shown"), "bob")
    assert bob.store.news().records == {}
    assert select.select([bob.store.fileno()], [], [], 0)[0] == []
    for name in ("a", "b", "c"):
        ann.trip(FIVE_IN_A_ROW, breaker=name)
    heard = {}
    while len(heard) < 3:
        assert select.select([bob.store.fileno()], [], [], 20)[0]
        heard |= bob.store.news().records
    assert set(heard) == {"a", "b", "c"}
    assert select.select([bob.store.fileno()], [], [], 0)[0] == []
    assert min(_seconds(bob.store.news) for _ in range(5)) < 0.2


def _seconds(run):
    started = time.monotonic()
    run()
    return time.monotonic() - started


def test_a_message_that_was_lost_is_found_by_its_number(server, open_store, proxy):
    """The subscription is alive and silent; an answer tells that there is more to know."""
    way = proxy(server.port)
    ann, bob = member(open_store(server.url, "lost")), member(open_store(way.url, "lost"), "bob")
    bob.store.news()
    way.is_deaf = True
    ann.trip(FIVE_IN_A_ROW)
    until(lambda: way.swallowed)
    way.is_deaf = False
    started = time.monotonic()
    bob.flush(breaker="other")
    assert bob.hears().state is State.OPEN
    assert time.monotonic() - started < 0.5  # the poll of every second had not to come


def test_a_slow_network_is_felt_only_in_time(server, open_store, proxy):
    """Answers after 100 ms are answers."""
    way = proxy(server.port)
    ann = member(open_store(way.url, "slow"))
    way.delay = 0.1
    assert ann.trip(FIVE_IN_A_ROW).record.state is State.OPEN


@pytest.mark.parametrize("fault", ["late", "deaf"])
def test_a_network_that_does_not_deliver_is_an_error_within_the_time_out(server, open_store, proxy, fault):
    """Whether answers come too late or never; afterwards a late one is not taken for the next one's."""
    way = proxy(server.port)
    ann = member(open_store(way.url, fault))
    way.delay, way.is_deaf = (0.6, False) if fault == "late" else (0.0, True)
    with fails_within(0.6):
        ann.flush()
    with fails_within(1.2):
        ann.store.connect()
    way.delay, way.is_deaf = 0.0, False
    ann.store.connect()
    assert ann.trip(FIVE_IN_A_ROW, breaker="another").record.state is State.OPEN


@pytest.mark.parametrize("length", [0, 1, 40])
def test_an_answer_cut_in_the_middle_is_an_error(server, open_store, proxy, length):
    """Half of an answer is none; the next connection starts afresh."""
    way = proxy(server.port)
    ann = member(open_store(way.url, f"cut-{length}"))
    ann.flush()
    way.cut_after = length
    with fails_within(0.6):
        ann.flush()
    ann.store.connect()
    assert ann.trip(FIVE_IN_A_ROW).won


def test_a_message_in_pieces_is_read_when_it_is_whole(server, open_store, proxy):
    """Its beginning wakes the hub, which does not wait for the rest."""
    way = proxy(server.port)
    ann, bob = member(open_store(server.url, "pieces")), member(open_store(way.url, "pieces"), "bob")
    bob.store.news()
    way.piece, way.delay = 60, 0.02
    ann.trip(FIVE_IN_A_ROW)
    looks = 0
    news = None
    while news is None:
        assert select.select([bob.store.fileno()], [], [], 1)[0]
        started = time.monotonic()
        news = bob.store.news()
        assert time.monotonic() - started < 0.015
        looks += 1
    assert looks > 1
    assert news.records["shop"] == ann.records["shop"]


@pytest.mark.parametrize("kind", ["valkey", "redis"])
def test_d8_a_user_without_channel_rights_polls_and_writes_nothing_by_halves(start_server, open_store, kind):
    """Its trips are whole, and others' news come a little later."""
    server = start_server(kind=kind)
    with server.client() as client:
        client.execute_command(
            "ACL", "SETUSER", "app", "on", ">secret", "~recloser:1:{shop}:*", "resetchannels", "+@all"
        )
    url = f"redis://app:secret@127.0.0.1:{server.port}/0"
    ann, bob = member(open_store(url)), member(open_store(url), "bob")
    assert (bob.store.fileno(), bob.store.poll_interval) == (None, POLL_WITHOUT_NEWS)
    bob.store.news()
    answer = ann.trip(FIVE_IN_A_ROW)
    assert answer.won
    assert bob.hears() == answer.record
    assert [transition.new for transition in bob.store.view().transitions] == [State.OPEN]


def test_a_full_server_refuses_and_writes_nothing_by_halves(start_server, open_store):
    """`maxmemory` is an error like any other."""
    server = start_server("--save", "")
    ann = member(open_store(server.url))
    opened = ann.trip(FIVE_IN_A_ROW).record
    with server.client() as client:
        client.config_set("maxmemory", "1")
    with fails_within(1) as caught:
        ann.force(Mode.FORCED_OPEN)
    assert "used memory" in str(caught.value)
    with server.client() as client:
        client.config_set("maxmemory", "0")
    ann.store.connect()
    assert ann.store.news().records == {"shop": opened}
    assert len(ann.store.view().transitions) == 1


def test_a_server_that_is_only_a_replica_is_an_error(start_server, open_store):
    """After a fail-over the old one refuses to be written to."""
    server = start_server()
    ann = member(open_store(server.url))
    ann.flush()
    with server.client() as client:
        client.replicaof("127.0.0.1", "1")
    with fails_within(1):
        ann.trip(FIVE_IN_A_ROW)


def test_what_another_program_put_there_is_an_error(start_server, open_store):
    """Foreign data under our keys harms nobody but the store's health."""
    server = start_server()
    store = open_store(server.url)
    with server.client() as client:
        client.hset("recloser:1:{shop}:breaker:shop", mapping={"record": "nonsense", "epoch": "5:ab"})
    with fails_within(1):
        member(store).read()


def test_c13_a_forks_child_forgets_its_parents_connections(server, open_store):
    """The parent goes on talking on them, and the child on its own."""
    ann = member(open_store(server.url, "fork"))
    ann.flush()
    with server.client() as client:
        before = {each["id"] for each in client.client_list()}
        pid = os.fork()
        if not pid:
            try:
                ann.store.abandon()
                ann.store.connect()
                os._exit(0 if ann.trip(FIVE_IN_A_ROW).won else 2)
            finally:
                os._exit(3)
        assert os.waitpid(pid, 0)[1] == 0
        assert before <= {each["id"] for each in client.client_list()}
    assert ann.hears().state is State.OPEN
    assert not ann.flush().won


def test_c13_connections_are_abandoned_without_a_word(server, open_store):
    """Not even a polite end: the socket's other owner needs it."""
    store = open_store(server.url, "abandoned")
    inherited = os.dup(store.fileno())
    try:
        store.abandon()
        assert store.fileno() is None
        with server.client() as client:
            client.publish("recloser:1:{abandoned}:news", "still open")
        assert select.select([inherited], [], [], 1)[0]
        assert b"still open" in os.read(inherited, 4096)
    finally:
        os.close(inherited)
