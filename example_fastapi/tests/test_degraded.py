"""The shop's degraded pages, without a service or a network: the fixture `breakers` is recloser's pytest plugin."""

from __future__ import annotations

from fastapi.testclient import TestClient
from shop import app

from recloser.testing import Breakers, assert_degraded

shop = TestClient(app)


def test_a_product_has_a_page_while_the_inventory_is_down(breakers: Breakers) -> None:
    """A page that nobody has seen before is the one without a quantity."""
    breakers.open("inventory")
    page = shop.get("/products/7")
    assert page.json() == {"quantity": None}
    assert_degraded(page, strategy="json", breaker="inventory")
