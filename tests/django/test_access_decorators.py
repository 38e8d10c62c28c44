"""Access first, where a project's own decorator checks it: a guard above that one answers early for the public only."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator
from functools import partial, update_wrapper, wraps

import pytest
from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client
from django.urls import path
from django.utils import translation
from django.utils.decorators import decorator_from_middleware, method_decorator
from django.views import View
from django.views.decorators import cache, clickjacking, common, csrf, debug, gzip, http, vary
from ninja import NinjaAPI
from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from shopsite.failing import STRATEGIES
from shopsite.services import OutageError, inventory

from recloser.django import conf, guard, registry
from recloser.django.guards import _in_code, guards_in_code

Function = Callable[..., object]
Guard = Callable[[Function], Function]
RIGHT = {"Authorization": "right"}
TELLS = [name for name in STRATEGIES if name not in {"stale", "unavailable"}]


def refused(request: HttpRequest) -> HttpResponse | None:
    """Ask the service that knows who may come in."""
    with registry["payments"].calling():
        allowed = request.headers.get("Authorization") == "right"
    return None if allowed else HttpResponse("not yours", status=403)


def own(view: Function) -> Function:
    """A project's decorator that checks access, for views of either kind."""
    if inspect.iscoroutinefunction(view):

        @wraps(view)
        async def check_async(request: HttpRequest, *args: object, **kwargs: object) -> object:
            return refused(request) or await view(request, *args, **kwargs)

        return check_async

    @wraps(view)
    def check(request: HttpRequest, *args: object, **kwargs: object) -> object:
        return refused(request) or view(request, *args, **kwargs)

    return check


def nameless(view: Function) -> Function:
    """One that forgot `functools.wraps`."""

    def check(request: HttpRequest, **kwargs: object) -> object:
        return refused(request) or view(request, **kwargs)

    return check


def page(request: HttpRequest, **kwargs: object) -> HttpResponse:
    quantity = inventory.quantity()
    return HttpResponse("own", status=500) if inventory.answers_badly else HttpResponse(quantity)


async def page_async(request: HttpRequest) -> HttpResponse:
    return page(request)


def on_method(guarded: Guard) -> Function:
    class Page(View):
        @method_decorator(guarded)
        @method_decorator(own)
        def get(self, request: HttpRequest) -> HttpResponse:
            return page(request)

    return Page.as_view()


def on_method_listed(guarded: Guard) -> Function:
    class Page(View):
        @method_decorator([guarded, own])
        def get(self, request: HttpRequest) -> HttpResponse:
            return page(request)

    return Page.as_view()


def on_method_async(guarded: Guard) -> Function:
    class Page(View):
        @method_decorator(guarded)
        @method_decorator(own)
        async def get(self, request: HttpRequest) -> HttpResponse:
            return page(request)

    return Page.as_view()


def on_method_directly(guarded: Guard) -> Function:
    class Page(View):
        @guarded
        @method_decorator(own)
        def get(self, request: HttpRequest) -> HttpResponse:
            return page(request)

    return Page.as_view()


def on_dispatch(guarded: Guard) -> Function:
    @method_decorator(guarded, name="dispatch")
    class Page(View):
        @method_decorator(own)
        def get(self, request: HttpRequest) -> HttpResponse:
            return page(request)

    return Page.as_view()


def on_method_named(guarded: Guard) -> Function:
    @method_decorator([guarded, own], name="get")
    class Page(View):
        def get(self, request: HttpRequest) -> HttpResponse:
            return page(request)

    return Page.as_view()


def rest(guarded: Guard) -> Function:
    class Page(APIView):
        @method_decorator(guarded)
        @method_decorator(own)
        def get(self, request: Request) -> Response:
            answer = page(request)
            return Response(answer.content, answer.status_code)

    return Page.as_view()


def rest_function(guarded: Guard) -> Function:
    def get(request: Request) -> Response:
        answer = page(request)
        return Response(answer.content, answer.status_code)

    return api_view(["GET"])(guarded(own(get)))


ABOVE: dict[str, Callable[[Guard], Function]] = {
    "function": lambda guarded: guarded(own(page)),
    "async": lambda guarded: guarded(own(page_async)),
    "between": lambda guarded: guarded(csrf.csrf_exempt(own(cache.never_cache(page)))),
    "partial": lambda guarded: guarded(update_wrapper(partial(own(page), kind="x"), page)),
    "method": on_method,
    "method, listed": on_method_listed,
    "method, named": on_method_named,
    "method, async": on_method_async,
    "method, directly": on_method_directly,
    "dispatch": on_dispatch,
    "rest": rest,
    "rest, function": rest_function,
}


def guarding(strategy: str) -> Guard:
    return guard("inventory", plan=[STRATEGIES[strategy]], on=("open", "failure"))


@pytest.fixture(autouse=True)
def _patient(settings) -> Iterator[None]:
    """Circuits stay closed: the first failure does not trip. No other test's checks hear of these guards."""
    settings.RECLOSER = {**settings.RECLOSER, "DEFAULTS": {"failure_threshold": 100}}
    yield
    for guarded in guards_in_code():
        if __name__ in guarded.place or guarded.above is not None:
            _in_code.discard(guarded)


@pytest.fixture
def serve(settings) -> Callable[[Function], Client]:
    """Make a client of a project with one view, at `/page/`."""

    def serve(view: Function) -> Client:
        settings.ROOT_URLCONF = (path("page/", view, name="page"),)
        return Client(raise_request_exception=False)

    return serve


def force_open(name: str = "inventory") -> None:
    registry[name].force_open(by="ann", reason="test")


def become(state: str) -> None:
    if state == "open":
        force_open()
    inventory.error = OutageError("down") if state == "raises" else None
    inventory.answers_badly = state == "answers"


@pytest.mark.parametrize("state", ["closed", "open", "raises", "answers"])
@pytest.mark.parametrize(
    ("place", "strategy"),
    [
        *(("function", name) for name in STRATEGIES),
        *((place, "json") for place in ABOVE if place != "function"),
    ],
)
def test_a_guard_above_a_check_gives_nothing_away(serve, place: str, strategy: str, state: str):
    """A stranger is told 403, or 503 while the circuit is open; who may come in gets the plan for what fails inside."""
    client = serve(ABOVE[place](guarding(strategy)))
    become(state)

    stranger = client.get("/page/")

    assert stranger.status_code == (503 if state == "open" else 403)
    assert (b"secret" in stranger.content, inventory.calls) == (False, 0)
    member = client.get("/page/", headers=RIGHT)
    assert (b"secret" in member.content) == (state == "raises" and strategy in TELLS)
    assert (member.status_code == 200) == (state == "closed" or b"secret" in member.content)


@pytest.mark.parametrize("listed", [True, False])
def test_a_guard_above_a_login_of_a_method_gives_nothing_away(serve, listed: bool):
    """Where `method_decorator` hides from the guard what stands below it, the login is asked all the same."""
    guarded = guarding("json")
    above = [guarded, login_required] if listed else [guarded]

    @method_decorator(above, name="get")
    class Page(Public):
        get = Public.get if listed else method_decorator(login_required)(Public.get)

    client = serve(Page.as_view())
    assert client.get("/page/").status_code == 302
    become("open")

    assert client.get("/page/").status_code == 503


def who(request: HttpRequest) -> str:
    return request.headers.get("User-Agent", "")


@pytest.mark.parametrize("way", ["guard", "ROUTES"])
def test_a_users_own_page_waits_for_the_check(serve, settings, way: str):
    """By the breaker's own plan too, which is that of a guard without one."""
    plan = [{"stale": {"seconds": 600, "per": f"{__name__}:who"}}]
    settings.RECLOSER = {
        "BREAKERS": {"inventory": {"plan": plan}, "payments": {}},
        "ROUTES": {"page": {"breakers": ["inventory"]}} if way == "ROUTES" else {},
    }
    client = serve(own(page) if way == "ROUTES" else guard("inventory")(own(page)))
    ann = {"User-Agent": "ann"}
    assert client.get("/page/", headers={**ann, **RIGHT}).content == b"7"
    become("open")

    assert client.get("/page/", headers=ann).status_code == 503


@pytest.mark.anyio
@pytest.mark.parametrize("place", ["function", "async", "method, async"])
async def test_so_it_is_under_asgi(serve, place: str):
    """The same stack, on an event loop."""
    serve(ABOVE[place](guarding("json")))
    client = AsyncClient(raise_request_exception=False)
    become("raises")
    assert (await client.get("/page/")).status_code == 403
    assert json.loads((await client.get("/page/", headers=RIGHT)).content) == {"secret": "fixed"}
    become("open")

    assert (await client.get("/page/")).status_code == 503


@pytest.mark.parametrize("place", ["function", "dispatch", "method, listed"])
def test_a_refusal_out_of_the_view_itself_gets_the_whole_plan(serve, place: str):
    """The check has let the request pass by then."""
    client = serve(ABOVE[place](guarding("json")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inventory, "quantity", lambda: registry["prices"].call(int))
        force_open("prices")

        assert client.get("/page/").status_code == 403
        assert client.get("/page/", headers=RIGHT).json() == {"secret": "fixed"}


@pytest.mark.parametrize("place", [*ABOVE, "ROUTES"])
def test_a_check_whose_own_service_is_out_gives_nothing_away(serve, settings, place: str):
    """Who asks was never found out."""
    if place == "ROUTES":
        steps = {"breakers": ["inventory", "payments"], "plan": [{"json": {"secret": 1}}]}
        settings.RECLOSER = {**settings.RECLOSER, "ROUTES": {"page": {**steps, "on": ["open", "failure"]}}}
    client = serve(own(page) if place == "ROUTES" else ABOVE[place](guarding("json")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(f"{__name__}.refused", lambda request: registry["prices"].call(int))
        force_open("prices")

        response = client.get("/page/", headers=RIGHT)

    assert (response.status_code, b"secret" in response.content, inventory.calls) == (503, False, 0)


def test_the_routes_own_breaker_in_a_check_gives_nothing_away(serve, settings):
    """`ROUTES` lets it pass while it is closed; that it opens in the check says nothing of who asks."""
    route = {"breakers": ["payments"], "plan": [{"json": {"secret": 1}}]}
    settings.RECLOSER = {**settings.RECLOSER, "ROUTES": {"page": route}}

    def opens(request: HttpRequest) -> None:
        force_open("payments")
        registry["payments"].call(int)

    client = serve(own(page))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(f"{__name__}.refused", opens)

        assert client.get("/page/").status_code == 503


@pytest.mark.parametrize(
    ("way", "decorate"),
    [("guard", own), ("guard", nameless), ("ROUTES", own), ("ROUTES", nameless), ("ROUTES", login_required)],
)
def test_a_shared_page_waits_for_the_check(
    serve, settings, way: str, decorate: Callable[[Function], Function]
):
    """Its author's word lifts what is said of credentials, not the check itself."""
    plan = [{"stale": {"seconds": 600, "shared": True}}]
    if way == "ROUTES":
        settings.RECLOSER = {
            **settings.RECLOSER,
            "ROUTES": {"page": {"breakers": ["inventory"], "plan": plan}},
        }
    client = serve(decorate(page) if way == "ROUTES" else guard("inventory", plan=plan)(decorate(page)))
    client.get("/page/", headers=RIGHT)
    become("open")

    assert client.get("/page/").status_code == 503


class Public(View):
    def get(self, request: HttpRequest) -> HttpResponse:
        return page(request)


class Checked(View):
    def dispatch(self, request: HttpRequest, *args: object, **kwargs: object) -> object:
        return refused(request) or super().dispatch(request, *args, **kwargs)

    def get(self, request: HttpRequest) -> HttpResponse:
        return page(request)


@method_decorator(vary.vary_on_headers("X-Kind"), name="dispatch")
class Marked(Public):
    pass


@pytest.mark.parametrize(
    ("view", "serves"),
    [
        (page, True),
        (cache.cache_control(public=True)(page), True),
        (own(page), False),
        (Public.as_view(), True),
        (Marked.as_view(), True),
        (Checked.as_view(), False),
        (own(Public.as_view()), False),
    ],
    ids=["plain", "marked", "checked", "class", "marked class", "checked class", "class checked outside"],
)
def test_routes_serve_shared_pages_of_public_views(serve, settings, view: Function, serves: bool):
    """They are asked before the view, which is no matter where nothing in it checks access."""
    route = {"breakers": ["inventory"], "plan": [{"stale": {"seconds": 600, "shared": True}}]}
    settings.RECLOSER = {**settings.RECLOSER, "ROUTES": {"page": route}}
    client = serve(view)
    client.get("/page/", headers=RIGHT)
    become("open")

    assert client.get("/page/", headers=RIGHT).status_code == (200 if serves else 503)


def test_a_public_page_is_served_early(serve):
    """What was answered to somebody without credentials, and let pass, is for anybody."""
    client = serve(guarding("stale")(wraps(page)(lambda request: page(request))))
    client.get("/page/")
    become("open")

    assert client.get("/page/")["Cache-Status"].startswith("recloser; hit")


@pytest.mark.parametrize("place", ["function", "async", "class", "dispatch"])
def test_a_guard_below_the_check_answers_early_in_full(serve, place: str):
    """Whoever comes to be refused has passed it."""
    guarded = guarding("json")

    @method_decorator(guarded, name="dispatch")
    class Dispatch(Checked):
        pass

    @method_decorator([own, guarded], name="get")
    class Listed(Public):
        pass

    below = {
        "function": own(guarded(page)),
        "async": own(guarded(page_async)),
        "class": Listed.as_view(),
        "dispatch": Dispatch.as_view(),
    }
    client = serve(below[place])
    become("open")

    assert client.get("/page/").status_code == 403
    assert client.get("/page/", headers=RIGHT).json() == {"secret": "fixed"}


def harmless() -> dict[str, Callable[[Function], Function]]:
    found: dict[str, Callable[[Function], Function]] = {
        "cache_control": cache.cache_control(public=True),
        "cache_page": cache.cache_page(60),
        "never_cache": cache.never_cache,
        "xframe_options_deny": clickjacking.xframe_options_deny,
        "no_append_slash": common.no_append_slash,
        "csrf_exempt": csrf.csrf_exempt,
        "ensure_csrf_cookie": csrf.ensure_csrf_cookie,
        "sensitive_post_parameters": debug.sensitive_post_parameters(),
        "gzip_page": gzip.gzip_page,
        "require_http_methods": http.require_http_methods(["GET"]),
        "require_safe": http.require_safe,
        "conditional_page": http.conditional_page,
        "vary_on_headers": vary.vary_on_headers("X-Kind"),
        "vary_on_cookie": vary.vary_on_cookie,
        "atomic": transaction.atomic,
        "atomic()": transaction.atomic(durable=True),
        "override": translation.override("de"),
        "guard": guard("prices"),
        "several": lambda view: cache.never_cache(vary.vary_on_cookie(http.require_GET(view))),
    }
    return found


@pytest.mark.parametrize("kind", ["function", "async", "method", "handler"])
@pytest.mark.parametrize("name", harmless())
def test_decorators_of_djangos_that_check_nothing_are_no_matter(serve, name: str, kind: str):
    """They only mark, cache or vary an answer: the whole plan is given early."""
    decorate, guarded = harmless()[name], guarding("json")
    views: dict[str, Callable[[], Function]] = {
        "function": lambda: guarded(decorate(page)),
        "async": lambda: guarded(decorate(page_async)),
        "method": lambda: method_decorator([guarded, decorate], name="get")(
            type("M", (Public,), {})
        ).as_view(),
        "handler": lambda: method_decorator(guarded, name="dispatch")(
            method_decorator(decorate, name="get")(type("H", (Public,), {}))
        ).as_view(),
    }
    client = serve(views[kind]())
    become("open")

    assert client.get("/page/").json() == {"secret": "fixed"}


class Gate:
    """A middleware of the project's that may check anything."""

    def __init__(self, get_response: object) -> None:
        pass

    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        return refused(request)


class GatedCache(cache.CacheMiddleware):
    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        return refused(request)


def lies(view: Function) -> Function:
    """Says that it stands right around the view, and hides what is between."""
    marked = cache.never_cache(own(view))
    marked.__wrapped__ = view
    return marked


class Door:
    def __init__(self, view: Function) -> None:
        self.view = view

    def __call__(self, request: HttpRequest) -> object:
        return refused(request) or self.view(request)


@pytest.mark.parametrize(
    "decorate",
    [
        nameless,
        lies,
        decorator_from_middleware(Gate),
        decorator_from_middleware(GatedCache),
        csrf.csrf_protect,
        http.condition(etag_func=lambda request: str(refused(request))),
        lambda view: update_wrapper(partial(Door(view).__call__), view),
        lambda view: update_wrapper(partial(Door(view)), view),
    ],
    ids=["nameless", "lies", "middleware", "cache", "csrf", "condition", "method of another", "callable"],
)
def test_whatever_else_may_check_access_comes_first(serve, decorate: Callable[[Function], Function]):
    """Also where it hides what it stands around."""
    client = serve(guarding("json")(decorate(page)))
    become("open")

    assert client.get("/page/").status_code == 503


def test_ninja_operations_keep_to_it(serve, settings):
    """A guard above an operation's own decorator, and `ROUTES` above its authentication."""

    def authenticate(request: HttpRequest) -> bool:
        registry["payments"].call(int)
        return request.headers.get("Authorization") == "right"

    api = NinjaAPI(urls_namespace="own", auth=authenticate)

    @api.get("/page")
    @guarding("json")
    @own
    def operation(request: HttpRequest) -> str:
        return str(inventory.quantity())

    @api.get("/routed")
    def routed(request: HttpRequest) -> str:
        return str(inventory.quantity())

    route = {
        "breakers": ["inventory"],
        "plan": [{"json": {"secret": "fixed"}}],
        "on": ["open", "failure"],
    }
    settings.RECLOSER = {**settings.RECLOSER, "ROUTES": {"/api/routed": route}}
    settings.ROOT_URLCONF = (path("api/", api.urls),)
    client = Client(raise_request_exception=False)
    for address in ("/api/page", "/api/routed"):
        assert client.get(address).status_code == 401
        become("raises")
        assert client.get(address).status_code == 401
        assert client.get(address, headers=RIGHT).json() == {"secret": "fixed"}
        force_open("payments")
        assert b"secret" not in client.get(address, headers=RIGHT).content
        conf.on_setting_changed(setting="RECLOSER")
        become("open")
        assert b"secret" not in client.get(address, headers=RIGHT).content
        conf.on_setting_changed(setting="RECLOSER")


def test_an_answer_of_ninjas_authentication_is_not_the_operations(settings):
    """`ROUTES` answers a failure of the operation itself alone by the whole plan."""

    def authenticate(request: HttpRequest) -> bool:
        raise OutageError("nobody knows")

    api = NinjaAPI(urls_namespace="failing", auth=authenticate)
    api.get("/routed")(lambda request: "page")

    @api.exception_handler(OutageError)
    def unknown(request: HttpRequest, error: object) -> HttpResponse:
        return HttpResponse("own", status=503)

    route = {"breakers": ["inventory"], "plan": [{"json": {"secret": 1}}], "on": ["open", "failure"]}
    settings.RECLOSER = {**settings.RECLOSER, "ROUTES": {"/api/routed": route}}
    settings.ROOT_URLCONF = (path("api/", api.urls),)

    response = Client(raise_request_exception=False).get("/api/routed")

    assert (response.status_code, b"secret" in response.content) == (503, False)
