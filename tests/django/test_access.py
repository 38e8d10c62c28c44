"""Access first: an open circuit is never a way around a login, a permission or a throttle."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from shopsite.failing import STRATEGIES
from shopsite.services import Inventory, OutageError
from shopsite.tools import trip

from recloser.django import guard

pytestmark = pytest.mark.django_db

# Views that demand a signed-in user, or also a permission, guarded in each of the ways.
LOGIN = ["/basket/", "/class-method/", "/class-direct/", "/class-dispatch/"]
PERMISSION = ["/stock/", "/class-members/"]
APIS = ["/rest/dispatch/", "/rest/handler/", "/rest/function/"]
NINJA = [f"/{api}/{view}" for api in ("ninja", "ninja-installed") for view in ("product", "product-async")]


@pytest.fixture
def known(client: Client) -> Client:
    """A client that is signed in, without any permission."""
    client.force_login(User.objects.create(username="known"))
    return client


@pytest.fixture
def entitled(client: Client) -> Client:
    """A client that is signed in and may see users."""
    user = User.objects.create(username="entitled")
    user.user_permissions.add(Permission.objects.get(codename="view_user"))
    client.force_login(user)
    return client


@pytest.mark.parametrize("is_open", [False, True])
@pytest.mark.parametrize("path", [*LOGIN, *PERMISSION])
def test_anonymous_gets_no_further(client: Client, path: str, is_open: bool, services: Inventory):
    """Without a login a view answers 302 or 403, with the circuit open as with it closed."""
    if is_open:
        trip()

    response = client.get(path)

    expected = 302 if path == "/basket/" else 403
    assert (response.status_code, services.calls) == (expected, 0)


@pytest.mark.parametrize("is_open", [False, True])
@pytest.mark.parametrize("path", PERMISSION)
def test_wrong_user_gets_no_further(known: Client, path: str, is_open: bool, services: Inventory):
    """Without the permission a view answers 403, with the circuit open as with it closed."""
    if is_open:
        trip()

    assert known.get(path).status_code == 403
    assert services.calls == 0


@pytest.mark.parametrize("path", [*LOGIN, *PERMISSION])
def test_right_user_gets_the_plan(entitled: Client, path: str, services: Inventory):
    """Whoever may see the view gets its whole plan; their own last answer was personal, and was not kept."""
    assert entitled.get(path).json() == {"quantity": 7}
    trip()

    response = entitled.get(path)

    assert (response.status_code, response.json()) == (200, {"quantity": None})


@pytest.mark.parametrize("is_open", [False, True])
@pytest.mark.parametrize("path", [*APIS, *NINJA])
@pytest.mark.parametrize(("key", "status"), [(None, 401), ("unknown", 401), ("wrong", 403)])
def test_api_refuses_strangers_first(
    client: Client, path: str, is_open: bool, key: str | None, status: int, services: Inventory
):
    """An API's authentication and permissions answer first, with the circuit open as with it closed."""
    if is_open:
        trip()

    response = client.get(path, headers={} if key is None else {"X-Key": key})

    assert (response.status_code, services.calls) == (status, 0)


@pytest.mark.parametrize("path", [*APIS, *NINJA])
def test_api_answers_its_users_by_the_plan(client: Client, path: str):
    """An API's user gets the plan; a credential in any header keeps the last answer from being kept."""
    assert client.get(path, headers={"X-Key": "right"}).json() == {"quantity": 7}
    trip()

    response = client.get(path, headers={"X-Key": "right"})

    assert (response.status_code, response.json()) == (200, {"quantity": None})


@pytest.mark.parametrize("is_open", [False, True])
def test_throttle_comes_first(client: Client, is_open: bool):
    """A throttled client is told so, with the circuit open as with it closed."""
    if is_open:
        trip()
    client.get("/rest/throttled/", headers={"X-Client": "a"})

    assert client.get("/rest/throttled/", headers={"X-Client": "a"}).status_code == 429


@pytest.mark.parametrize("step", [{"json": {}}, {"stale": 60}, "unavailable"], ids=str)
@pytest.mark.parametrize("is_open", [False, True])
def test_route_refuses_early_with_public_answers_only(client: Client, settings, step: object, is_open: bool):
    """A route of ROUTES is refused before its view's checks have run: a stranger gets a 503, never the plan's body."""
    settings.RECLOSER = {
        **settings.RECLOSER,
        "ROUTES": {"shop:private": {"breakers": ["inventory"], "plan": [step]}},
    }
    if is_open:
        trip()

    assert client.get("/shop/private/").status_code == (503 if is_open else 302)


WHO = ["anonymous", "wrong", "right"]
DENIED = {
    "function": {"anonymous": 302, "wrong": 403},
    "class": {"anonymous": 403, "wrong": 403},
    "rest": {"anonymous": 401, "wrong": 403},
}


@pytest.fixture
def asking(client: Client) -> Callable[[str], dict[str, str]]:
    """Sign in as somebody, in Django's way and in the API's; the headers that the API wants."""
    client.raise_request_exception = False

    def sign_in(who: str) -> dict[str, str]:
        if who == "anonymous":
            return {}
        user = User.objects.create(username=who)
        if who == "right":
            user.user_permissions.add(Permission.objects.get(codename="view_user"))
        client.force_login(user)
        return {"X-Key": who}

    return sign_in


@pytest.mark.parametrize("state", ["closed", "open", "raises", "answers"])
@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("kind", DENIED)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_comes_after_the_checks(
    client: Client,
    asking: Callable[[str], dict[str, str]],
    services: Inventory,
    strategy: str,
    kind: str,
    who: str,
    state: str,
):
    """Whoever may not see a view is told the same in every state of its circuit; the right user gets the plan."""
    headers = asking(who)
    if state == "open":
        trip()
    services.error = OutageError("down") if state == "raises" else None
    services.answers_badly = state == "answers"

    response = client.get(f"/failing/members/{kind}/{strategy}/", headers=headers)

    if who == "right":
        tells = state != "closed" and strategy not in {"stale", "unavailable"}
        assert (b"secret" in response.content) == tells
        assert (response.status_code == 200) == (tells or state == "closed")
    else:
        assert response.status_code == DENIED[kind][who]
        assert (b"secret" in response.content, services.calls) == (False, 0)


def test_guard_above_a_login_is_refused():
    """A guard that would answer before a permission decorator is an error that says where it belongs."""
    from django.contrib.auth.decorators import login_required

    with pytest.raises(TypeError, match=r"below @login_required"):
        guard("inventory")(login_required(lambda request: None))


def test_guard_around_a_class_view_is_refused():
    """So is one around `as_view()`, which would answer before the mixins of its class."""
    from shopsite.views import MembersView

    with pytest.raises(TypeError, match=r"method_decorator\(guard\(...\), name='dispatch'\)"):
        guard("inventory")(MembersView.as_view())


def test_guard_above_api_view_is_refused():
    """And one above `@api_view`, which would answer before DRF's permissions."""
    from shopsite.apis import rest_function

    with pytest.raises(TypeError, match="below @api_view"):
        guard("inventory")(rest_function)


def test_guard_of_a_class_is_refused():
    """A class is decorated by `method_decorator`, and the error says so."""
    from shopsite.views import ProductView

    with pytest.raises(TypeError, match="method_decorator"):
        guard("inventory")(ProductView)
