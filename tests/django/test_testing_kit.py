"""The testing kit under Django, with its sync and async clients."""

from __future__ import annotations

import json

import pytest
from django.test import AsyncClient, Client, override_settings
from shopsite.services import Inventory, OutageError

from recloser.django import breaker, conf, registry
from recloser.testing import Breakers, assert_degraded


def test_a_circuit_is_opened_before_the_first_request(
    breakers: Breakers, client: Client, services: Inventory
):
    """Django's breakers are made when they are first asked for: the kit asks."""
    assert conf._installed is None
    breakers.open("inventory")
    page = client.get("/product/")
    assert page.json() == {"quantity": None}
    assert_degraded(page, strategy="json", breaker="inventory")
    assert services.calls == 0


def test_the_answer_is_named_in_its_header_alone(breakers: Breakers, client: Client):
    """EXPOSE is off: the answer itself is the one that the public gets."""
    breakers.open("inventory")
    page = client.get("/late/")
    assert_degraded(page, strategy="unavailable", breaker="inventory")
    assert json.loads(page.content).keys() == {"type", "title", "status", "detail"}


def test_the_last_good_page_grows_too_old(breakers: Breakers, client: Client, services: Inventory):
    """The response cache keeps the same time as the breakers."""
    assert client.get("/product/").json() == {"quantity": 7}
    with breakers.open("inventory"):
        breakers.clock.advance(20)
        page = client.get("/product/")
        assert_degraded(page, strategy="stale", breaker="inventory")
        assert page["Age"] == "20"
    breakers.clock.advance(600)
    breakers.open("inventory")
    assert_degraded(client.get("/product/"), strategy="json")


@pytest.mark.anyio
async def test_the_async_client_is_answered_alike(breakers: Breakers, async_client: AsyncClient):
    """Under ASGI."""
    breakers.open("inventory")
    assert_degraded(await async_client.get("/product-async/"), strategy="json", breaker="inventory")


def test_an_injected_error_is_the_views_own(breakers: Breakers, client: Client, services: Inventory):
    """It trips the circuit, which then answers."""
    with breakers.inject("inventory", OutageError("down")), pytest.raises(OutageError):
        client.get("/product/")
    assert services.calls == 0
    assert breakers.state(breaker("inventory")) == "open"
    assert_degraded(client.get("/product/"), breaker="inventory")
    breakers.clock.advance(30)
    assert client.get("/product/").json() == {"quantity": 7}
    assert breakers.state(breaker("inventory")) == "closed"


def test_a_lazy_breaker_is_as_good_as_its_name(breakers: Breakers):
    """`recloser.django.breaker` stands for one."""
    breakers.open(breaker("payments"))
    assert registry["payments"].state == "open"


def test_settings_may_be_overridden(breakers: Breakers):
    """The breakers that they make are in the test's hands too."""
    with override_settings(RECLOSER={"BREAKERS": {"parcels": {"recovery_timeout": 5, "recovery_jitter": 0}}}):
        breakers.open("parcels")
        assert registry["parcels"].snapshot().retry_after == 5


def test_one_test_leaves_its_page_in_the_cache(breakers: Breakers, client: Client):
    """And the next one does not find it there."""
    assert client.get("/product/").json() == {"quantity": 7}


def test_the_next_test_finds_nothing_kept(breakers: Breakers, client: Client):
    """Nothing leaks from one test to the next."""
    breakers.open("inventory")
    assert_degraded(client.get("/product/"), strategy="json")
