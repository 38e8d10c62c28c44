"""Each user's own pages come back to that user only, with Django's own users and sessions."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.core.cache import caches
from django.db import connections
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.middleware.csrf import get_token
from django.test import AsyncClient, Client
from django.urls import path
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from shopsite.tools import trip

from cache_server import Valkey
from recloser.django import conf, guard, registry
from recloser.http import plans

pytestmark = pytest.mark.django_db(transaction=True)


def current_user(request: HttpRequest) -> object:
    return request.user.pk


async def current_user_async(request: HttpRequest) -> object:
    return (await request.auser()).pk


OWN = [plans.stale(600, per=current_user)]


@guard("inventory", plan=OWN)
def own(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"for {request.user.username or 'nobody'}")


@guard("inventory", plan=OWN)
async def own_async(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"for {(await request.auser()).username}")


@guard("inventory", plan=[plans.stale(600, per=current_user_async)])
def by_coroutine(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"for {request.user.username}")


@login_required
@guard("inventory", plan=OWN)
def members(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"for {request.user.username}", headers={"Cache-Control": "private"})


@guard("inventory", plan=OWN)
def form(request: HttpRequest) -> HttpResponse:
    return HttpResponse(get_token(request))


@guard("inventory", plan=OWN)
def streamed(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(part for part in ["for ", request.user.username])


@guard("inventory", plan=OWN)
def streamed_form(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(make(request) for make in [lambda request: "for ", get_token])


@guard("inventory", plan=[plans.stale(600, per=lambda request: request.user)])
def by_object(request: HttpRequest) -> HttpResponse:
    return HttpResponse("personal")


@guard("inventory", plan=[plans.stale(600, per=lambda request: request.no_such_thing)])
def by_mistake(request: HttpRequest) -> HttpResponse:
    return HttpResponse("personal")


@guard("inventory", plan=[plans.stale(600, shared=True)])
def shared(request: HttpRequest) -> HttpResponse:
    if "session" in request.GET:
        request.session.get("anything")
    return HttpResponse("for all")


def routed(request: HttpRequest) -> HttpResponse:
    if request.headers.get("X-Fails"):
        trip()
        with registry["inventory"].calling():
            pass
    return HttpResponse(f"for {request.user.username}")


URLS = tuple(
    path(f"{view.__name__}/", view, name=view.__name__)
    for view in (
        own,
        own_async,
        by_coroutine,
        members,
        form,
        streamed,
        streamed_form,
        by_object,
        by_mistake,
        shared,
        routed,
    )
)


@pytest.fixture(autouse=True)
def pages(settings) -> None:
    settings.ROOT_URLCONF = URLS


@pytest.fixture
def clients() -> dict[str, Client]:
    found = {}
    for name in ("ann", "bob"):
        found[name] = Client()
        found[name].force_login(User.objects.create(username=name))
    return found


PAGES = ["/own/", "/own_async/", "/by_coroutine/", "/members/", "/streamed/"]


def text(response) -> str:
    return b"".join(response).decode()


@pytest.mark.parametrize("page", PAGES)
def test_a_page_partitioned_by_its_user_comes_back_to_that_user_only(clients, page):
    """Sync and async views and functions, streams, and views below `login_required`."""
    ann, bob = clients.values()
    assert text(ann.get(page)) == "for ann"
    trip()

    told = ann.get(page)

    assert (told.status_code, text(told)) == (200, "for ann")
    assert told["Cache-Status"].startswith("recloser; hit")
    assert told["Cache-Control"] == "private"
    assert bob.get(page).status_code == 503
    assert Client().get(page).status_code == (302 if page == "/members/" else 503)


@pytest.fixture
async def no_connection_stays() -> AsyncIterator[None]:
    """Close that of the thread in which Django looks users up for an event loop, and which outlives all tests."""
    yield

    def close() -> None:
        connections["default"].connection.close()  # Django itself does not close a database in memory
        del connections["default"]

    await sync_to_async(close)()


@pytest.mark.parametrize("page", ["/own/", "/own_async/", "/by_coroutine/"])
@pytest.mark.usefixtures("no_connection_stays")
@pytest.mark.anyio
async def test_so_it_does_under_asgi(page):
    """Where users are looked up off the event loop."""
    clients = [AsyncClient(), AsyncClient()]
    for client, name in zip(clients, ("ann", "bob"), strict=True):
        await client.aforce_login(await User.objects.acreate(username=name))
    assert (await clients[0].get(page)).content == b"for ann"
    trip()

    assert (await clients[0].get(page)).content == b"for ann"
    assert (await clients[1].get(page)).status_code == 503


def test_nobody_has_no_partition(client):
    """An anonymous user's page is kept for nobody."""
    assert client.get("/own/").content == b"for nobody"
    trip()

    assert client.get("/own/").status_code == 503


def test_who_signs_in_as_another_user_sees_that_users_pages(client):
    """The same browser, another partition."""
    for name in ("ann", "bob"):
        client.force_login(User.objects.create(username=name))
        client.get("/own/")
    trip()

    assert client.get("/own/").content == b"for bob"
    client.logout()
    assert client.get("/own/").status_code == 503


@pytest.mark.parametrize("page", ["/form/", "/streamed_form/"])
def test_a_page_with_a_token_is_kept_for_nobody(clients, page):
    """A CSRF token, a nonce, a message belong to one answer, whoever it was for, and whenever it is made."""
    text(clients["ann"].get(page))
    trip()

    assert clients["ann"].get(page).status_code == 503


def test_a_user_object_is_no_name(clients, caplog):
    """The error says what to return."""
    clients["ann"].get("/by_object/")

    assert "return what never changes about the user, a str, int or UUID" in caplog.text
    trip()
    assert clients["ann"].get("/by_object/").status_code == 503


def test_a_function_that_raises_knows_nobody(clients):
    """The request itself is unharmed."""
    assert clients["ann"].get("/by_mistake/").status_code == 200
    trip()

    assert clients["ann"].get("/by_mistake/").status_code == 503


def test_an_early_refusal_of_routes_serves_no_private_page(clients, settings):
    """`ROUTES` are asked before the view has checked access; the same plan serves once the view itself has."""
    plan = [{"stale": {"seconds": 600, "per": current_user}}]
    settings.RECLOSER = {
        **settings.RECLOSER,
        "ROUTES": {"routed": {"breakers": ["inventory"], "plan": plan}},
    }
    ann = clients["ann"]
    assert ann.get("/routed/").content == b"for ann"
    trip()
    assert ann.get("/routed/").status_code == 503
    registry["inventory"].reset(by="test", reason="the view asks it")

    assert ann.get("/routed/", headers={"X-Fails": "1"}).content == b"for ann"
    assert clients["bob"].get("/routed/", headers={"X-Fails": "1"}).status_code == 503


@pytest.mark.parametrize(("query", "status"), [("", 200), ("?session=1", 503)])
def test_shared_pages_are_kept_whatever_cookies_come(clients, query, status):
    """But not those in which a session had a part: that is no matter of headers."""
    assert clients["ann"].get(f"/shared/{query}").status_code == 200
    trip()

    assert Client().get(f"/shared/{query}").status_code == status


@pytest.mark.usefixtures("clients")
def test_partitions_are_kept_apart_in_djangos_caches_too(clients, settings):
    """And no key or value says whose they are."""
    settings.RECLOSER = {**settings.RECLOSER, "CACHE": {"alias": "responses"}, "NAMESPACE": "shop"}
    ann, bob = clients.values()
    for client in (ann, bob):
        client.get("/own/")
    conf.installation().responder.cache.flush()
    conf.on_setting_changed(setting="RECLOSER")  # as good as another process
    trip()

    assert (ann.get("/own/").content, bob.get("/own/").content) == (b"for ann", b"for bob")
    assert Client().get("/own/").status_code == 503
    assert len(caches["responses"]._cache) == 3


def test_a_server_of_the_fleet_may_be_declared(clients, settings):
    """In Django's own spelling: two workers, one server."""
    server = Valkey()
    try:
        settings.RECLOSER = {**settings.RECLOSER, "CACHE": {"url": server.url}}
        ann, bob = clients.values()
        ann.get("/own/")
        conf.installation().responder.cache.flush()
        conf.on_setting_changed(setting="RECLOSER")  # as good as another process
        trip()
        end = time.monotonic() + 10  # a busy machine may take longer than the 50 ms
        while ann.get("/own/").content != b"for ann":
            assert time.monotonic() < end
            conf.on_setting_changed(setting="RECLOSER")
            trip()
        assert bob.get("/own/").status_code == 503
    finally:
        server.kill()


@hypothesis_settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(st.tuples(st.sampled_from([None, "ann", "bob"]), st.sampled_from(PAGES)), max_size=6),
    st.lists(st.tuples(st.sampled_from([None, "ann", "bob"]), st.sampled_from(PAGES)), max_size=6),
)
def test_no_two_users_ever_see_each_others_pages(clients, before, during):
    """Whoever visited which page, in whatever order."""
    conf.on_setting_changed(setting="RECLOSER")
    for name, page in before:
        text((clients[name] if name else Client()).get(page))
    trip()
    for name, page in during:
        told = (clients[name] if name else Client()).get(page)
        assert told.status_code == 200 or (name, page) not in before or name is None
        if told.status_code == 200:
            assert text(told) == f"for {name}"
    registry["inventory"].reset(by="test", reason="done")
