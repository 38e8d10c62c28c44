"""Plans that answer counted failures before the circuit opens, in views of every kind."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator

import pytest
from django.contrib.auth.models import User
from django.core.signals import got_request_exception, request_finished
from django.db import connection
from django.test import AsyncClient, Client
from shopsite import failing
from shopsite.services import Inventory, OutageError

from recloser.core.errors import ConfigurationError
from recloser.django import conf, registry

VIEWS = ["product/", "product-async/", "class/", "class-async/", "rest/product/"]
FIXED = {"quantity": None}


@pytest.fixture(autouse=True)
def _patient(settings) -> None:
    """Circuits stay closed: the first failure does not trip."""
    settings.RECLOSER = {**settings.RECLOSER, "DEFAULTS": {"failure_threshold": 100}}


@pytest.fixture
def quiet() -> Client:
    """A client that does not raise what error reporters are told."""
    return Client(raise_request_exception=False)


@pytest.fixture
def reported() -> Iterator[list[tuple[object, object]]]:
    """What error reporters hear: the request's path, and the exception that is being handled."""
    heard: list[tuple[object, object]] = []

    def report(sender: object, request: object, **_: object) -> None:
        heard.append((request.path, sys.exc_info()[0]))

    got_request_exception.connect(report)
    yield heard
    got_request_exception.disconnect(report)


@pytest.fixture
def logged(caplog) -> Callable[[], list[logging.LogRecord]]:
    caplog.set_level(logging.ERROR)
    return lambda: [record for record in caplog.records if record.levelno == logging.ERROR]


def counted() -> tuple[int, int]:
    seen = registry["inventory"].snapshot()
    return seen.calls, seen.failures


@pytest.mark.parametrize("view", VIEWS)
def test_plan_answers_an_exception(quiet: Client, view: str, services: Inventory, reported, logged):
    """The client gets the answer, the log the traceback, and reporters the signal, as Django sends it."""
    services.error = OutageError("down")

    response = quiet.get(f"/failing/{view}")

    assert (response.status_code, response.json()) == (200, FIXED)
    assert response["Cache-Control"] == "no-store"
    assert response["Recloser"] == "degraded"
    assert counted() == (1, 1)
    assert registry.degraded.counts() == {("inventory", "json"): 1}
    assert reported == [(f"/failing/{view}", OutageError)]
    (record,) = logged()
    assert (record.name, record.exc_info[1]) == ("recloser", services.error)


@pytest.mark.anyio
@pytest.mark.parametrize("view", VIEWS)
async def test_plan_answers_an_exception_under_asgi(view: str, services: Inventory, reported):
    """The same holds under ASGI."""
    services.error = OutageError("down")

    response = await AsyncClient(raise_request_exception=False).get(f"/failing/{view}")

    assert (response.status_code, json.loads(response.content)) == (200, FIXED)
    assert counted() == (1, 1)
    assert reported == [(f"/failing/{view}", OutageError)]


def test_test_clients_raise_what_is_hidden(client: Client, services: Inventory):
    """As they do for every exception of which Django sends its signal."""
    services.error = OutageError("down")

    with pytest.raises(OutageError):
        client.get("/failing/product/")


def test_exception_of_a_late_template_is_answered(quiet: Client, services: Inventory):
    """A view's answer is rendered after it, and fails as part of it."""
    services.error = OutageError("down")

    assert quiet.get("/failing/late/").json() == FIXED
    assert counted() == (1, 1)


@pytest.mark.parametrize("view", VIEWS[:4])  # who DRF's user is was asked for: such a page is personal
def test_last_good_response_is_served(quiet: Client, view: str, services: Inventory):
    """Marked as what it is; the failed request leaves it in its place."""
    quiet.get(f"/failing/{view}")
    services.error = OutageError("down")

    for _ in range(2):
        response = quiet.get(f"/failing/{view}")
        assert response.json() == {"quantity": 7}
        assert response["Cache-Status"] == "recloser; hit; ttl=0; detail=call-failed"


@pytest.mark.parametrize("status", [500, 503, 429])
@pytest.mark.parametrize("view", ["status", "status-async"])
def test_plan_answers_a_bad_answer(client: Client, view: str, status: int, reported, logged):
    """An answer with 5xx or 429 is replaced, headers and all; there is no exception to report."""
    response = client.get(f"/failing/{view}/{status}/")

    assert (response.status_code, response.json()) == (200, FIXED)
    assert "X-Own" not in response.headers
    assert counted() == (1, 1)
    assert reported == []
    (record,) = logged()
    assert record.getMessage() == (
        f"breaker 'inventory' counted a failure: status {status}; "
        f"a plan answered GET /failing/{view}/{status}/"
    )


@pytest.mark.anyio
@pytest.mark.parametrize("view", ["status", "status-async"])
async def test_plan_answers_a_bad_answer_under_asgi(async_client: AsyncClient, view: str):
    """The same holds under ASGI."""
    response = await async_client.get(f"/failing/{view}/502/")

    assert (response.status_code, json.loads(response.content)) == (200, FIXED)
    assert counted() == (1, 1)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 302, 204])
def test_other_answers_stay(client: Client, status: int):
    """They are no failures."""
    response = client.get(f"/failing/status/{status}/")

    assert (response.status_code, response["X-Own"]) == (status, "yes")
    assert registry.degraded.counts() == {}


def test_answer_without_a_better_one_is_the_views_own(client: Client, logged):
    """Where only the `unavailable` that stands last by itself is left, nothing is hidden."""
    response = client.get("/failing/empty/502/")

    assert (response.status_code, response.content, response["X-Own"]) == (502, b"own", "yes")
    assert counted() == (1, 1)
    assert registry.degraded.counts() == {}
    assert [record.name for record in logged()] == ["django.request"]


def test_ignored_exceptions_stay(quiet: Client, services: Inventory, reported):
    """Django's own, and those that the policy ignores, are answered and reported as ever."""
    from django.core.exceptions import PermissionDenied, SuspiciousOperation, ValidationError
    from django.http import Http404

    for error, status in (
        (Http404(), 404),
        (PermissionDenied(), 403),
        (SuspiciousOperation(), 400),
        (ValidationError("x"), 500),
    ):
        services.error = error
        assert quiet.get("/failing/product/").status_code == status
    assert reported == [("/failing/product/", ValidationError)]
    assert registry.degraded.counts() == {}


def test_exception_that_the_policy_does_not_count_stays(quiet: Client, settings, reported):
    """Nor is the 500 replaced that Django makes of it, although an inner call had failed before."""
    settings.RECLOSER = {
        **settings.RECLOSER,
        "BREAKERS": {"inventory": {"failure_on": (OSError,)}, "payments": {}, "prices": {}},
    }

    assert quiet.get("/failing/recovers/").status_code == 500
    assert counted() == (1, 1)
    assert reported == [("/failing/recovers/", LookupError)]


@pytest.mark.parametrize("repeated", [1, 3])
def test_inner_failure_is_answered_and_counted_once(quiet: Client, services: Inventory, repeated: int):
    """Also once the guard has learnt that inner calls count instead of the view's outcome."""
    services.error = OutageError("down")

    for number in range(1, repeated + 1):
        assert quiet.get("/failing/inner/").json() == FIXED
        assert counted() == (number, number)


def test_body_of_a_replaced_stream_is_closed(client: Client):
    """What it holds is let go of, and the request is finished only once."""
    finished: list[object] = []
    request_finished.connect(receiver := lambda **_: finished.append(1))
    failing.closed.clear()

    try:
        assert client.get("/failing/streams/").json() == FIXED
    finally:
        request_finished.disconnect(receiver)

    assert failing.closed == ["body"]
    failing.bodies.clear()
    assert len(finished) <= 1
    assert counted() == (1, 1)


def test_shadow_changes_nothing(client: Client):
    """A breaker in shadow mode only reports."""
    registry["inventory"].shadow(by="ann", reason="test")

    assert client.get("/failing/status/500/").status_code == 500


def test_handled_exception_of_rest_framework_is_answered(client: Client):
    """DRF makes a 503 of it; its plan has something better."""
    response = client.get("/failing/rest/asleep/")

    assert (response.status_code, response.json()) == (200, FIXED)
    assert counted() == (1, 1)


@pytest.mark.parametrize("view", ["product/", "rest/product/"])
def test_exception_handler_of_rest_framework_makes_no_difference(
    quiet: Client, settings, services: Inventory, view: str
):
    """With recloser's own handler too."""
    settings.REST_FRAMEWORK = {"EXCEPTION_HANDLER": "recloser.django.rest.exception_handler"}
    services.error = OutageError("down")

    assert quiet.get(f"/failing/{view}").json() == FIXED
    assert counted() == (1, 1)


@pytest.mark.parametrize("view", ["create/", "rest/create/"])
@pytest.mark.parametrize("fails", [False, True])
def test_hidden_failure_rolls_back(
    quiet: Client, transactional_db: None, services: Inventory, view: str, fails: bool
):
    """Under ATOMIC_REQUESTS the view's database work is undone, although its client sees no error."""
    connection.settings_dict["ATOMIC_REQUESTS"] = True
    services.error = OutageError("down") if fails else None

    try:
        assert quiet.get(f"/failing/{view}").status_code == 200
    finally:
        connection.settings_dict["ATOMIC_REQUESTS"] = False

    assert User.objects.exists() is not fails


# -- ROUTES --------------------------------------------------------------------------------------------------------


@pytest.fixture
def routes(settings) -> None:
    """All views below `routed/` are guarded by a route whose plan answers failures."""
    settings.RECLOSER = {
        **settings.RECLOSER,
        "ROUTES": {
            "/failing/routed/*": {
                "breakers": ["inventory"],
                "plan": [{"stale": 600}, {"json": {"secret": 1}}],
                "on": ["open", "failure"],
            }
        },
    }


@pytest.mark.usefixtures("routes")
@pytest.mark.parametrize("view", ["plain", "async"])
@pytest.mark.parametrize("answers_badly", [False, True])
def test_route_answers_failures(quiet: Client, view: str, services: Inventory, answers_badly: bool, reported):
    """Exceptions and bad answers of a view that nothing stands around."""
    services.answers_badly = answers_badly
    services.error = None if answers_badly else OutageError("down")

    response = quiet.get(f"/failing/routed/{view}/")

    assert (response.status_code, response.json()) == (200, {"secret": 1})
    assert counted() == (1, 1)
    assert len(reported) == (not answers_badly)


@pytest.mark.usefixtures("routes")
@pytest.mark.parametrize("view", ["members", "class"])
@pytest.mark.django_db
def test_exception_out_of_a_routes_view_itself_gets_the_whole_plan(
    quiet: Client, view: str, services: Inventory
):
    """Its checks of access have passed by then; an answer may come from one of them, and stays."""
    quiet.force_login(User.objects.create(username="ann"))
    services.error = OutageError("down")
    assert quiet.get(f"/failing/routed/{view}/").json() == {"secret": 1}

    services.answers_badly = True

    assert quiet.get(f"/failing/routed/{view}/").content == b"own"


@pytest.mark.usefixtures("routes")
@pytest.mark.parametrize("view", ["members", "class"])
def test_stranger_gets_no_further(client: Client, view: str, services: Inventory):
    """A failing service behind a view is no way around its login."""
    services.error = OutageError("down")

    assert client.get(f"/failing/routed/{view}/").status_code == (302 if view == "members" else 403)


@pytest.mark.usefixtures("routes")
@pytest.mark.parametrize("handler", [True, False])
@pytest.mark.parametrize("error", [OutageError("down"), None], ids=["raises", "answers 503"])
def test_check_that_fails_gives_nothing_away(
    quiet: Client, settings, services: Inventory, error: Exception | None, handler: bool
):
    """A failure of an API's authentication is answered by public answers only."""
    if handler:
        settings.REST_FRAMEWORK = {"EXCEPTION_HANDLER": "recloser.django.rest.exception_handler"}
    services.error = error

    response = quiet.get("/failing/routed/rest/")

    assert response.status_code == 503
    assert b"secret" not in response.content


@pytest.mark.parametrize("on", ["failure", ["failure"], ["open", "shut"]], ids=str)
def test_wrong_word_is_an_error_at_start(settings, on: object):
    """It is told with its place."""
    route = {"breakers": ["inventory"], "plan": ["unavailable"], "on": on}
    settings.RECLOSER = {**settings.RECLOSER, "ROUTES": {"/plain/": route}}

    with pytest.raises(ConfigurationError, match=r'\["ROUTES"\]\["/plain/"\]\["on"\] must be \["open"\]'):
        conf.installation()
