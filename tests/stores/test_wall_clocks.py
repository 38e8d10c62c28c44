"""The time of day moves by an hour, on the server or on one worker's machine: the fleet opens and closes as before."""

from __future__ import annotations

from pathlib import Path

import pytest

from stores.crew import crew, until

POLICY = {"recovery_timeout": 1, "probe_timeout": 30}


class Day:
    """A time of day that a test sets, for processes with this environment (libfaketime)."""

    def __init__(self, folder: Path) -> None:
        found = list(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
        if not found:
            pytest.skip("needs libfaketime: apt-get install faketime")
        self._file = folder / "faketime"
        self.move("+0")
        self.environment = {
            "LD_PRELOAD": str(found[0]),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def move(self, offset: str) -> None:
        """Move it by so much from the true one, as in `-1h`."""
        beside = self._file.with_suffix(".new")
        beside.write_text(offset)
        beside.rename(self._file)  # it is read at each look at the clock


@pytest.fixture
def day(tmp_path) -> Day:
    return Day(tmp_path)


@pytest.mark.parametrize("offset", ["-1h", "+1h"])
def test_an_open_circuit_closes_although_the_servers_clock_moves(start_server, day, offset):
    """Its workers count the time by their own, steady clocks."""
    server = start_server(environment=day.environment)
    with crew(server.url, 2, **POLICY) as (first, second):
        first.trip()
        until(lambda: second.ask("state") == "open")
        day.move(offset)
        until(lambda: second.ask("call") == "success")
        until(lambda: {hand.ask("state") for hand in (first, second)} == {"closed"})
        assert {hand.ask("connection") for hand in (first, second)} == {"up"}


def test_the_lease_of_a_dead_worker_ends_although_the_servers_clock_is_set_back(start_server, day):
    """It was granted in what is now the future, and would stand for an hour."""
    server = start_server(environment=day.environment)
    with crew(server.url, 2, **POLICY) as (first, second):
        first.trip()
        until(lambda: second.ask("state") == "open")
        assert first.ask("probe") == "admitted"
        first.kill()
        until(lambda: second.ask("call") == "refused: half_open")
        day.move("-1h")
        until(lambda: second.ask("call") == "success")


@pytest.mark.parametrize("offset", ["-1h", "+1h"])
def test_a_worker_whose_clock_moves_is_a_member_as_before(tmp_path, day, offset):
    """It opens with the others, probes for them, and closes with them."""
    store = f"sqlite://{tmp_path}/fleet/store.db"
    with crew(store, 1, **POLICY) as (first,), crew(store, 1, day.environment, **POLICY) as (second,):
        first.trip()
        until(lambda: second.ask("state") == "open")
        day.move(offset)
        until(lambda: second.ask("call") == "success")
        until(lambda: {hand.ask("state") for hand in (first, second)} == {"closed"})
        second.trip()
        until(lambda: first.ask("state") == "open")
        assert len({tuple(hand.ask("epoch")) for hand in (first, second)}) == 1
