"""What is remembered beside breakers is forgotten between tests as well."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from recloser import CircuitBreaker, CircuitOpenError, Registry, last_good
from recloser.metrics.logging import log_events
from recloser.retry.budgets import FLOOR, BudgetCounts, budget, counts
from recloser.testing import isolated


def test_a_last_good_result_is_of_one_test(depot: CircuitBreaker):
    """The next test finds none, and its own grows old by its clock."""

    @depot.protect(fallback=last_good(max_age=600))
    def stock(product: int) -> int:
        return product

    stock(7)
    with isolated() as breakers, breakers.open(depot), pytest.raises(CircuitOpenError):
        stock(7)
    with isolated() as breakers:
        stock(7)
        with breakers.open(depot):
            assert stock(7) == 7
            breakers.clock.advance(601)
        with breakers.open(depot), pytest.raises(CircuitOpenError):
            stock(7)


def used_up(breaker: CircuitBreaker) -> bool:
    return not budget(breaker).take(breaker._driver.clock(), breaker.snapshot().calls)


def test_a_retry_budget_is_of_one_test(depot: CircuitBreaker):
    """However many retries one test made, at whatever time of its clock, the next one has all of them."""
    budget(depot)
    for _ in range(2):
        with isolated() as breakers:
            breakers.clock.advance(3600)
            assert [used_up(depot) for _ in range(FLOOR + 1)] == [False] * FLOOR + [True]
            assert counts(depot) == (FLOOR, 1)
    assert counts(depot) == BudgetCounts()
    assert not used_up(depot)


@pytest.fixture
def shop() -> Iterator[Registry]:
    with Registry({"BREAKERS": {"stock": {"duration_buckets": [1]}}}) as registry:
        yield registry


def test_counts_are_of_one_test(shop: Registry):
    """Degraded answers and durations too."""
    for _ in range(2):
        with isolated() as breakers:
            shop.degraded.note("stock", "json")
            shop["stock"].call(lambda: 1)
            durations = breakers.snapshot(shop["stock"]).durations
            assert durations is not None
            assert sum(durations.counts) == 1
            assert shop.degraded.counts() == {("stock", "json"): 1}
    assert shop.degraded.counts() == {}
    assert shop["stock"].snapshot().durations.counts == (0, 0)  # type: ignore[union-attr]


def test_refusals_are_logged_in_their_own_test(shop: Registry, caplog: pytest.LogCaptureFixture):
    """The summary of those that one test has not seen logged is none of the next one's."""
    log_events(shop)
    for _ in range(2):
        caplog.clear()
        with isolated() as breakers:
            breakers.open(shop["stock"])
            with pytest.raises(CircuitOpenError):
                shop["stock"].acquire()
        assert [record.change for record in caplog.records] == ["state"]  # type: ignore[attr-defined]


def test_a_declared_store_is_left_out_by_the_environment(tmp_path, monkeypatch):
    """What production declares need not be edited for tests."""
    declaration = {"STORE": f"sqlite:///{tmp_path}/own/breakers.db", "BREAKERS": {"stock": {}}}
    led = Registry(declaration)
    with led, isolated() as breakers, pytest.raises(RuntimeError, match="RECLOSER_STORE=null"):
        breakers.open(led["stock"])
    monkeypatch.setenv("RECLOSER_STORE", "null")
    with isolated() as breakers, Registry(declaration) as alone:
        breakers.open(alone["stock"])
        assert alone["stock"].state == "open"
    assert not (tmp_path / "own").exists()
