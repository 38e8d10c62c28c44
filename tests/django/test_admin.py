"""The breakers in the site's admin: who may see them, who may act, and that acting leaves a trace."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html import unescape

import pytest
from django.contrib import admin
from django.contrib.admin import AdminSite
from django.contrib.admin.models import LogEntry
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Permission, User
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.db import DatabaseError
from django.http import HttpResponse
from django.test import Client
from django.urls import path
from django.utils import timezone
from shopsite.tools import trip

from recloser import Registry
from recloser.django import registry
from recloser.django.admin import BreakerAdmin
from recloser.django.models import Breaker
from recloser.django.operations import OPERATIONS
from recloser.status.entry import epoch_text
from recloser.status.markup import duration
from recloser.stores.protocol import StoreError

pytestmark = pytest.mark.django_db

LIST = "/admin/recloser/breaker/"
PAGE = "/admin/recloser/breaker/inventory/change/"
HISTORY = "/admin/recloser/breaker/inventory/history/"


def action(name: str = "open", breaker: str = "inventory") -> str:
    return f"/admin/recloser/breaker/{breaker}/do/{name}/"


def wish(reason: str = "a drill", **fields: str) -> dict[str, str]:
    """What the page's form sends, about the breaker as it is now."""
    return {"reason": reason, "epoch": epoch_text(registry["inventory"].snapshot().epoch), **fields}


def client_of(username: str, *permissions: str, is_staff: bool = True, is_superuser: bool = False) -> Client:
    user = User.objects.create(username=username, is_staff=is_staff, is_superuser=is_superuser)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client(enforce_csrf_checks=False)
    client.force_login(user)
    return client


@pytest.fixture
def clients() -> dict[str, Client]:
    """A client for each kind of visitor."""
    return {
        "anonymous": Client(),
        "customer": client_of("customer", "control_breaker", is_staff=False),
        "staff": client_of("staff"),
        "viewer": client_of("viewer", "view_breaker"),
        "controller": client_of("controller", "control_breaker"),
        "superuser": client_of("superuser", is_superuser=True),
    }


MATRIX = {
    # who: (pages, an action by POST, an action by GET)
    "anonymous": (302, 302, 302),
    "customer": (302, 302, 302),
    "staff": (403, 403, 403),
    "viewer": (200, 403, 403),
    "controller": (200, 302, 405),
    "superuser": (200, 302, 405),
}


@pytest.mark.parametrize("who", MATRIX)
@pytest.mark.parametrize("page", [LIST, PAGE, HISTORY])
def test_who_may_look(clients: dict[str, Client], who: str, page: str):
    """Viewers and controllers see the pages, other staff are refused, all others sent to the login."""
    assert clients[who].get(page).status_code == MATRIX[who][0]


@pytest.mark.parametrize("page", [LIST, PAGE])
def test_where_the_page_stands_is_told_as_on_all_pages(clients: dict[str, Client], page: str):
    """In the markup that this Django's own pages have, and its style sheets know."""

    def place(page: str) -> re.Match[str]:
        found = re.search(
            r'<(\w+) class="breadcrumbs">(.*?)</\1>',
            clients["superuser"].get(page).content.decode(),
            re.DOTALL,
        )
        assert found is not None
        return found

    ours, djangos = place(page), place("/admin/auth/user/")
    assert ours[1] == djangos[1]
    assert ours[2].count("<li") == (ours[2].count("<a ") + 1 if "<li" in djangos[2] else 0)
    links = re.findall('href="([^"]+)"', ours[2])
    assert links == ["/admin/", "/admin/recloser/", *([LIST] if page == PAGE else [])]


@pytest.mark.parametrize("who", MATRIX)
@pytest.mark.parametrize("name", OPERATIONS)
def test_who_may_act(clients: dict[str, Client], who: str, name: str):
    """Controllers act, by POST alone."""
    assert clients[who].post(action(name), wish("test")).status_code == MATRIX[who][1]
    assert clients[who].get(action(name)).status_code == MATRIX[who][2]
    acted = registry["inventory"].mode.by == who or name == "reset"
    assert acted is (who in {"controller", "superuser"}) or name == "reset"


@pytest.mark.parametrize(
    ("name", "state", "mode"),
    [
        ("open", "open", "forced_open"),
        ("close", "closed", "forced_closed"),
        ("shadow", "open", "shadow"),
        ("auto", "open", "auto"),
        ("reset", "closed", "auto"),
    ],
)
def test_action_acts(clients: dict[str, Client], name: str, state: str, mode: str):
    """Each action does what it says to the breaker, in the user's name."""
    trip()

    response = clients["controller"].post(action(name), wish(), follow=True)

    assert (registry["inventory"].state, registry["inventory"].mode.mode) == (state, mode)
    assert "a drill" in response.content.decode()


def test_action_leaves_a_trace(clients: dict[str, Client]):
    """An action is written to the admin's log, and the breaker's history shows it."""
    clients["controller"].post(action(), wish())

    [entry] = LogEntry.objects.all()
    assert (entry.user.username, entry.object_id, entry.change_message) == (
        "controller",
        "inventory",
        "Force open: a drill",
    )
    assert entry.content_type == ContentType.objects.get_for_model(Breaker)
    assert "Force open: a drill" in clients["viewer"].get(HISTORY).content.decode()
    assert entry.get_admin_url() == PAGE


def test_action_does_not_wait_for_its_log(
    clients: dict[str, Client], monkeypatch: pytest.MonkeyPatch, caplog
):
    """The action is done although its log cannot be written."""

    def fail(*_: object) -> None:
        raise DatabaseError("gone")

    monkeypatch.setattr(BreakerAdmin, "log_change", fail)

    clients["controller"].post(action(), wish())

    assert registry["inventory"].state == "open"
    assert "admin's log could not be written" in caplog.text


def test_reason_is_required(clients: dict[str, Client]):
    """Without a reason nothing is done, and the page says so."""
    response = clients["controller"].post(action(), wish(" "))

    assert (response.status_code, registry["inventory"].state) == (400, "closed")
    assert "This field is required" in response.content.decode()


def test_reason_is_one_line(clients: dict[str, Client]):
    """What would end a line of a log, or turn the text around, is no part of a reason."""
    clients["controller"].post(action(), wish("a\ndrill \u202elive"))

    assert registry["inventory"].mode.why == "a drill live"


@pytest.mark.parametrize("epoch", ["", "none", "1-zz", "9" * 400])
def test_action_says_upon_what(clients: dict[str, Client], epoch: str):
    """An action that does not say which state its operator saw is refused, and the page says so."""
    response = clients["controller"].post(action(), {"reason": "a drill", "epoch": epoch})

    assert (response.status_code, registry["inventory"].state) == (400, "closed")
    assert 'class="errornote"' in response.content.decode()


def fields(page: HttpResponse) -> dict[str, str]:
    """What the page's form says of itself."""
    return dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]+)"', page.content.decode()))


def test_second_operator_is_told_of_the_first(clients: dict[str, Client]):
    """Without a store too: who acts upon a page that another has outdated is told what the breaker has become."""
    seen = fields(clients["controller"].get(PAGE))
    other = client_of("other", "control_breaker")
    other.post(action("open"), {"reason": "a migration", **fields(other.get(PAGE))})

    response = clients["controller"].post(action("close"), {"reason": "all is well", **seen})

    assert (response.status_code, registry["inventory"].mode.mode) == (409, "forced_open")
    assert "it is open now, mode forced open by other: a migration; nothing was done" in unescape(
        response.content.decode()
    )
    clients["controller"].post(action("close"), {"reason": "all is well", **fields(response)})
    assert registry["inventory"].mode.mode == "forced_closed"


def test_page_of_another_worker_acts_upon_this_one(clients: dict[str, Client]):
    """Without a store its epochs say nothing here."""
    seen = {**fields(clients["controller"].get(PAGE)), "worker": "1 on elsewhere"}
    registry["inventory"].force_open(by="ann", reason="a drill")

    clients["controller"].post(action("auto"), {"reason": "done", **seen})

    assert registry["inventory"].mode.mode == "auto"


def test_loss_of_the_store_is_told(clients: dict[str, Client], monkeypatch: pytest.MonkeyPatch):
    """Nobody knows whether an action was done that the store did not answer; the log does not claim it."""

    def lose(*_: object, **__: object) -> None:
        raise StoreError("no answer within 2 s")

    monkeypatch.setattr(Registry, "steer", lose)

    response = clients["controller"].post(action(), wish())

    assert response.status_code == 503
    assert "not known whether this was done: no answer within 2 s" in response.content.decode()
    assert not LogEntry.objects.exists()


def test_credentials_of_an_error_are_not_shown(clients: dict[str, Client]):
    """The text of a failure is shown without what looks like a password."""
    trip(error=ConnectionError("redis://shop:hunter2@cache.example refused"))

    for page in (LIST, PAGE):
        text = clients["viewer"].get(page).content.decode()
        assert "ConnectionError: redis://***@cache.example refused" in text


@pytest.mark.parametrize(("hours", "status"), [(1, 302), (-1, 400)])
def test_mode_may_end(clients: dict[str, Client], hours: int, status: int):
    """A mode may be given an end, in the future."""
    until = timezone.localtime(timezone.now() + timedelta(hours=hours)).replace(microsecond=0)
    fields = {"until_0": until.date().isoformat(), "until_1": until.time().isoformat()}

    response = clients["controller"].post(action(), wish(**fields))

    assert response.status_code == status
    assert registry["inventory"].mode.until == (until.timestamp() if hours > 0 else None)


def test_csrf_token_is_needed(clients: dict[str, Client]):
    """An action without a CSRF token is refused."""
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.get(username="controller"))

    assert client.post(action(), wish()).status_code == 403
    assert registry["inventory"].state == "closed"


@pytest.mark.parametrize("name", OPERATIONS)
def test_csrf_token_is_needed_whatever_the_middleware(clients: dict[str, Client], name: str, settings):
    """A project without CsrfViewMiddleware has actions that are protected all the same."""
    settings.MIDDLEWARE = [path for path in settings.MIDDLEWARE if "Csrf" not in path]
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.get(username="controller"))

    assert client.post(action(name), wish()).status_code == 403
    assert registry["inventory"].mode.by == ""


@pytest.mark.parametrize("method", ["get", "head", "put", "patch", "delete", "options"])
def test_actions_are_posted(clients: dict[str, Client], method: str):
    """Any other method is a 405 that names POST, and does nothing."""
    response = getattr(clients["controller"], method)(action())

    assert (response.status_code, response["Allow"]) == (405, "POST")
    assert registry["inventory"].state == "closed"


@pytest.mark.parametrize("name", OPERATIONS)
def test_action_on_an_unknown_breaker_is_not_found(clients: dict[str, Client], name: str):
    """An unknown breaker is a 404 for those who may act, and no breaker comes of it."""
    response = clients["controller"].post(action(name, breaker="nothing"), wish())

    assert response.status_code == 404
    assert "nothing" not in registry


def test_unknown_action_is_not_found(clients: dict[str, Client]):
    """So is an unknown action."""
    assert clients["controller"].post(action("explode"), wish()).status_code == 404


@pytest.mark.parametrize("page", [PAGE, HISTORY])
@pytest.mark.parametrize(("who", "status"), [("viewer", 404), ("staff", 403), ("anonymous", 302)])
def test_page_of_an_unknown_breaker_is_not_found(
    clients: dict[str, Client], page: str, who: str, status: int
):
    """So are its pages, for those who may look; others do not learn which breakers there are."""
    assert clients[who].get(page.replace("inventory", "nothing")).status_code == status


def test_pages_need_no_script(clients: dict[str, Client]):
    """The pages work without JavaScript and with a strict content security policy."""
    for page in (LIST, PAGE):
        text = clients["controller"].get(page).content.decode()
        content = text[text.index('id="content-main"') :]
        assert "<script" not in content
        assert " style=" not in content
        assert "onclick" not in content
        assert "one only" in content


def test_viewer_sees_no_buttons(clients: dict[str, Client]):
    """Who may only look is offered no action."""
    assert "formaction" not in clients["viewer"].get(PAGE).content.decode()
    assert "formaction" in clients["controller"].get(PAGE).content.decode()


@pytest.mark.parametrize("name", ["api.example:443", "[::1]:8443", "shard_24"])
def test_every_name_has_its_pages(clients: dict[str, Client], settings, name: str):
    """A breaker per origin, or one whose name looks like the admin's quoting, is found by all links and buttons."""
    settings.RECLOSER = {**settings.RECLOSER, "BREAKERS": {"shard_24": {}}}
    if name != "shard_24":
        registry.for_origin(name)

    def found(pattern: str, text: str) -> str:
        [url] = [unescape(url) for url in re.findall(pattern, text) if quote(name) in url]
        return url

    listing = clients["controller"].get(LIST).content.decode()
    page = clients["controller"].get(found(r'<a href="([^"]*/change/)"', listing)).content.decode()
    history = clients["controller"].get(found(r'href="([^"]*/history/)"', page))
    fields = {"reason": "a drill", "epoch": epoch_text(registry[name].snapshot().epoch)}
    acted = clients["controller"].post(found(r'formaction="([^"]*/open/)"', page), fields, follow=True)

    assert (history.status_code, acted.status_code) == (200, 200)
    assert registry[name].mode.why == "a drill"


def test_admin_index_lists_the_breakers(clients: dict[str, Client]):
    """The admin's index links to the list."""
    assert LIST in clients["viewer"].get("/admin/").content.decode()


def test_another_site_may_have_it(clients: dict[str, Client], settings):
    """Any AdminSite can register the pages, beside the default one; their links stay in it."""
    other = AdminSite(name="other")
    other.register(Breaker, BreakerAdmin)
    settings.ROOT_URLCONF = (path("admin/", admin.site.urls), path("other/", other.urls))

    listing = clients["controller"].get("/other/recloser/breaker/").content.decode()
    page = clients["controller"].get("/other/recloser/breaker/inventory/change/").content.decode()
    acted = clients["controller"].post("/other/recloser/breaker/inventory/do/open/", wish())

    assert 'href="/other/recloser/breaker/inventory/change/"' in listing
    assert 'formaction="/other/recloser/breaker/inventory/do/open/"' in page
    assert "/admin/" not in (listing + page).replace("/static/admin/", "")
    assert acted["Location"] == "/other/recloser/breaker/inventory/change/"


def test_mode_shows_its_end(clients: dict[str, Client], settings):
    """Who set a mode, why, and until when, in the site's time zone; on the list too."""
    settings.TIME_ZONE = "Europe/Berlin"
    until = datetime(2099, 1, 31, 17, 30, tzinfo=UTC)
    registry["inventory"].force_open(by="ann", reason="a move", until=until)

    for page in (LIST, PAGE):
        text = clients["viewer"].get(page).content.decode()
        assert "forced open by ann: a move (until Jan. 31, 2099, 6:30 p.m. CET)" in text


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0.0, "0 s"),
        (59.4, "59 s"),
        (59.6, "59 s"),
        (60, "1 min"),
        (3599, "59 min 59 s"),
        (5400, "1 h 30 min"),
        (200_000, "2 d 7 h"),
    ],
)
def test_durations_are_told_in_their_two_largest_units(seconds: float, told: str):
    """A state that has lasted for days does not count its seconds."""
    assert duration(seconds) == told


@pytest.mark.parametrize(
    "fields",
    [
        {"until_0": "2099-01-31"},
        {"until_1": "18:30"},
        {"until_0": "soon"},
        {"until_0": "9999-12-31", "until_1": "23:59"},  # by UTC, no calendar may know that
    ],
)
def test_half_an_end_is_none(clients: dict[str, Client], fields: dict[str, str]):
    """An end that lacks its date or its time is refused rather than ignored."""
    assert clients["controller"].post(action(), wish(**fields)).status_code == 400
    assert registry["inventory"].state == "closed"


@pytest.mark.parametrize("app", [[], ["recloser"]])
def test_migrations_are_whole(app: list[str]):
    """`makemigrations --check` finds nothing to do."""
    call_command("makemigrations", *app, check=True, dry_run=True, verbosity=0)


def test_permissions_are_created():
    """`migrate` creates the permissions to view and to control."""
    of_app = Permission.objects.filter(content_type__app_label="recloser")

    assert set(of_app.values_list("codename", flat=True)) == {"view_breaker", "control_breaker"}
