"""What stands in a store and cannot be read costs only its breaker, or its worker's report, and is made good again."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fleet import NAME, fleet_in
from fleet import Fleet as Hubs
from recloser.core.state import Mode, State
from recloser.stores.protocol import StoreError
from recloser.stores.record import UNKNOWN
from recloser.stores.redis import RedisStore
from recloser.stores.sqlite import SQLiteStore
from stores.fleet import TERMS, Clock, Member, namespace
from stores.servers import KINDS, Server, until
from stores.test_counting import FIVE_IN_A_ROW


def changed(**parts: object):
    """Change parts of a record or of what stands beside it."""

    def change(written: str) -> str:
        entry = json.loads(written)
        for name, value in parts.items():
            (entry["record"] if name in entry["record"] else entry)[name] = value
        return json.dumps(entry)

    return change


REFUSED = "ACL failure|can't run this command"  # as servers tell of a right that is missing
DAMAGE = {
    "no JSON": lambda _: "{",
    "another thing": lambda _: "[]",
    "nested without end": lambda _: "[" * 100_000,
    "no UTF-8": lambda _: b'{"record":"\xff',
    "a state of another version": changed(state="isolated"),
    "a mode of another version": changed(override=["quarantine", "", "", None]),
    "an operator without a name": changed(override=["auto", 7, "", None]),
    "a cause of another version": changed(cause=["boredom", 1, 1, 1, "", ""]),
    "a moment beyond all": changed(since=1e999),
    "a count beyond all": changed(revision=10**30),
    "a count that is none": changed(reopenings=-1),
    "a text that is none": changed(last_failure=None),
    "votes that are none": changed(votes=5),
    "a vote without an end": changed(votes={"ann": "soon"}),
    "a lease without a holder": changed(places={"x": [None, 0, 0, False]}),
    "a bucket without counts": changed(buckets=[[1.0, 5]]),
    "tokens that are none": changed(tokens=["x"]),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "fleet" / "store.db"


def damage(path: Path, table: str, key: str, written: str | bytes) -> None:
    column, name = ("entry", "name") if table == "breakers" else ("report", "id")
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute(f"UPDATE {table} SET {column} = CAST(? AS TEXT) WHERE {name} = ?", (written, key))
        assert database.execute("SELECT changes()").fetchone() == (1,)


def entry_of(path: Path, breaker: str) -> str:
    with closing(sqlite3.connect(path)) as database:
        return database.execute("SELECT entry FROM breakers WHERE name = ?", (breaker,)).fetchone()[0]


@pytest.fixture
def join(path: Path) -> Iterator:
    members: list[Member] = []
    clock = Clock()

    def joined(worker: str) -> Member:
        store = SQLiteStore(path, clock=clock, wall_clock=clock, boot="test")
        members.append(Member(store, worker, TERMS))
        store.connect()
        return members[-1]

    yield joined
    for member in members:
        member.store.close()


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_record_that_cannot_be_read_costs_only_its_breaker(join, path, caplog, kind):
    """To all others it is as if the store had lost that one; it is named once, and who knows it restores it."""
    ann = join("ann")
    opened = ann.trip(FIVE_IN_A_ROW, breaker="sick").record
    ann.trip(FIVE_IN_A_ROW, breaker="well")
    damage(path, "breakers", "sick", DAMAGE[kind](entry_of(path, "sick")))

    bob = join("bob")
    news = bob.store.news().records
    assert (news["well"].state, news["sick"]) == (State.OPEN, UNKNOWN)
    assert bob.store.view().breakers["well"].record.state is State.OPEN
    assert bob.store.view().breakers["sick"].record == UNKNOWN
    assert bob.flush(breaker="well").record.state is State.OPEN
    told = [record.getMessage() for record in caplog.records]
    assert [text[:14] for text in told] == ["breaker 'sick'"]
    assert "it is replaced by what the workers know" in told[0]

    assert ann.flush(breaker="sick", epoch=opened.epoch).record == UNKNOWN
    restored = ann.restore(opened, remaining=5.0, breaker="sick").record
    assert (restored.state, restored.epoch.number) == (State.OPEN, opened.epoch.number + 1)
    assert bob.hears("sick") == restored
    assert json.loads(entry_of(path, "sick"))["record"]["state"] == "open"


def test_a_breaker_that_nobody_knows_any_more_begins_anew(join, path, caplog):
    """The next that is told of it is written over what cannot be read."""
    join("ann").trip(FIVE_IN_A_ROW)
    damage(path, "breakers", "shop", "{")
    bob = join("bob")
    bob.flush(calls=1)
    assert bob.trip(FIVE_IN_A_ROW).record.epoch.number == 1
    assert json.loads(entry_of(path, "shop"))["record"]["state"] == "open"
    assert len(caplog.records) == 1


def test_another_boot_adopts_the_rest(join, path):
    """A record that cannot be read keeps nobody out after a reboot."""
    ann = join("ann")
    ann.force(Mode.FORCED_OPEN, breaker="well")
    ann.trip(FIVE_IN_A_ROW, breaker="sick")
    damage(path, "breakers", "sick", "{")
    rebooted = SQLiteStore(path, boot="another")
    rebooted.connect()
    try:
        told = {name: shared.record for name, shared in rebooted.view().breakers.items()}
        assert (told["well"].override.mode, told["sick"].state) == (Mode.FORCED_OPEN, State.CLOSED)
    finally:
        rebooted.close()


@pytest.mark.parametrize(
    "report",
    [
        "{",
        "[]",
        '["ann", "host", "x", "1", 0, {}]',
        '["ann", "host", 1, "1", 0, {"shop": [1, "ff", "open", "auto", "x", ""]}]',
    ],
)
def test_a_report_that_cannot_be_read_hides_only_its_worker(join, path, caplog, report):
    """Until the next one comes; and it is named once."""
    ann, bob = join("ann"), join("bob")
    for member in (ann, bob):
        member.beat("shop")
    damage(path, "workers", "ann", report)
    for _ in range(2):
        assert [each.worker.id for each in bob.store.view().workers] == ["bob"]
    assert [record.getMessage()[:12] for record in caplog.records] == ["worker 'ann'"]
    ann.beat("shop")
    assert [each.worker.id for each in bob.store.view().workers] == ["ann", "bob"]


def test_a_transition_that_cannot_be_read_hides_no_other(join, path, caplog):
    """The list of the latest changes has one entry less."""
    ann = join("ann")
    ann.force(Mode.SHADOW)
    ann.force(Mode.AUTO)
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("UPDATE transitions SET report = '[1]' WHERE revision = 1")
    assert [each.new_mode for each in ann.store.view().transitions] == [Mode.AUTO]
    assert caplog.records[0].getMessage().startswith("transition 1: ")


def test_a_count_of_changes_that_cannot_be_read_names_the_remedy(join, path):
    """That is of no one breaker: nothing can be trusted any more."""
    ann = join("ann")
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("UPDATE meta SET value = 'many' WHERE key = 'revision'")
    with pytest.raises(StoreError, match="remove the file, and the workers begin a new one"):
        ann.flush()


def test_a_fleet_keeps_its_operators_mode_over_a_damaged_record(path, tmp_path):
    """The store is not lost for a moment; without a call, the workers' own look around finds and restores it."""
    with fleet_in(tmp_path, 2) as fleet:
        fleet[0].breaker.force_open(by="ann", reason="migration")
        fleet.pass_time(0.5)
        damage(path, "breakers", NAME, "{")
        newcomer = fleet.join()
        assert newcomer.breaker.mode.mode is Mode.AUTO
        fleet.pass_time(3)
        assert newcomer.breaker.mode.by == fleet.join().breaker.mode.by == "ann"
        assert {member.registry.store_health.connection for member in fleet.members} == {"up"}
        assert fleet[0].epoch == fleet[1].epoch == fleet[2].epoch


def fill(beside: Member, fleet: Hubs) -> list[str]:
    """Let a server hold of some breakers all that it can hold."""
    beside.store.connect()
    beside.force(Mode.SHADOW, breaker="forced", expires=fleet.time.wall() + 60)
    beside.flush(calls=3, failures=1, breaker="counted")
    beside.terms = TERMS._replace(trip_quorum=3)
    beside.trip(FIVE_IN_A_ROW, breaker="voted", vote_ttl=1000.0)
    beside.terms = TERMS
    beside.trip(FIVE_IN_A_ROW, breaker="probed", period=0.0)
    for _ in range(2):
        granted = beside.lease(breaker="probed")
        fleet.time.now += TERMS.probe_timeout
    assert granted.grants
    names = ["forced", "counted", "probed", "voted"]
    assert [beside.store.view().breakers[name].votes for name in names] == [0, 0, 0, 1]
    return names


SERVER_DAMAGE = {
    "no JSON": lambda client, key: client.hset(key, "record", "{"),
    "no UTF-8": lambda client, key: client.hset(key, "record", b'{"record":"\xff'),
    "a mode of another version": lambda client, key: client.hset(
        key, "record", client.hget(key, "record").replace(b"forced_open", b"isolated")
    ),
    "a rest that is none": lambda client, key: client.hset(key, "rest", "5"),
    "a bucket that is none": lambda client, key: client.hset(key, "w:x:y", "z"),
    "no hash": lambda client, key: client.set(key, "x"),
}


@pytest.mark.parametrize("kind", SERVER_DAMAGE)
def test_a_server_drops_what_cannot_be_read_and_gets_it_from_who_knows(
    server: Server, tmp_path, caplog, kind
):
    """After one look through all that it holds; whatever can be read stays as it is."""
    name = namespace()
    keys = f"recloser:1:{{{name}}}:breaker:"
    fleet = Hubs(tmp_path, 2, lambda clock: RedisStore(server.url, name, clock=clock), recovery_timeout=60)
    beside = Member(RedisStore(server.url, name, clock=fleet.time), "eve", TERMS)
    try:
        kept_of = fill(beside, fleet)
        fleet[0].breaker.force_open(by="ann", reason="migration")
        until(lambda: fleet.pass_time(0.1) or fleet[1].breaker.mode.by == "ann")
        before = fleet[0].epoch
        with server.client() as client:
            kept = {name: client.hgetall(keys + name) for name in kept_of}
            SERVER_DAMAGE[kind](client, keys + NAME)
        newcomer = fleet.join()
        until(lambda: fleet.pass_time(0.1) or newcomer.epoch == fleet[0].epoch == fleet[1].epoch > before)
        assert {member.breaker.mode.by for member in fleet.members} == {"ann"}
        assert {member.registry.store_health.connection for member in fleet.members} == {"up"}
        with server.client() as client:
            assert {name: client.hgetall(keys + name) for name in kept_of} == kept
        assert f"breaker '{NAME}': its record in the store {server.url}" in caplog.text
    finally:
        fleet.close()
        beside.store.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_refuses_to_show_a_record_keeps_it(start_server, kind):
    """Rights that are missing say nothing about what stands there: whoever lacks them replaces nothing."""
    server = start_server(kind=kind)
    owner = Member(RedisStore(server.url, "shop"), "ann", TERMS)
    poor = Member(RedisStore(f"redis://app:secret@127.0.0.1:{server.port}/0", "shop"), "bob", TERMS)
    try:
        owner.store.connect()
        owner.force(Mode.FORCED_OPEN)
        with server.client() as client:
            client.execute_command("ACL", "SETUSER", "app", "on", ">secret", "~*", "&*", "+@all", "-hgetall")
            kept = client.hgetall("recloser:1:{shop}:breaker:shop")
            poor.store.connect()
            with pytest.raises(StoreError, match=REFUSED):
                poor.flush(calls=1)
            with pytest.raises(StoreError, match=REFUSED):
                poor.store.connect()
            assert client.hgetall("recloser:1:{shop}:breaker:shop") == kept
    finally:
        poor.store.close()
        owner.store.close()
