"""What type checkers tell a user of the retry companions: checked by mypy and pyright, and run once by pytest."""

from __future__ import annotations

import asyncio
from typing import assert_type

import stamina

from recloser import CircuitBreaker
from recloser.retry import BudgetCounts, budget, counts
from recloser.retry.stamina import on
from recloser.retry.tenacity import retrying

payments = CircuitBreaker("payments")


@retrying(payments, attempts=2)
@payments
def charge(amount: float, /, *, currency: str = "EUR") -> str:
    return f"{amount} {currency}"


@retrying(payments)
@payments
async def refund(amount: float) -> int:
    return int(amount)


@stamina.retry(on=on(payments), attempts=2)
@payments
def balance(account: str) -> float:
    return 12.5


def test_a_retried_function_keeps_its_signature() -> None:
    """Parameters and results are those of the function."""
    assert_type(charge(1.0, currency="USD"), str)
    assert_type(asyncio.run(refund(1.0)), int)
    assert_type(balance("ann"), float)


def test_the_budget_says_what_it_counts() -> None:
    """Numbers by name."""
    assert_type(counts(payments), BudgetCounts)
    assert_type(counts(payments).granted, int)
    assert_type(budget(payments).share, float)
