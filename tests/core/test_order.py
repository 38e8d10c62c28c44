"""A breaker around a retry is noticed: it would count one failure where its dependency saw many."""

from __future__ import annotations

import functools
import subprocess
import sys
import warnings

import pytest
import stamina
import tenacity

from recloser import CircuitBreaker
from recloser.core import order


@pytest.fixture(autouse=True)
def forgetful(monkeypatch):
    """Each test warns anew."""
    monkeypatch.setattr(order, "_warned", set())


def charge():
    """Pay."""


async def refund():
    """Pay back."""


class Shop:
    @tenacity.retry
    def charge(self):
        """Pay."""


def logged(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


@pytest.mark.parametrize(
    ("library", "retried"),
    [
        ("tenacity", tenacity.retry(charge)),
        ("tenacity", tenacity.retry(refund)),
        ("stamina", stamina.retry(on=OSError)(charge)),
        ("stamina", stamina.retry(on=OSError)(refund)),
        ("tenacity", logged(tenacity.retry(charge))),
        ("tenacity", functools.partial(tenacity.retry(charge))),
        ("tenacity", Shop().charge),
    ],
    ids=["tenacity", "tenacity, async", "stamina", "stamina, async", "decorated", "partial", "method"],
)
@pytest.mark.parametrize("protect", [lambda b: b, lambda b: b.protect(fallback=None)], ids=["@", "protect"])
def test_a_breaker_around_a_retry_is_warned_about(library, retried, protect):
    """The message names the breaker and the right order; the function is protected all the same."""
    breaker = CircuitBreaker("payments")

    with pytest.warns(UserWarning, match=rf"'payments' is wrapped around {library}'s retries") as caught:
        assert callable(protect(breaker)(retried))

    assert f"the {library} decorator above, @breaker below it" in str(caught[0].message)
    assert caught[0].filename == __file__


def test_the_warning_comes_once_for_each_breaker_and_function():
    """A function that is decorated again and again is not news."""
    retried = tenacity.retry(charge)
    payments, stock = CircuitBreaker("payments"), CircuitBreaker("stock")

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            payments(retried)
            stock(retried)

    assert len(caught) == 2


def test_what_is_remembered_is_bounded(monkeypatch):
    """A program that makes functions without end is warned about the first of them."""
    monkeypatch.setattr(order, "REMEMBERED", 1)
    payments = CircuitBreaker("payments")

    with pytest.warns(UserWarning, match="payments"):
        payments(tenacity.retry(charge))
    payments(stamina.retry(on=OSError)(refund))

    assert len(order._warned) == 1


def test_the_right_order_is_no_trouble():
    """A retry around the breaker, other decorators and endless chains warn about nothing."""
    breaker = CircuitBreaker("payments")

    def endless():
        """Says that it wraps itself."""

    endless.__wrapped__ = endless

    tenacity.retry(breaker(charge))
    breaker(logged(charge))
    breaker(endless)
    breaker(eval("lambda: None", {}))


def test_no_retry_library_is_imported_for_it():
    """The order is told from the function alone."""
    code = (
        "import sys; from recloser import CircuitBreaker; CircuitBreaker('b')(lambda: 1);"
        "sys.exit('warnings' in set(sys.modules) - before or 'tenacity' in sys.modules)"
    )

    ran = subprocess.run(
        [sys.executable, "-c", "import sys; before = set(sys.modules) | {'warnings'};" + code], check=False
    )

    assert ran.returncode == 0
