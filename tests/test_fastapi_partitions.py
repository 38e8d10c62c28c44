"""Each user's own pages come back to that user only; shared ones to everybody, by their author's word."""

from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

import anyio
import pytest
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Request
from fastapi.security import APIKeyHeader, APIKeyQuery, HTTPBearer, OAuth2PasswordBearer
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from http_tools import Clock, ask, cache, shop
from proof import examples
from recloser import ConfigurationError
from recloser.fastapi import guard, install
from recloser.http import background, plans, remote
from recloser.http.remote import RemoteCache

USERS = {"a": "ann", "b": "bob", "c": "cid"}
token_of = OAuth2PasswordBearer("token", auto_error=False)


async def current_user(token: Annotated[str | None, Depends(token_of)]) -> str:
    if token not in USERS:
        raise HTTPException(401)
    return USERS[token]


def somebody(token: Annotated[str | None, Depends(token_of)] = None) -> str | None:
    return USERS.get(token or "")


async def own_page(user: Annotated[str, Depends(current_user)]):
    return PlainTextResponse(f"for {user}", headers={"cache-control": "private"})


async def cached_page():
    return "shared"


class Shop:
    """An application with one guarded page, and a circuit that can be opened."""

    def __init__(self, page=own_page, *, stale=None, before=(), router=False, app=None, kept=None, **breaker):
        clock = Clock()
        self.registry = shop(clock, **breaker)
        self.app = app or FastAPI()
        self.cache = kept or cache(clock)
        install(self.app, self.registry, cache=self.cache)
        if page is None:
            return
        own = guard("inventory", plan=[stale or plans.stale(600, per=current_user)])
        if router:
            owner = APIRouter(dependencies=[*map(Depends, before), own])
            owner.get("/page")(page)
            self.app.include_router(owner)
        else:
            self.app.get("/page", dependencies=[*map(Depends, before)])(own(page))

    def ask(self, token=None, path="/page", headers=()):
        bearer = [] if token is None else [("Authorization", f"Bearer {token}")]
        return anyio.run(ask, self.app, path, "GET", [*bearer, *headers])

    def open(self):
        self.registry["inventory"].force_open(by="ann", reason="test")

    def close(self):
        self.registry["inventory"].auto(by="ann", reason="test")


@pytest.mark.parametrize(("router", "before"), [(False, ()), (True, (current_user,))])
def test_a_page_partitioned_by_current_user_comes_back_to_its_user_only(router, before):
    """As a decorator, and as a dependency after the one that checks access."""

    async def page(request: Request):  # a security scheme after the guard would keep it from answering early
        return PlainTextResponse(f"for {USERS[request.headers['authorization'][-1]]}")

    shop = Shop(page if router else own_page, router=router, before=before)
    assert shop.ask("a").body == b"for ann"
    shop.open()
    told = shop.ask("a")
    assert (told.status, told.body) == (200, b"for ann")
    assert told.headers["cache-status"].startswith("recloser; hit; ttl=")
    assert told.headers["cache-control"] == "private"
    assert shop.ask("b").status == 503
    assert shop.ask(None).status == 401
    assert shop.ask("wrong").status == 401


@dataclass(frozen=True)
class Visit:
    """One request, and how the application marks its answer to it."""

    user: str | None
    cookie: bool
    marks: tuple[tuple[str, str], ...]

    @property
    def headers(self):
        own = [("authorization", f"Bearer {self.user}")] if self.user else []
        return own + ([("cookie", f"session={self.user}")] if self.cookie else [])


MARKS = st.sampled_from(
    [
        ("cache-control", "private"),
        ("cache-control", "public, max-age=60"),
        ("cache-control", "no-store"),
        ("set-cookie", "session=1"),
        ("vary", "authorization"),
        ("vary", "cookie, accept"),
        ("vary", "*"),
        ("etag", '"a"'),
    ]
)
VISITS = st.lists(
    st.builds(
        Visit,
        st.sampled_from(["a", "b", "c", "nobody", None]),
        st.booleans(),
        st.lists(MARKS, max_size=2).map(tuple),
    ),
    min_size=1,
    max_size=8,
)


@given(VISITS, VISITS, st.lists(st.sampled_from(["a", "b"]), max_size=2))
def test_no_two_users_ever_see_each_others_pages(before, during, changing):
    """Whoever visited, however answers were marked, and whatever was changed meanwhile."""
    keep_apart(before, during, changing)


class Drawer(dict):
    """A cache outside the process, as far as its cache can tell."""

    def load(self, *keys):
        return [self.get(key) for key in keys]

    def save(self, key, data, seconds):
        self[key] = data

    def drop(self, key):
        self.pop(key, None)


@settings(max_examples=examples(30), deadline=None)
@given(VISITS, VISITS, st.lists(st.sampled_from(["a", "b"]), max_size=2))
def test_nor_do_they_where_the_fleet_shares_a_cache(before, during, changing):
    """The same, kept outside the process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(background, "IDLE", 0.1)
        patch.setattr(remote, "READ_TIMEOUT", 10.0)
        keep_apart(before, during, changing, RemoteCache(Drawer(), namespace="shop"))


def keep_apart(before, during, changing, kept=None):
    visits = iter([])

    async def page(user: Annotated[str | None, Depends(somebody)]):
        answer = Response(f"for {user}")
        for name, value in next(visits).marks:
            answer.headers.append(name, value)
        return answer

    async def change() -> None: ...

    shop = Shop(page, stale=plans.stale(600, per=somebody), kept=kept)
    shop.app.post("/page")(change)
    visits = iter(before)
    for visit in before:
        expected = f"for {USERS.get(visit.user or '')}".encode()
        assert shop.ask(headers=visit.headers).body == expected
    for _ in changing:
        anyio.run(ask, shop.app, "/page", "POST")
    if kept is not None:
        kept.flush()
    shop.open()
    if before and not changing and all(not visit.marks for visit in before) and before[0].user in USERS:
        assert shop.ask(headers=before[0].headers).status == 200  # it can fail: something is kept
    for visit in during:
        told = shop.ask(headers=visit.headers)
        assert told.status in {200, 503}
        if told.status == 200:
            assert visit.user in USERS
            assert not changing
            assert told.body == f"for {USERS[visit.user]}".encode()
            assert told.headers["cache-control"].startswith("private")
            assert "set-cookie" not in told.headers


NOBODY = [None, "", "  ", 0]
NO_NAMES = [True, False, 4.5, b"ann", object(), ["ann"], {"id": 5}]


@pytest.mark.parametrize(
    ("value", "complaints"), [*((value, 0) for value in NOBODY), *((value, 1) for value in NO_NAMES)]
)
def test_nothing_is_kept_without_a_stable_name(value, complaints, caplog):
    """Nobody known: silence. A value that is no name: an error, once, that says what to return."""

    async def named():
        return value

    async def page():
        return "personal"

    shop = Shop(page, stale=plans.stale(600, per=named))
    for _ in range(2):
        assert shop.ask().status == 200
    assert len(shop.cache) == 0
    shop.open()
    assert shop.ask().status == 503
    assert caplog.text.count("a str, int or UUID such as a primary key") == complaints


def test_guards_that_ask_for_users_are_no_decorators_of_others():
    """Around each other they answer early in full, and the endpoint's bare self is one step away."""

    async def page():
        return "page"

    inner = guard("payments", plan=[plans.stale(600, per=somebody)])(page)
    assert inner.__wrapped__ is page
    shop = Shop(None)
    outer = guard("inventory", plan=[plans.stale(600, per=somebody), plans.json("fixed")])
    shop.app.get("/page")(outer(inner))
    shop.open()
    assert shop.ask().body == b'"fixed"'


def test_no_two_values_have_one_partition():
    """A text, a number and a UUID that look alike are three users; a value of 0 is nobody."""
    values = iter(["7", 7, UUID(int=7), "int:7", UUID(int=7).hex, 7])

    async def named():
        return next(values)

    async def page(who: Annotated[object, Depends(named)]):
        return f"for {type(who).__name__} {who}"

    shop = Shop(page, stale=plans.stale(600, per=named))
    for _ in range(5):
        shop.ask()
    assert len(shop.cache) == 5
    shop.open()
    assert shop.ask().body == b'"for int 7"'


def test_the_dependency_is_solved_once_and_after_all_others():
    """Access first: who may not see the page is told so before anybody asks who he is."""
    seen = []

    async def forbidden():
        seen.append("access")
        raise HTTPException(403)

    async def named():
        seen.append("named")
        return "ann"

    async def page(who: Annotated[str, Depends(named)]):
        return who

    shop = Shop(page, stale=plans.stale(600, per=named))
    assert shop.ask().body == b'"ann"'
    assert seen == ["named"]
    seen.clear()
    shop = Shop(page, stale=plans.stale(600, per=named), before=[forbidden])
    shop.open()
    assert shop.ask().status == 403
    assert seen == ["access"]


def test_an_early_guard_serves_a_private_page_only_after_access_was_checked():
    """A guard with nothing before it answers with public pages only, though it knows who asks."""
    shop = Shop(router=True)
    shop.ask("a")
    assert len(shop.cache) == 1
    shop.open()
    assert shop.ask("a").status == 503


def test_a_user_who_loses_access_loses_the_page():
    """A 403 in somebody's partition drops what was kept there, and nothing else."""
    banned = set()

    async def page(user: Annotated[str, Depends(current_user)]):
        if user in banned:
            raise HTTPException(403)
        return user

    shop = Shop(page)
    for token in "ab":
        shop.ask(token)
    banned.add("ann")
    assert shop.ask("a").status == 403
    shop.open()
    assert shop.ask("a").status == 503
    assert shop.ask("b").body == b'"bob"'


def test_a_changed_resource_is_outdated_for_every_user():
    """RFC 9111 §4.4: a POST of one user drops the pages of all."""

    async def change() -> None: ...

    shop = Shop()
    shop.app.post("/page")(change)
    for token in "ab":
        shop.ask(token)
    anyio.run(ask, shop.app, "/page", "POST", [("Authorization", "Bearer a")])
    assert len(shop.cache) == 0


def test_a_plan_may_be_written_as_data():
    """With the dependency's name."""
    shop = Shop(stale={"stale": {"seconds": 600, "per": f"{__name__}:current_user"}})
    shop.ask("a")
    shop.open()
    assert shop.ask("a").body == b"for ann"
    assert shop.ask("b").status == 503


def test_an_override_of_the_dependency_counts():
    """Tests replace `current_user`, and the partition follows."""
    shop = Shop()
    shop.app.dependency_overrides[current_user] = lambda: "dan"
    shop.ask()
    shop.open()
    assert shop.ask().body == b"for dan"
    shop.app.dependency_overrides[current_user] = lambda: "eve"
    assert shop.ask().status == 503


def test_sync_endpoints_and_several_guards_may_be_partitioned():
    """Each guard asks for its own; the endpoint's parameters stay as they were."""

    def page(number: Annotated[int, Query()], user: Annotated[str, Depends(current_user)]):
        return f"{number} for {user}"

    shop = Shop(None)
    inner = guard("inventory", plan=[plans.stale(600, per=current_user)])
    outer = guard("payments", plan=[plans.stale(60, per=somebody)])
    shop.app.get("/page")(outer(inner(page)))
    assert shop.ask("a", "/page?number=5").body == b'"5 for ann"'
    parameters = shop.app.openapi()["paths"]["/page"]["get"]["parameters"]
    assert [parameter["name"] for parameter in parameters] == ["number"]
    for name in ("payments", "inventory"):
        shop.registry[name].force_open(by="ann", reason="test")
        assert shop.ask("a", "/page?number=5").body == b'"5 for ann"'
        assert shop.ask("b", "/page?number=5").status == 503
        shop.registry[name].auto(by="ann", reason="test")


def test_streams_are_kept_in_partitions_too():
    """An async generator endpoint's stream belongs to its user."""

    async def page(user: Annotated[str, Depends(current_user)]):
        async def parts():
            yield f"for {user}"

        return StreamingResponse(parts())

    shop = Shop(page)
    shop.ask("a")
    shop.open()
    assert shop.ask("a").body == b"for ann"


@pytest.mark.parametrize("own", [True, False])
def test_a_session_that_a_stream_begins_makes_it_personal(own):
    """It is asked again at the end: a partition keeps it, everybody's cache does not."""

    async def page(request: Request, user: Annotated[str | None, Depends(somebody)]):
        async def parts():
            yield f"for {user}"
            request.scope["session"] = {"seen": True}

        return StreamingResponse(parts())

    shop = Shop(page, stale=plans.stale(600, per=somebody) if own else plans.stale(600, shared=True))
    assert shop.ask("a").body == b"for ann"
    assert len(shop.cache) == own


def test_a_failure_is_answered_with_the_users_own_page_too():
    """A plan that answers counted failures knows who asks as well."""
    failing = []

    async def page(user: Annotated[str, Depends(current_user)]):
        if failing:
            raise ConnectionError
        return f"for {user}"

    shop = Shop(None)
    own = guard("payments", plan=[plans.stale(600, per=current_user)], on=("open", "failure"))
    shop.app.get("/page")(own(page))
    assert shop.ask("a").body == b'"for ann"'
    failing.append(True)
    assert shop.ask("a").body == b'"for ann"'
    shop.registry["payments"].reset(by="ann", reason="another failure")
    told = shop.ask("b")
    assert told.status >= 500 or isinstance(told.error, ConnectionError)
    assert b"ann" not in told.body


def test_a_breakers_own_plan_cannot_depend_on_a_route():
    """FastAPI solves dependencies for routes: an error at the start says where to write it."""
    with pytest.raises(ConfigurationError, match=r"must stand in the plan of a guard, guard\(\.\.\., plan="):
        Shop(None, stocks={"plan": [{"stale": {"seconds": 5, "per": f"{__name__}:current_user"}}]})


@pytest.mark.parametrize("router", [True, False])
def test_a_name_that_could_not_be_imported_in_time_is_an_error_at_the_start(router, monkeypatch):
    """Modules that import each other: without the dependency nothing would ever be kept, and nobody told."""

    async def page():
        return "personal"

    shop = Shop(page, stale={"stale": {"seconds": 5, "per": f"{__name__}:late_user"}}, router=router)
    monkeypatch.setitem(globals(), "late_user", somebody)
    with (
        pytest.raises(ConfigurationError, match="a name that can be imported when guard"),
        TestClient(shop.app),
    ):
        pass


def test_a_dependency_is_never_called_with_a_request():
    """A route that was added too late keeps nothing: nobody knows what its guard would find."""
    shop = Shop()
    shop.ask("a")
    called = []

    def named(value="everybody"):
        called.append(value)
        return "everybody"

    async def late(request):
        return PlainTextResponse("late")

    before = len(shop.cache)
    shop.app.router.routes.append(
        Route("/late", guard("inventory", plan=[plans.stale(600, per=named)])(late))
    )
    assert shop.ask("a", "/late").body == b"late"
    assert len(shop.cache) == before
    assert called == []


# -- Starlette ---------------------------------------------------------------------------------------------------


def test_on_starlettes_own_routes_it_is_a_function_of_the_request():
    """Which has no dependencies; one that raises, or waits, knows nobody."""

    def named(request: Request):
        return request.headers["x-signed-user"]

    async def page(request):
        return PlainTextResponse(f"for {request.headers.get('x-signed-user')}")

    own = guard("inventory", plan=[plans.stale(600, per=named)])
    shop = Shop(None, app=Starlette(routes=[Route("/page", own(page))]))
    ann, bob = [("X-Signed-User", "ann")], [("X-Signed-User", "bob")]
    assert shop.ask(headers=ann).body == b"for ann"
    shop.ask()
    assert len(shop.cache) == 1
    shop.open()
    assert shop.ask(headers=ann).body == b"for ann"
    assert shop.ask(headers=bob).status == 503
    assert shop.ask().status == 503


# -- shared ------------------------------------------------------------------------------------------------------


def test_shared_pages_are_for_everybody_whoever_asked_first():
    """Cookies and credentials do not matter, by the author's word."""

    async def page(token: Annotated[str | None, Depends(token_of)]):
        return "the same for all"

    shop = Shop(page, stale=plans.stale(600, shared=True))
    shop.ask("a", headers=[("Cookie", "session=1"), ("X-Api-Key", "k")])
    shop.open()
    assert shop.ask("b").body == b'"the same for all"'
    assert shop.ask().body == b'"the same for all"'


@pytest.mark.parametrize(
    "mark", [("cache-control", "private"), ("cache-control", "no-store"), ("set-cookie", "a=b")]
)
def test_shared_does_not_outweigh_what_the_response_says(mark):
    """The author's word is about requests."""

    async def page():
        return Response("mine", headers=dict([mark]))

    shop = Shop(page, stale=plans.stale(600, shared=True))
    shop.ask("a")
    assert len(shop.cache) == 0


def test_wrong_credentials_drop_no_shared_page():
    """A 401 is about who asks, not about the page."""

    async def page(request: Request):
        if request.headers.get("authorization") == "Bearer wrong":
            raise HTTPException(401)
        return "shared"

    shop = Shop(page, stale=plans.stale(600, shared=True))
    shop.ask("a")
    assert shop.ask("wrong").status == 401
    shop.open()
    assert shop.ask("a").body == b'"shared"'


@pytest.mark.parametrize(
    "scheme", [HTTPBearer(), APIKeyHeader(name="key"), APIKeyQuery(name="key"), current_user]
)
def test_a_shared_page_of_a_secured_route_is_not_served_before_its_check(scheme):
    """Who is not let in while the circuit is closed gets no page while it is open."""

    def made(*, router):
        async def page(user: Annotated[object, Depends(scheme)]):
            return "shared"

        return Shop(page, stale=plans.stale(600, shared=True), router=router)

    asked = {"path": "/page?key=k", "headers": [("key", "k")]}
    early, late = made(router=True), made(router=False)
    for made_shop in (early, late):
        assert made_shop.ask("a", **asked).status == 200
        assert len(made_shop.cache) == 1
        assert made_shop.ask(None).status == 401
        made_shop.open()
    assert early.ask(None, "/page?key=k").status == early.ask("a", **asked).status == 503
    assert late.ask("a", **asked).body == b'"shared"'
    assert late.ask(None).status == 401


@pytest.mark.parametrize("stale", [plans.stale(600, shared=True), plans.stale(600, per=current_user)])
def test_a_new_token_finds_the_page_all_the_same(stale):
    """A proxy that signs users in renews what it says of them."""
    shop = Shop(own_page if stale.per else cached_page, stale=stale)
    for token in ("old", "new"):
        told = shop.ask("a", headers=[("X-Forwarded-Access-Token", token), ("X-Auth-Token", token)])
        assert told.status == 200
        shop.open()


def test_a_shared_page_of_an_open_route_is_served_early():
    """Nothing there says who may see it; visitors carry cookies all the same."""

    async def page(settings: Annotated[None, Depends(lambda: None)]):
        return "shared"

    shop = Shop(page, stale=plans.stale(600, shared=True), router=True)
    shop.ask(headers=[("Cookie", "visitor=1")])
    shop.open()
    assert shop.ask().body == b'"shared"'


# -- the declared cache ------------------------------------------------------------------------------------------


def test_an_alias_is_djangos():
    """An application of FastAPI's says so at its start."""
    from recloser import Registry

    registry = Registry.from_mapping({"CACHE": {"alias": "default"}}, environ={})
    with pytest.raises(ConfigurationError) as caught:
        install(FastAPI(), registry)
    [problem] = caught.value.problems
    assert problem.path == 'RECLOSER["CACHE"]["alias"]'
    assert "only Django has CACHES" in problem.fix


@pytest.mark.parametrize(
    ("expose", "debug", "is_exposed"), [(True, False, True), (False, True, False), (None, True, True)]
)
def test_expose_may_be_declared(expose, debug, is_exposed):
    """It outranks debug mode."""
    from recloser import Registry

    registry = Registry.from_mapping({"EXPOSE": expose, "BREAKERS": {"inventory": {}}}, environ={})
    app = FastAPI(debug=debug)
    install(app, registry)

    @app.get("/page")
    @guard("inventory")
    async def page() -> None: ...

    registry["inventory"].force_open(by="ann", reason="test")
    with TestClient(app) as client:
        assert ("strategy=" in client.get("/page").headers["recloser"]) is is_exposed


def test_own_schemes_of_security_are_respected_in_partitions():
    """A page behind HTTPBearer, partitioned by a dependency of its own."""
    bearer = HTTPBearer(auto_error=False)

    async def named(found: Annotated[object, Depends(bearer)]):
        return getattr(found, "credentials", None)

    async def page(who: Annotated[str, Depends(named)]):
        return f"for {who}"

    shop = Shop(page, stale=plans.stale(600, per=named))
    shop.ask("a")
    shop.open()
    assert shop.ask("a").body == b'"for a"'
    assert shop.ask("b").status == 503
