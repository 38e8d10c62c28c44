"""Whose fault: what an API or a database transaction makes of an error does not count against a dependency."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from shopsite.services import Inventory, OutageError
from shopsite.tools import trip

from recloser.django import registry


@pytest.fixture
def rest_handler(settings) -> None:
    """DRF uses recloser's exception handler."""
    settings.REST_FRAMEWORK = {"EXCEPTION_HANDLER": "recloser.django.rest.exception_handler"}


def routed(settings, name: str) -> None:
    settings.RECLOSER = {**settings.RECLOSER, "ROUTES": {name: {"breakers": ["inventory"]}}}


@pytest.mark.parametrize(
    "path", ["/rest/unavailable/", "/ninja/error?status=500", "/ninja-installed/error?status=500"]
)
def test_api_without_handler_is_answered_by_the_middleware(client: Client, path: str, opened: object):
    """A refusal in an API is a problem document without any handler."""
    response = client.get(path)

    assert (response.status_code, response["Content-Type"]) == (503, "application/problem+json")
    assert "Retry-After" in response


@pytest.mark.usefixtures("rest_handler", "opened")
def test_rest_handler_writes_a_problem(client: Client):
    """DRF's handler renders the 503 as a problem document, with Retry-After."""
    response = client.get("/rest/unavailable/")

    assert (response.status_code, response["Content-Type"]) == (503, "application/problem+json")
    assert (response.json()["status"], response.data["title"]) == (503, "Service Unavailable")
    assert int(response["Retry-After"]) >= 30
    assert response["Cache-Control"] == "no-store"


@pytest.mark.usefixtures("rest_handler")
def test_rest_handler_leaves_other_strategies_alone(client: Client):
    """DRF's handler answers by the plan."""
    trip()

    response = client.get("/rest/dispatch/", headers={"X-Key": "right"})

    assert (response.status_code, json.loads(response.content)) == (200, {"quantity": None})


@pytest.mark.usefixtures("rest_handler")
def test_rest_handler_leaves_other_errors_to_the_default(client: Client):
    """DRF's own errors look as ever."""
    assert client.get("/rest/dispatch/").json() == {"detail": "Authentication credentials were not provided."}


def test_rest_exception_is_judged_by_its_status(client: Client):
    """An APIException of status 503 is a failure."""
    assert client.get("/rest/asleep/").status_code == 503
    assert registry["inventory"].state == "open"


@pytest.mark.usefixtures("rest_handler")
@pytest.mark.parametrize(
    ("route", "path"),
    [("rest_routed", "/rest/routed/"), ("installed:throttled", "/ninja-installed/throttled")],
)
def test_throttle_is_no_failure(client: Client, settings, route: str, path: str):
    """A throttled request counts against no breaker, although its status is 429."""
    routed(settings, route)
    headers = {"X-Client": route}
    assert client.get(path, headers=headers).status_code == 200

    assert client.get(path, headers=headers).status_code == 429

    numbers = registry["inventory"].snapshot()
    assert (numbers.state, numbers.failures, numbers.ignored) == ("closed", 0, 1)


def test_invalid_input_of_ninja_is_no_failure(client: Client):
    """Input that is not valid never reaches the guard."""
    response = client.post("/ninja/order", {"quantity": "many"}, content_type="application/json")

    assert (response.status_code, registry["inventory"].snapshot().calls) == (422, 0)


@pytest.mark.parametrize(("status", "failures"), [(404, 0), (500, 1), (429, 1)])
def test_ninja_error_is_judged_by_its_status(client: Client, status: int, failures: int):
    """An HttpError that the view raises counts by its status."""
    client.get(f"/ninja/error?status={status}")

    assert registry["inventory"].snapshot().failures == failures


@pytest.mark.usefixtures("opened")
@pytest.mark.parametrize("debug", [False, True])
def test_installed_ninja_is_answered_by_its_plan_with_debug_too(client: Client, settings, debug: bool):
    """With DEBUG django-ninja would print a traceback; `install` leaves the refusal to the plan."""
    settings.DEBUG = debug

    response = client.get("/ninja-installed/product", headers={"X-Key": "right"})

    assert (response.status_code, response.json()) == (200, {"quantity": None})


@pytest.fixture
def atomic(transactional_db: None) -> Iterator[None]:
    """Each request is one transaction."""
    connection.settings_dict["ATOMIC_REQUESTS"] = True
    yield
    connection.settings_dict["ATOMIC_REQUESTS"] = False


@pytest.mark.usefixtures("atomic")
@pytest.mark.parametrize("path", ["/create/", "/rest/create/", "/ninja-installed/create"])
def test_work_of_a_good_request_stays(client: Client, path: str):
    """While all circuits are closed, a guarded view's database work is committed."""
    assert client.get(path).status_code == 200
    assert User.objects.count() == 1


@pytest.mark.usefixtures("atomic", "rest_handler")
@pytest.mark.parametrize("path", ["/create/", "/rest/create/", "/ninja-installed/create"])
def test_refusal_rolls_back(client: Client, path: str):
    """Under ATOMIC_REQUESTS a refusal in the midst of a guarded view undoes the view's database work."""
    trip("payments")

    assert client.get(path).status_code == 503
    assert not User.objects.exists()


@pytest.mark.usefixtures("atomic")
def test_failure_rolls_back(client: Client, services: Inventory):
    """So does a failure."""
    services.error = OutageError("down")

    with pytest.raises(OutageError):
        client.get("/create/")

    assert not User.objects.exists()
