"""The shop keeps answering while the services behind it fail: its views, its API, its settings."""

from __future__ import annotations

import io
import json

import pytest
from django.core.management import call_command
from django.test import AsyncClient, Client
from shop_processes import Downstream

SICKNESSES = ["errors", "hang", "reset", "truncated"]
ORDER = {"product": 7, "quantity": 1}
BROWSER = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture(autouse=True)
def failures_are_responses(client: Client, async_client: AsyncClient) -> None:
    """A view's exception is the 500 that a visitor would see."""
    client.raise_request_exception = async_client.raise_request_exception = False


def fail(client: Client, path: str, times: int = 3) -> None:
    """Let a page fail until its circuit trips."""
    assert [client.get(path).status_code for _ in range(times)] == [500] * times


def fail_payments(client: Client, times: int = 3) -> None:
    assert [client.post("/checkout", ORDER).status_code for _ in range(times)] == [500] * times


@pytest.mark.usefixtures("shop")
def test_a_healthy_shop_answers_from_its_services(client: Client) -> None:
    """With healthy services every answer is theirs and carries no sign of recloser."""
    product = client.get("/products/7")
    assert (product.status_code, "<h1>Teapot no. 7</h1>" in product.content.decode()) == (200, True)
    assert "4 in stock" in product.content.decode()
    assert "Recloser" not in product.headers
    assert client.get("/recommendations").json() == {"products": [3, 14, 15]}
    assert "R-00001" in client.post("/checkout", ORDER).content.decode()
    assert client.post("/api/checkout", ORDER, "application/json").json() == {"receipt": "R-00002"}


@pytest.mark.parametrize("sickness", SICKNESSES)
def test_products_are_served_stale_or_as_a_page_that_knows_less(
    client: Client, shop: Downstream, sickness: str
) -> None:
    """Behind an open circuit a known product is its last good page, an unknown one says what it cannot say."""
    good = client.get("/products/7")
    shop.become("inventory", sickness)
    fail(client, "/products/7")

    known, unknown = client.get("/products/7"), client.get("/products/8", headers=BROWSER)

    assert (known.status_code, known.content) == (200, good.content)
    assert known["Cache-Status"].startswith("recloser; hit")
    assert int(known["Age"]) >= 0
    assert (unknown.status_code, unknown["Cache-Control"]) == (200, "no-store")
    assert "We cannot say at the moment" in unknown.content.decode()
    assert 'href="/products/8/order"' in unknown.content.decode()


@pytest.mark.anyio
@pytest.mark.parametrize("sickness", SICKNESSES)
async def test_recommendations_are_left_out(
    async_client: AsyncClient, shop: Downstream, sickness: str
) -> None:
    """The async view does the same on an event loop: without its service there is nothing to recommend."""
    shop.become("recommendations", sickness)
    statuses = [(await async_client.get("/recommendations")).status_code for _ in range(3)]

    answer = await async_client.get("/recommendations")

    assert statuses == [500] * 3
    assert (answer.status_code, json.loads(answer.content)) == (200, {"products": []})


def test_slow_recommendations_trip_too(client: Client, shop: Downstream) -> None:
    """A service that answers, but too slowly to wait for, opens its circuit by its slow-call rate."""
    shop.become("recommendations", "slow")
    slow = [client.get("/recommendations").json() for _ in range(10)]
    assert slow == [{"products": [3, 14, 15]}] * 10
    assert client.get("/recommendations").json() == {"products": []}


def test_checkout_is_refused_with_a_friendly_page(client: Client, shop: Downstream) -> None:
    """Behind an open circuit checkout is a 503 page that says when to come back, and nothing is charged."""
    shop.become("payments", "errors")
    fail_payments(client)
    charged = shop.received("payments")

    refused = client.post("/checkout", ORDER, headers=BROWSER)

    assert (refused.status_code, refused["Cache-Control"]) == (503, "no-store")
    assert int(refused["Retry-After"]) >= 1
    assert "Nothing has been charged" in refused.content.decode()
    assert shop.received("payments") == charged


def test_checkout_by_the_api_is_refused_with_a_problem_document(client: Client, shop: Downstream) -> None:
    """The API's circuit is the same one; its answer is for programs (RFC 9457)."""
    shop.become("payments", "errors")
    fail_payments(client)
    charged = shop.received("payments")

    refused = client.post("/api/checkout", ORDER, "application/json")

    assert (refused.status_code, refused["Content-Type"]) == (503, "application/problem+json")
    assert int(refused["Retry-After"]) >= 1
    assert shop.received("payments") == charged


def test_an_order_that_makes_no_sense_reaches_no_service(client: Client, shop: Downstream) -> None:
    """Invalid input is the customer's fault: it charges nothing and counts against nobody."""
    wrong = {"product": 7, "quantity": 0}
    assert client.post("/checkout", wrong).status_code == 400
    assert client.post("/api/checkout", wrong, "application/json").status_code == 400
    assert shop.received("payments") == 0


def test_the_order_form_is_personal_and_needs_no_service(shop: Downstream) -> None:
    """The form comes while everything is down, and its token is what checkout asks for."""
    client = Client(enforce_csrf_checks=True)
    shop.become("all", "reset")
    assert client.get("/products/7/order").status_code == 200
    assert client.post("/checkout", ORDER).status_code == 403

    shop.become("all", "healthy")
    order = {**ORDER, "csrfmiddlewaretoken": client.cookies["csrftoken"].value}

    assert client.post("/checkout", order).status_code == 200


def test_one_sick_service_leaves_the_others_alone(client: Client, shop: Downstream) -> None:
    """Each service has a circuit of its own."""
    shop.become("inventory", "errors")
    fail(client, "/products/7")
    assert client.get("/recommendations").json() == {"products": [3, 14, 15]}
    assert client.post("/checkout", ORDER).status_code == 200


def test_metrics_tell_of_the_outage(client: Client, shop: Downstream) -> None:
    """What pages somebody: the open circuit, and the page that users got instead."""
    shop.become("inventory", "errors")
    fail(client, "/products/7")
    client.get("/products/8", headers=BROWSER)

    told = client.get("/metrics").content.decode()

    assert 'circuit_breaker_state{service_name="inventory"} 1.0' in told
    assert 'circuit_breaker_state{service_name="payments"} 0.0' in told
    assert 'circuit_breaker_degraded_total{service_name="inventory",strategy="template"}' in told


def test_the_project_is_sound() -> None:
    """`manage.py check` and `makemigrations --check` have nothing to say."""
    out = io.StringIO()
    call_command("check", "--fail-level", "WARNING", stdout=out)
    assert "no issues" in out.getvalue()
    call_command("recloser", "check", stdout=out)  # also says that a deployment has several workers
    assert "recloser.E" not in out.getvalue()


@pytest.mark.django_db
def test_no_migration_is_missing() -> None:
    """The models and the migrations agree."""
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)
