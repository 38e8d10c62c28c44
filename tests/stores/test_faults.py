"""Real workers whose Valkey is stopped, killed, emptied and cut off: callers feel nothing, and the fleet meets again."""

from __future__ import annotations

import pytest

from stores.crew import crew, until

LONG = {"recovery_timeout": 60}
# Seconds: less than any wait for a store. A busy machine may do it to one look, a wait in each call's way to all.
QUICK = 0.1


def cut_subscriptions(server) -> int:
    """End all connections that listen, and leave those that ask."""
    with server.client() as client:
        return int(client.execute_command("CLIENT", "KILL", "TYPE", "pubsub"))


def test_a_server_that_hangs_is_felt_by_no_caller(start_server):
    """SIGSTOP: calls stay as quick, each worker leads itself, and all meet again when the server goes on."""
    server = start_server()
    with crew(server.url, 3, **LONG) as (first, second, third):
        server.pause()
        try:
            first.trip()
            assert first.ask("state") == "open"
            assert second.ask("call") == "success"
            until(lambda: second.ask("slowest") < QUICK)
            until(lambda: {hand.ask("connection") for hand in (first, second, third)} == {"down"})
            until(lambda: second.ask("slowest") < QUICK)
        finally:
            server.resume()
        until(lambda: {hand.ask("state") for hand in (first, second, third)} == {"open"})
        assert len({tuple(hand.ask("epoch")) for hand in (first, second, third)}) == 1


def test_a_server_killed_and_restarted_empty_is_seeded_by_those_who_know(start_server):
    """What is open stays open, what an operator forced stays forced, and who comes late learns of it (D1)."""
    server = start_server()
    with crew(server.url, 2, **LONG) as (first, second):
        first.trip()
        until(lambda: second.ask("state") == "open")
        server.kill()
        until(lambda: {hand.ask("connection") for hand in (first, second)} == {"down"})
        assert {hand.ask("call") for hand in (first, second)} == {"refused: open"}
        server.start()
        until(lambda: {hand.ask("connection") for hand in (first, second)} == {"up"})
        with crew(server.url, 1, **LONG) as (late,):
            until(lambda: late.ask("state") == "open")
            until(lambda: len({tuple(hand.ask("epoch")) for hand in (first, second, late)}) == 1)
        first.ask("mode", act="force_closed")
        until(lambda: second.ask("call") == "success")
        server.kill()
        server.start()
        until(lambda: {hand.ask("connection") for hand in (first, second)} == {"up"})
        with crew(server.url, 1, **LONG) as (late,):
            assert late.ask("call", fails=True) == "failure"
            until(lambda: "forced_closed" in late.ask("seen_mode"))


def test_a_server_emptied_behind_its_connections_is_seeded_by_those_who_know(start_server):
    """FLUSHALL, while nobody has anything to tell: who comes late still learns what an operator forced (D1)."""
    server = start_server()
    with crew(server.url, 2, **LONG) as (first, second):
        first.ask("mode", act="force_open")
        until(lambda: second.ask("call") == "refused: forced_open")
        with server.client() as client:
            client.flushall()
        until(lambda: len(first.ask("stored")) == 1)
        assert {hand.ask("connection") for hand in (first, second)} == {"up"}
        with crew(server.url, 1, **LONG) as (late,):
            assert late.ask("call") == "refused: forced_open"


def test_a_server_restarted_with_its_data_changes_nothing(start_server):
    """An append-only file: the same epoch before and after."""
    server = start_server("--appendonly", "yes", "--appendfsync", "always")
    with crew(server.url, 2, **LONG) as (first, second):
        first.trip()
        until(lambda: second.ask("state") == "open")
        epoch = first.ask("epoch")
        server.kill()
        until(lambda: {hand.ask("connection") for hand in (first, second)} == {"down"})
        server.start()
        until(lambda: {hand.ask("connection") for hand in (first, second)} == {"up"})
        assert [hand.ask("epoch") for hand in (first, second)] == [epoch, epoch]


def test_a_subscription_cut_alone_loses_nothing(start_server):
    """CLIENT KILL of all who listen: the next trip is heard all the same, and health does not even tell."""
    server = start_server()
    with crew(server.url, 2, **LONG) as (first, second):
        assert cut_subscriptions(server) >= 2
        first.trip()
        until(lambda: second.ask("state") == "open")
        assert {hand.ask("connection") for hand in (first, second)} == {"up"}
        until(lambda: cut_subscriptions(server) == 2)


@pytest.mark.parametrize("outage", ["kill", "pause"])
def test_a_worker_cut_off_recovers_by_itself(start_server, outage):
    """Open when the server goes, healthy by itself: each worker probes once, and both are closed (E6)."""
    server = start_server()
    with crew(server.url, 2, recovery_timeout=0.5) as (first, second):
        first.trip()
        until(lambda: second.ask("state") == "open")
        getattr(server, outage)()
        until(lambda: first.ask("call") == "success")
        until(lambda: second.ask("call") == "success")
        assert {hand.ask("state") for hand in (first, second)} == {"closed"}
