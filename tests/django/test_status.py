"""The admin endpoint in Django: the same documents, for users with the admin's permissions."""

from __future__ import annotations

import json

import jsonschema
import pytest
from django.contrib.auth.models import Permission, User
from django.test import AsyncClient, Client, override_settings
from django.urls import include, path

from recloser.django import registry
from recloser.django.status import status_view
from recloser.status.snapshot import schema

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]


async def robot(request, action):
    return request.headers.get("x-user")


urlpatterns = [
    path("breakers/", include("recloser.django.urls")),
    path("own/", status_view(robot, name="own"), name="own"),
    path("own/<path:path>", status_view(robot, name="own")),
]

PAGE = {"headers": {"accept": "text/html", "sec-fetch-site": "same-origin"}}


def client_of(*permissions, csrf=True):
    user = User.objects.create(username="-".join(permissions) or "staff", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client(enforce_csrf_checks=csrf)
    client.force_login(user)
    return client


@pytest.mark.parametrize(
    ("permissions", "status"), [((), 403), (("view_breaker",), 200), (("control_breaker",), 200)]
)
def test_the_admins_permissions_decide_who_may_look(permissions, status):
    """As in the admin: who may act may look too."""
    assert client_of(*permissions).get("/breakers/").status_code == status


def test_an_anonymous_visitor_sees_nothing():
    """Nor a login page: this is for programs too."""
    assert Client().get("/breakers/").status_code == 403


def test_the_same_documents():
    """Valid against the schema; all breakers, and one."""
    client = client_of("view_breaker")
    validator = jsonschema.Draft202012Validator(schema())
    for url in ("/breakers/", "/breakers/b/inventory"):
        validator.validate(client.get(url).json())
    assert client.get("/breakers/b/nothing").status_code == 404
    assert client.get("/breakers/health").json()["status"] == "ok"


def test_the_page_asks_again_instead_of_being_pushed_to():
    """A worker of WSGI is not held by a reader."""
    page = client_of("view_breaker").get("/breakers/", **PAGE).content.decode()
    assert 'data-live="poll"' in page
    assert '/breakers/static/page.css"' in page
    assert "formaction" not in page


def test_a_form_acts_and_carries_its_token():
    """Signed with Django's own key; without it nothing happens, although Django's own check stands aside."""
    client = client_of("control_breaker")
    token = client.get("/breakers/").json()["control"]["tokens"]["force_open"]
    epoch = client.get("/breakers/b/inventory").json()["breaker"]["epoch"]
    form = {"reason": "migration", "for": "5m", "epoch": epoch}
    body = "&".join(f"{name}={value}" for name, value in form.items())
    kind = "application/x-www-form-urlencoded"
    refused = client.post("/breakers/b/inventory/force_open", body, content_type=kind, **PAGE)
    assert refused.status_code == 403
    foreign = {"headers": {"origin": "https://evil.example"}}
    signed = f"{body}&token={token}"
    assert (
        client.post("/breakers/b/inventory/force_open", signed, content_type=kind, **foreign).status_code
        == 403
    )
    assert registry["inventory"].mode.mode == "auto"
    done = client.post("/breakers/b/inventory/force_open", signed, content_type=kind, **PAGE)
    assert (done.status_code, done["location"]) == (303, "/breakers/b/inventory?done=force_open")
    assert registry["inventory"].mode.by == "control_breaker"
    assert (
        client.post("/breakers/b/inventory/force_open", signed, content_type=kind, **PAGE).status_code == 409
    )


def test_viewing_is_not_controlling():
    """Read and control are separate."""
    client = client_of("view_breaker")
    answer = client.post(
        "/breakers/b/inventory/reset",
        json.dumps({"reason": "x", "epoch": "0-0"}),
        content_type="application/json",
        headers={"authorization": "Bearer x"},
    )
    assert answer.status_code == 403


def test_an_authorize_of_ones_own_may_be_async():
    """On a sync stack."""
    assert Client().get("/own/", headers={"x-user": "ann"}).status_code == 200
    assert Client().get("/own/").status_code == 403


@pytest.mark.anyio
async def test_an_async_stack_too():
    """The same view under ASGI."""
    answer = await AsyncClient().get("/own/", headers={"x-user": "ann"})
    assert answer.json()["version"] == 1


def test_a_body_is_bounded():
    """As everywhere."""
    answer = client_of("control_breaker").post(
        "/breakers/b/inventory/reset", b"x" * 70_000, content_type="application/json"
    )
    assert answer.status_code == 413


def test_settings_may_be_overridden():
    """The endpoint is of the present registry."""
    client = client_of("view_breaker")
    assert client.get("/breakers/").status_code == 200
    with override_settings(RECLOSER={"BREAKERS": {"other": {}}}):
        assert [each["name"] for each in client.get("/breakers/").json()["breakers"]] == ["other"]
