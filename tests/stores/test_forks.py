"""C13: a process that forks while it is a member of a fleet."""

from __future__ import annotations

import time

import pytest

from core.forking import in_child
from recloser import CircuitOpenError, Registry, State


def failing():
    return 1 / 0


def test_c13_a_child_joins_the_fleet_with_its_first_call(tmp_path):
    """Though that is refused by what the child has inherited, it begins a hub of its own."""
    store = f"sqlite:///{tmp_path / 'fleet.db'}"
    with Registry({"STORE": store, "BREAKERS": {"shop": {"failure_threshold": 1}}}) as registry:
        breaker = registry["shop"]
        assert registry.ready(20)
        with pytest.raises(ZeroDivisionError):
            breaker.call(failing)
        assert breaker.state is State.OPEN
        worker = registry.store_health.worker

        def check() -> None:
            with pytest.raises(CircuitOpenError):
                breaker.call(failing)
            while registry.store_health.connection != "up":
                time.sleep(0.001)
            assert registry.store_health.worker != worker
            assert breaker.state is State.OPEN
            registry.close()

        in_child(check)
