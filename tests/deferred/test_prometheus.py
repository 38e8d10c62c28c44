"""A queue's depth and age, as Prometheus is told."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from deferred.test_attempts import Refused, drain, scripted
from recloser import Registry
from recloser.deferred.prometheus import instrument
from recloser.metrics.prometheus import exposition


def lines(registry: CollectorRegistry) -> dict[str, float]:
    samples = [
        line.rsplit(" ", 1) for line in generate_latest(registry).decode().splitlines() if line[0] != "#"
    ]
    return {name: float(value) for name, value in samples}


def test_jobs_are_told_by_state_with_the_age_of_the_oldest(make, clock):
    """Every state is there from the first scrape."""
    queue, registry = make(rate=1000.0), CollectorRegistry()
    instrument(queue, registry)
    assert set(lines(registry).values()) == {0}
    _, charge = scripted(queue, "paid", Refused(402))
    charge.later()
    charge.later()
    drain(queue, clock)
    charge.later()
    clock.advance(7)

    assert lines(registry) == {
        'circuit_breaker_queue_jobs{state="queued"}': 1,
        'circuit_breaker_queue_jobs{state="running"}': 0,
        'circuit_breaker_queue_jobs{state="done"}': 1,
        'circuit_breaker_queue_jobs{state="failed"}': 1,
        "circuit_breaker_queue_oldest_seconds": 7,
    }


def test_a_queue_that_cannot_be_read_harms_no_scrape(make, caplog):
    """Its numbers are missing, and the log says why."""
    queue, registry = make(), CollectorRegistry()
    instrument(queue, registry)
    queue.depth()
    queue.close()
    queue.table.path.write_bytes(b"no database" * 100)

    assert lines(registry) == {}
    assert "is not a database" in caplog.text


def test_with_no_registry_named_it_stands_beside_the_breakers(make):
    """Until it is ended; a second queue there would not be told from the first."""
    breakers = Registry({"BREAKERS": {"payments": {}}})
    end = instrument(make())
    try:
        assert b'queue_jobs{state="queued"} 0.0' in exposition(breakers)[0]
        with pytest.raises(ValueError, match="circuit_breaker_queue_jobs"):
            instrument(make())
    finally:
        end()
    assert b"queue_jobs" not in exposition(breakers)[0]
    end()
