"""The testing kit with FastAPI's TestClient, and its assertions on answers."""

from __future__ import annotations

from types import SimpleNamespace

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from recloser import Registry
from recloser.fastapi import guard, install
from recloser.http import plans, rigging
from recloser.testing import Breakers, assert_degraded

registry = Registry(
    {
        "DEFAULTS": {"failure_threshold": 2, "recovery_timeout": 30, "recovery_jitter": 0},
        "BREAKERS": {"inventory": {}, "prices": {}},
    }
)
app = FastAPI()
install(app, registry, expose=False)


@app.get("/products")
@guard("inventory", plan=[plans.stale(600), plans.json({"quantity": None})])
async def product() -> dict[str, object]:
    return {"quantity": 7}


@app.get("/prices", dependencies=[guard("prices")])
def price() -> dict[str, object]:
    return {"price": registry["prices"].call(lambda: 12)}


@app.exception_handler(httpx2.HTTPError)
async def bad_gateway(request: object, error: httpx2.HTTPError) -> object:
    from fastapi.responses import PlainTextResponse

    return PlainTextResponse("a service failed", 502)


client = TestClient(app)


def test_a_degraded_answer_says_who_gave_it(breakers: Breakers):
    """Though the application exposes nothing to the public."""
    breakers.open("inventory")
    page = client.get("/products")
    assert_degraded(page)
    assert_degraded(page, strategy="json", breaker="inventory")
    assert "breaker" not in client.get("/prices").headers.get("recloser", "")


def test_the_body_is_what_the_public_gets(breakers: Breakers):
    """Only the header tells more."""
    breakers.open("prices")
    answer = client.get("/prices")
    assert_degraded(answer, strategy="unavailable", breaker="prices")
    assert answer.json().keys() == {"type", "title", "status", "detail"}


def test_when_to_come_back_is_told_exactly(breakers: Breakers):
    """Without the jitter that spreads those who obey it."""
    breakers.open("prices")
    breakers.clock.advance(9)
    assert {client.get("/prices").headers["retry-after"] for _ in range(20)} == {"21"}


def test_what_is_not_degraded_fails_the_test(breakers: Breakers):
    """The assertion says what it found instead."""
    with pytest.raises(AssertionError, match="application's own: 200"):
        assert_degraded(client.get("/products"))
    breakers.open("inventory")
    page = client.get("/products")
    with pytest.raises(AssertionError, match="the strategy is 'stale', not 'json'"):
        assert_degraded(page, strategy="json")
    with pytest.raises(AssertionError, match="the breaker is 'inventory', not 'prices'"):
        assert_degraded(page, breaker="prices")


def test_an_answer_that_does_not_say_is_no_proof():
    """Outside of a test that holds the breakers, the strategy of a degraded answer is not known."""
    registry["inventory"].force_open(by="ann", reason="drill")
    page = client.get("/products")
    registry["inventory"].auto(by="ann", reason="drill")
    assert page.headers["recloser"] == "degraded"
    assert_degraded(page)
    with pytest.raises(LookupError, match="names no strategy: use the fixture `breakers`"):
        assert_degraded(page, strategy="json")


def test_a_quoted_name_is_read_whole():
    """Names may hold what separates parameters."""
    note = 'degraded; strategy=json; breaker="api.example:443"'
    assert_degraded(
        SimpleNamespace(status_code=200, headers={"recloser": note}),
        strategy="json",
        breaker="api.example:443",
    )


def test_injected_errors_take_the_applications_own_way(breakers: Breakers):
    """Its exception handlers answer until the circuit opens; then the plan does."""
    with breakers.inject("inventory", httpx2.ConnectError("down")):
        assert [client.get("/products").status_code for _ in range(2)] == [502, 502]
        assert_degraded(client.get("/products"), strategy="json", breaker="inventory")
    breakers.clock.advance(30)
    assert client.get("/products").json() == {"quantity": 7}
    assert breakers.snapshot(registry["inventory"]).closed == 1


def test_a_dependency_guard_fails_alike(breakers: Breakers):
    """The calls inside and the guard around them are one dependency's."""
    with breakers.inject("prices", httpx2.ConnectError("down")):
        assert [client.get("/prices").status_code for _ in range(2)] == [502, 502]
    assert_degraded(client.get("/prices"), strategy="unavailable", breaker="prices")
    breakers.clock.advance(30)
    assert client.get("/prices").json() == {"price": 12}


def test_a_kept_page_keeps_the_tests_time(breakers: Breakers):
    """Its age is moved by the clock, and so is its end."""
    client.get("/products")
    breakers.clock.advance(60)
    breakers.open("inventory")
    page = client.get("/products")
    assert_degraded(page, strategy="stale")
    assert page.headers["age"] == "60"
    breakers.clock.advance(600)
    breakers.open("inventory")
    assert_degraded(client.get("/products"), strategy="json")


def test_the_next_test_finds_no_kept_page(breakers: Breakers):
    """Nothing leaks from one test to the next."""
    breakers.open("inventory")
    assert_degraded(client.get("/products"), strategy="json")


def test_an_application_made_in_the_test_is_held_as_well(breakers: Breakers):
    """Its breakers and its cache are younger than the fixture."""
    earlier = set(rigging.caches)
    own = Registry({"BREAKERS": {"late": {}}})
    made = FastAPI()
    install(made, own)

    @made.get("/")
    @guard("late", plan=[plans.stale(60)])
    async def page() -> str:
        return "good"

    late = TestClient(made)
    late.get("/")
    (cache,) = [cache for cache in rigging.caches if cache not in earlier]
    assert cache._clock() == cache._clock()  # it stands still, however long the test takes
    breakers.clock.advance(30)
    breakers.open("late")
    answer = late.get("/")
    assert_degraded(answer, strategy="stale", breaker="late")
    assert answer.headers["age"] == "30"
