"""Every way to a Redis or Valkey: sockets, TLS, sentinels, clusters; its keys; and what it costs."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest
from redis.exceptions import ResponseError

from recloser.core.state import Epoch, Mode, State
from recloser.stores.operations import Chance, Flush, new_tag
from recloser.stores.protocol import StoreError
from recloser.stores.redis import BREAKERS
from recloser.stores.view import Belief, Worker
from stores.fleet import NO_WINDOW, TERMS, Member
from stores.servers import KINDS, free_port, until
from stores.test_counting import FIVE_IN_A_ROW


def speaks(store, other):
    """Two clients share a circuit, and the second hears of it."""
    ann, bob = Member(store, "ann", NO_WINDOW), Member(other, "bob", NO_WINDOW)
    bob.store.news()
    ann.trip(FIVE_IN_A_ROW)
    assert bob.store.fileno() is not None
    assert bob.hears() == ann.records["shop"]


@pytest.fixture(scope="session")
def certificate(tmp_path_factory) -> Path:
    """A self-signed certificate for 127.0.0.1, with its key."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl: apt-get install openssl")
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
            ),
            *("-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem"), "-days", "2"),
            *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )
    return folder / "cert.pem"


def test_f2_a_database_of_its_own(server, open_store):
    """A number in the path."""
    url = server.url.removesuffix("0") + "3"
    speaks(open_store(url, "database"), open_store(url, "database"))
    assert not open_store(server.url, "database").view().breakers


@pytest.mark.parametrize("kind", KINDS)
def test_f2_a_unix_socket(start_server, open_store, tmp_path, kind):
    """On one machine, without a port."""
    start_server("--unixsocket", str(tmp_path / "s"), kind=kind)
    speaks(*(open_store(f"unix://{tmp_path / 's'}") for _ in range(2)))


@pytest.mark.parametrize("kind", KINDS)
def test_f2_the_rights_that_the_docs_name_are_enough(start_server, open_store, kind):
    """For every operation; the server's log tells of nothing that was refused."""
    text = (Path(__file__).parents[2] / "docs" / "fleet.md").read_text()
    command = text[text.index("ACL SETUSER shop") :].partition("```")[0].split()
    server = start_server(kind=kind)
    url = f"redis://shop:password@127.0.0.1:{server.port}/1"
    with server.client() as client:
        client.execute_command(*command)
        ann, other = Member(open_store(url), "ann", TERMS), open_store(url)
        ann.flush(breaker="counted", calls=1)
        speaks(ann.store, other)
        ann.beat("counted", "shop")
        other.view()
        ann.store.leave("ann")
        assert client.acl_log() == []


@pytest.mark.parametrize("kind", KINDS)
def test_f2_tls_is_verified(start_server, open_store, proxy, certificate, kind):
    """Commands and messages are encrypted; a certificate that nobody vouches for is refused."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    way = proxy(start_server(kind=kind).port, tls=context)
    url = f"rediss://127.0.0.1:{way.port}/0"
    with pytest.raises(StoreError, match="certificate verify failed"):
        open_store(url)
    speaks(*(open_store(f"{url}?ssl_ca_certs={certificate}") for _ in range(2)))


def test_f2_tls_of_the_server_itself(start_server, open_store, certificate):
    """Redis's own TLS, with a password."""
    key, port = str(certificate.with_name("key.pem")), free_port()
    start_server(
        *("--tls-port", str(port), "--tls-cert-file", str(certificate), "--tls-key-file", key),
        *("--tls-ca-cert-file", str(certificate), "--tls-auth-clients", "no", "--requirepass", "s3cret"),
        kind="redis",
    )
    url = f"rediss://:s3cret@127.0.0.1:{port}/0?ssl_ca_certs={certificate}"
    speaks(open_store(url), open_store(url))


def test_f2_sentinels_tell_who_serves_also_after_a_fail_over(start_server, open_store):
    """The one that was promoted has the record, and the fleet goes on with it."""
    master = start_server("--save", "")
    replica = start_server(
        "--save", "", "--replicaof", "127.0.0.1", str(master.port), "--repl-diskless-sync-delay", "0"
    )
    watch = f"sentinel monitor shop 127.0.0.1 {master.port} 1\n"
    quick = "sentinel down-after-milliseconds shop 300\nsentinel failover-timeout shop 1000\n"
    sentinel = start_server("--sentinel", config=watch + quick)
    url = f"redis+sentinel://127.0.0.1:1,127.0.0.1:{sentinel.port}/shop/0"
    with pytest.raises(StoreError, match="No master found for 'other'"):
        open_store(url.replace("shop", "other"))
    store, other = open_store(url), open_store(url)
    speaks(store, other)
    opened = Member(store, "ann", NO_WINDOW).read()
    with sentinel.client() as asked, replica.client() as follower:
        until(lambda: follower.info("replication")["master_link_status"] == "up")
        until(lambda: asked.execute_command("SENTINEL", "REPLICAS", "shop"), 15)
    with master.client() as client:
        assert client.wait(1, 5000) == 1
    master.kill()
    with pytest.raises(StoreError):
        store.exchange([])
    until(lambda: _connects(store), 30)
    assert store.news().records == {"shop": opened}
    assert Member(store, "ann", NO_WINDOW).force(Mode.SHADOW).won


def _connects(store):
    try:
        store.connect()
        store.exchange([])
    except StoreError:
        return False
    return True


@pytest.mark.parametrize("kind", KINDS)
def test_f2_a_cluster_redirects_to_the_node_that_has_the_namespace(start_server, open_store, kind):
    """Whichever node comes first in the URL; messages cross the cluster, and a node that is gone is passed over."""
    options = ("--cluster-enabled", "yes", "--save", "", "--cluster-require-full-coverage", "no")
    buses = [free_port(), free_port()]
    nodes = [start_server(*options, "--cluster-port", str(bus), kind=kind) for bus in buses]
    for node, slots in zip(nodes, ((0, 8191), (8192, 16383)), strict=True):
        with node.client() as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", *slots)
            client.execute_command("CLUSTER", "MEET", "127.0.0.1", nodes[0].port, buses[0])
    for node in nodes:
        until(lambda node=node: _is_whole(node), 20)
    for name in ("shop", "cart", "blog"):  # of slots on either node
        stores = [open_store(f"redis+cluster://127.0.0.1:1,127.0.0.1:{node.port}", name) for node in nodes]
        speaks(*stores)
        Member(stores[0], "ann", TERMS).beat("shop")
        view = stores[1].view()
        assert set(view.breakers) == {"shop"}
        assert len(view.workers) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_f2_a_cluster_fails_over_to_a_replica(start_server, open_store, kind):
    """The one that took over has the record; commands and messages go on through it, wherever they come in."""
    options = ("--cluster-enabled", "yes", "--save", "", "--repl-diskless-sync-delay", "0")
    buses = [free_port(), free_port()]
    master, replica = (start_server(*options, "--cluster-port", str(bus), kind=kind) for bus in buses)
    with master.client() as first, replica.client() as second:
        first.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        identity = first.execute_command("CLUSTER", "MYID").decode()
        second.execute_command("CLUSTER", "MEET", "127.0.0.1", master.port, buses[0])
        until(lambda: identity.encode() in _raw(second, "CLUSTER", "NODES"), 20)
        until(lambda: _replicates(second, identity), 20)
        until(lambda: second.info("replication")["master_link_status"] == "up", 20)
        until(lambda: b"cluster_state:ok" in _raw(first, "CLUSTER", "INFO"), 20)
        url = f"redis+cluster://127.0.0.1:{master.port},127.0.0.1:{replica.port}"
        ann, bob = (Member(open_store(url), name, NO_WINDOW) for name in ("ann", "bob"))
        speaks(ann.store, bob.store)
        opened = ann.read()
        assert first.wait(1, 5000) == 1
        master.kill()
        with pytest.raises(StoreError):
            ann.store.exchange([])
        second.execute_command("CLUSTER", "FAILOVER", "TAKEOVER")
        until(lambda: _connects(ann.store), 20)
    assert ann.store.news().records == {"shop": opened}
    until(lambda: _connects(bob.store), 20)
    bob.store.news()
    ann.read()
    assert ann.force(Mode.SHADOW).won
    assert bob.hears().override.mode is Mode.SHADOW


def _raw(client, *command):
    told = client.execute_command(*command)
    return told if isinstance(told, bytes) else str(told).encode()


def _replicates(client, master):
    try:
        client.execute_command("CLUSTER", "REPLICATE", master)
    except ResponseError:  # it has not shaken hands with it yet
        return False
    return True


def _is_whole(node):
    with node.client() as client:
        return (
            b"cluster_state:ok" in _raw(client, "CLUSTER", "INFO")
            and len(client.execute_command("CLUSTER", "SLOTS")) == 2
        )


@pytest.mark.parametrize(
    ("one", "other"),
    [("shop", "shop2"), ("a", "a}:breaker:x"), ("a:b", "a{b"), ("é", "e"), ("a", "A"), ("%7D", "}")],
)
def test_d7_namespaces_never_mix(server, open_store, one, other):
    """However alike their names are."""
    ann, bob = (Member(open_store(server.url, name), "w", NO_WINDOW) for name in (one, other))
    ann.store.news()
    bob.store.news()
    ann.trip(FIVE_IN_A_ROW)
    ann.beat()
    bob.trip(FIVE_IN_A_ROW, breaker="mine")
    assert set(ann.store.view().breakers) == {"shop"}
    assert set(bob.store.view().breakers) == {"mine"}
    assert not bob.store.view().workers
    assert bob.store.news() is None


def test_d7_keys_carry_the_schema_and_are_of_one_slot(server, open_store):
    """A cluster can serve them together, and another schema has other ones."""
    ann = Member(open_store(server.url, "k:{1}"), "w", TERMS)
    ann.flush(breaker="x{y}:é", calls=10, failures=10)
    ann.beat()
    with server.client() as client:
        keys = {key.decode() for key in client.scan_iter(match="recloser:*k:*")}
    prefix = "recloser:1:{k:%7B1%7D}:"
    assert keys == {
        prefix + suffix
        for suffix in ("revision", "breakers", "transitions", "workers", "beats", "breaker:x%7By%7D:%C3%A9")
    }


def test_d9_only_records_at_rest_expire(server, open_store):
    """Closed, automatic and without backoff; whatever else is kept for good."""
    ann = Member(open_store(server.url, "ttl"), "w", TERMS)

    def ttl(name):
        with server.client() as client:
            return client.ttl(f"recloser:1:{{ttl}}:breaker:{name}")

    ann.flush(breaker="counted", calls=1)
    assert 86_000 < ttl("counted") <= 86_400
    ann.trip(FIVE_IN_A_ROW, breaker="opened")
    assert ttl("opened") == -1
    ann.reset(breaker="opened")
    assert 86_000 < ttl("opened") <= 86_400
    ann.force(Mode.SHADOW, breaker="counted")
    assert ttl("counted") == -1
    ann.flush(breaker="counted", calls=1)
    assert ttl("counted") == -1
    ann.trip(FIVE_IN_A_ROW, breaker="flapping", period=0.0, reopenings=1)
    (grant,) = ann.lease(breaker="flapping").grants
    assert ann.settle(grant.id, breaker="flapping").record.state is State.CLOSED
    assert ttl("flapping") == -1


def test_d9_breakers_in_use_do_not_expire(server, open_store):
    """A heartbeat tells which they are; those held for good are not given a time by it."""
    ann = Member(open_store(server.url, "used"), "w", TERMS)
    ann.flush(breaker="rare", calls=1)
    ann.trip(FIVE_IN_A_ROW, breaker="open")
    with server.client() as client:
        client.expire("recloser:1:{used}:breaker:rare", 50)
        ann.beat("rare", "open", "unknown")
        assert client.ttl("recloser:1:{used}:breaker:rare") > 86_000
        assert client.ttl("recloser:1:{used}:breaker:open") == -1
        assert not client.exists("recloser:1:{used}:breaker:unknown")


def test_d9_a_breaker_that_has_expired_leaves_no_trace(server, open_store):
    """The view forgets its name."""
    ann = Member(open_store(server.url, "gone"), "w", TERMS)
    ann.flush(calls=1)
    with server.client() as client:
        client.delete("recloser:1:{gone}:breaker:shop")
        assert not ann.store.view().breakers
        assert not client.zcard("recloser:1:{gone}:breakers")


def test_transitions_are_bounded(server, open_store):
    """The list keeps the latest five hundred."""
    ann = Member(open_store(server.url, "many"), "w", TERMS)
    for _ in range(510):
        ann.force(Mode.SHADOW)
    kept = ann.store.view(transitions=1000).transitions
    assert (len(kept), kept[0].revision) == (500, 510)


def test_d3_time_is_the_servers(server, open_store):
    """All workers count by one clock, whatever theirs say."""
    ann = Member(open_store(server.url, "time"), "w", NO_WINDOW)
    with server.client() as client:
        seconds, micros = client.time()
    now = ann.store.exchange([]).now
    assert 0 <= now - (seconds + micros / 1e6) < 5
    record = ann.trip(FIVE_IN_A_ROW).record
    assert record.open_until - record.since == pytest.approx(10)
    assert record.since == pytest.approx(now, abs=5)


def test_the_view_of_a_large_fleet_is_one_round_trip(server, open_store):
    """200 breakers and 8 workers that tell of each."""
    store = open_store(server.url, "large")
    names = [f"breaker-{number}" for number in range(200)]
    store.exchange([Flush(name, "w", TERMS, Chance(new_tag()), Epoch(0, 0), 10, 9) for name in names])
    beliefs = {name: Belief(Epoch(1, new_tag()), State.OPEN, Mode.AUTO, 12345, 678) for name in names}
    for number in range(8):
        store.beat(Worker(f"w{number}", "host", number, "0.1", 1.7e9, beliefs))
    with server.client() as client:
        client.config_resetstat()
        view = store.view()
        assert client.info("commandstats")["cmdstat_evalsha"]["calls"] in (
            1,
            2,
        )  # it may have to be told first
    assert len(view.breakers) == 200
    assert [len(heard.worker.beliefs) for heard in view.workers] == [200] * 8


def test_a_view_of_more_than_that_is_read_piece_by_piece(server, open_store):
    """The server does nothing else while it answers, and none of its answers may take as long as its time-out."""
    store = open_store(server.url, "huge")
    names = [f"breaker-{number}:é" for number in range(2 * BREAKERS + 50)]
    for start in range(0, len(names), 150):
        some = names[start : start + 150]
        store.exchange([Flush(name, "w", TERMS, Chance(new_tag()), Epoch(0, 0), 10) for name in some])
    ann = Member(store, "ann", NO_WINDOW)
    ann.beat()
    with server.client() as client:
        client.config_resetstat()
        view = store.view()
        assert client.info("commandstats")["cmdstat_evalsha"]["calls"] in (3, 4)
    assert set(view.breakers) == set(names)
    assert {shared.calls for shared in view.breakers.values()} == {10}
    assert [heard.worker.id for heard in view.workers] == ["ann"]
