"""Nobody is ever served what was made for somebody else."""

from dataclasses import dataclass
from typing import Annotated

import anyio
import pytest
from fastapi import APIRouter, Cookie, Depends, FastAPI, Header, Security
from fastapi.security import APIKeyCookie, APIKeyHeader, APIKeyQuery, HTTPBearer, OAuth2PasswordBearer
from fastapi.security.base import SecurityBase
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from http_tools import Clock, ask, cache, shop
from recloser.fastapi import guard, install
from recloser.http import plans


class Shop:
    """An application whose one page tells who asked, and whose circuit can be opened."""

    def __init__(self, page, *, dependencies=(), router=None):
        clock = Clock()
        self.registry = shop(clock)
        self.app = FastAPI()
        self.cache = cache(clock)
        install(self.app, self.registry, cache=self.cache)
        owner = router or self.app
        owner.get("/page", dependencies=list(dependencies))(guard("inventory", plan=[plans.stale(600)])(page))
        if router is not None:
            self.app.include_router(router)

    def ask(self, path="/page", headers=()):
        return anyio.run(ask, self.app, path, "GET", headers)

    def open(self):
        self.registry["inventory"].force_open(by="ann", reason="test")


# -- by hypothesis -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Visit:
    """One request, and how the application marks its answer to it."""

    user: str
    credential: str | None
    marks: tuple[tuple[str, str], ...]

    @property
    def headers(self):
        secret = {"cookie": f"session={self.user}", "authorization": f"Bearer {self.user}"}
        return [] if self.credential is None else [(self.credential, secret[self.credential])]


CREDENTIALS = st.sampled_from(["cookie", "authorization"])
PRIVATE_MARKS = st.sampled_from(
    [
        ("set-cookie", "session=1"),
        ("cache-control", "private"),
        ("cache-control", "private, max-age=60"),
        ("cache-control", "no-store"),
        ("cache-control", "no-cache"),
        ("Cache-Control", 'PRIVATE="x-visitor"'),
        ("vary", "*"),
        ("vary", "Accept, *"),
    ]
)
PUBLIC_MARKS = st.sampled_from([("cache-control", "public, max-age=60"), ("vary", "accept"), ("etag", '"a"')])
MARKS = st.lists(PUBLIC_MARKS, max_size=2)
# Each visit is personal: by what it carries, or by how its answer is marked, or both.
PERSONAL = st.one_of(
    st.builds(Visit, st.sampled_from("abcde"), CREDENTIALS, st.builds(tuple, MARKS)),
    st.builds(
        lambda user, credential, public, private: Visit(user, credential, (*public, private)),
        st.sampled_from("abcde"),
        st.one_of(st.none(), CREDENTIALS),
        MARKS,
        PRIVATE_MARKS,
    ),
)
PUBLIC = st.builds(Visit, st.just("anybody"), st.none(), st.builds(tuple, MARKS))


@given(
    st.lists(st.one_of(PERSONAL, PUBLIC), min_size=1, max_size=8),
    st.lists(st.one_of(PERSONAL, PUBLIC), min_size=1, max_size=5),
)
def test_a_personal_answer_is_never_anothers(before, during):
    """Whoever visited before the outage and however the answers were marked: only public pages come back."""
    visits = iter([])

    async def page():
        visit = next(visits)
        answer = Response(f"for {visit.user}")
        for name, value in visit.marks:
            answer.headers.append(name, value)
        return answer

    shop = Shop(page)
    visits = iter(before)
    for visit in before:
        assert shop.ask(headers=visit.headers).body == f"for {visit.user}".encode()
    shop.open()
    for visit in during:
        told = shop.ask(headers=visit.headers)
        assert told.status in {200, 304, 503}
        if told.status != 503:
            assert told.body in {b"for anybody", b""}
            assert "set-cookie" not in told.headers


# -- what FastAPI knows of a route -------------------------------------------------------------------------------


class Headers(BaseModel):
    x_visitor: str = "nobody"


class OwnScheme(SecurityBase):
    def __init__(self):
        self.model = HTTPBearer().model
        self.scheme_name = "own"

    def __call__(self, request: Request):
        return request.headers.get("x-own")


async def by_header(x_visitor: Annotated[str, Header()] = "nobody"):
    return x_visitor


async def by_alias(user: Annotated[str, Header(alias="X-Visitor-Name")] = "nobody"):
    return user


async def by_model(headers: Annotated[Headers, Header()]):
    return headers.x_visitor


async def by_dependency(user: Annotated[str, Depends(by_header)]):
    return user


async def by_key(key: Annotated[str, Security(APIKeyHeader(name="X-Shop-Key", auto_error=False))]):
    return key


async def by_query_key(key: Annotated[str, Security(APIKeyQuery(name="key", auto_error=False))]):
    return key


async def by_cookie_key(key: Annotated[str, Security(APIKeyCookie(name="key", auto_error=False))]):
    return key


async def by_bearer(token: Annotated[str, Security(OAuth2PasswordBearer("token", auto_error=False))]):
    return token


async def by_own_scheme(key: Annotated[str, Security(OwnScheme())]):
    return key


async def by_cookie(user: Annotated[str, Cookie()] = "nobody"):
    return user


@pytest.mark.parametrize(
    ("page", "ann", "bob"),
    [
        (by_header, [("X-Visitor", "ann")], [("X-Visitor", "bob")]),
        (by_alias, [("X-Visitor-Name", "ann")], [("X-Visitor-Name", "bob")]),
        (by_model, [("X-Visitor", "ann")], [("X-Visitor", "bob")]),
        (by_dependency, [("X-Visitor", "ann")], [("X-Visitor", "bob")]),
        (by_key, [("X-Shop-Key", "ann")], [("X-Shop-Key", "bob")]),
        (by_key, [("X-Shop-Key", "ann")], []),
        (by_cookie_key, [("Cookie", "key=ann")], [("Cookie", "key=bob")]),
        (by_bearer, [("Authorization", "Bearer ann")], []),
        (by_own_scheme, [("X-Own", "ann")], [("X-Own", "bob")]),
        (by_own_scheme, [("X-Own", "ann")], []),
        (by_cookie, [("Cookie", "user=ann")], []),
    ],
)
@pytest.mark.parametrize("place", ["endpoint", "router"])
def test_what_a_route_reads_of_its_user_keeps_users_apart(page, ann, bob, place):
    """Header parameters select; credentials of security schemes keep the answer out; so do those of a router."""
    if place == "router":
        seen = {}

        async def remember(user: Annotated[str, Depends(page)]):
            seen["user"] = user

        async def plain():
            return seen["user"]

        shop = Shop(plain, router=APIRouter(dependencies=[Depends(remember)]))
    else:
        shop = Shop(page)
    assert b"ann" in shop.ask(headers=ann).body
    shop.open()
    told = shop.ask(headers=bob)
    assert told.status == 503
    assert b"ann" not in told.body


def test_a_key_in_the_query_is_a_credential():
    """Its answer is not kept at all, though the query would be part of the key."""
    shop = Shop(by_query_key)
    shop.ask("/page?key=ann")
    assert len(shop.cache) == 0
    shop.ask("/page?other=ann")
    assert len(shop.cache) == 1


def test_what_a_route_reads_may_still_be_served_to_the_same_question():
    """A header parameter selects a variant, it does not forbid it."""
    shop = Shop(by_header)
    shop.ask(headers=[("X-Visitor", "ann")])
    shop.open()
    assert shop.ask(headers=[("X-Visitor", "ann")]).body == b'"ann"'


def test_a_route_that_was_added_later_is_not_kept():
    """Nobody looked at what it reads."""
    shop = Shop(by_header)
    shop.ask()
    shop.app.get("/late")(guard("inventory", plan=[plans.stale(600)])(by_key))
    before = len(shop.cache)
    shop.ask("/late")
    assert len(shop.cache) == before


@pytest.mark.parametrize("order", [1, -1])
def test_one_endpoint_on_two_routes_has_the_care_of_both(order):
    """Their dependencies differ; an endpoint is what a request is known by."""

    async def page(request: Request):
        return request.headers.get("x-visitor", "nobody")

    shop = Shop(page)
    guarded = shop.app.routes[-1].endpoint
    for path, reads in [("/plain", []), ("/reading", [Depends(by_header)])][::order]:
        shop.app.get(path, dependencies=reads)(guarded)
    shop.ask(headers=[("X-Visitor", "ann")])
    shop.open()
    assert shop.ask(headers=[("X-Visitor", "bob")]).status == 503


def test_a_visitor_with_a_cookie_may_get_the_public_page():
    """Nothing personal is in it."""

    async def page():
        return "public"

    shop = Shop(page)
    shop.ask()
    shop.open()
    assert shop.ask(headers=[("Cookie", "session=1")]).body == b'"public"'
