"""The response cache: what is found again, by whom, and within which bounds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from http_tools import Clock, cache, request, response
from recloser.http import kept as keeping

DATE = "Tue, 14 Nov 2023 22:13:20 GMT"


@pytest.fixture
def clock():
    return Clock()


def test_a_kept_response_is_found_by_the_same_request(clock):
    """Body, status and headers come back."""
    kept = cache(clock)
    kept.keep(request(), response(b"good", content_type="text/plain"))
    found = kept.find(request())
    assert found is not None
    assert found.response == response(b"good", content_type="text/plain")


@pytest.mark.parametrize(
    "other",
    [
        request(path="/other"),
        request(query="a=1"),
        replace(request(), scheme="http"),
        replace(request(), host="other.example"),
        replace(request(), raw_path="/p%61ge"),
        replace(request(), path="/routed-elsewhere"),
    ],
)
def test_a_request_that_differs_in_its_target_finds_nothing(clock, other):
    """Scheme, host, path as routed, path as written, query: RFC 9110 §7.1."""
    kept = cache(clock)
    kept.keep(request(), response())
    assert kept.find(other) is None


def test_the_host_is_compared_without_case(clock):
    """RFC 9110 §4.2.3."""
    kept = cache(clock)
    kept.keep(request(), response())
    assert kept.find(replace(request(), host="SHOP.example")) is not None


@pytest.mark.parametrize(
    ("section", "vary", "first", "second", "is_found"),
    [
        ("RFC 9111 §4.1", "accept-language", {"accept_language": "de"}, {"accept_language": "de"}, True),
        ("RFC 9111 §4.1", "Accept-Language", {"accept_language": "de"}, {"accept_language": "fr"}, False),
        ("RFC 9111 §4.1: absent is not empty", "accept", {}, {"accept": ""}, False),
        ("RFC 9111 §4.1: absent on both sides", "accept", {}, {}, True),
        ("RFC 9111 §4.1: every field", "accept, dnt", {"accept": "a", "dnt": "1"}, {"accept": "a"}, False),
        ("RFC 9110 §12.5.5: a cookie", "cookie", {}, {"cookie": "session=2"}, False),
    ],
)
def test_vary_selects(clock, section, vary, first, second, is_found):
    """A response answers only the requests that it would have been selected for."""
    kept = cache(clock)
    kept.keep(request(**first), response(vary=vary))
    assert (kept.find(request(**second)) is not None) is is_found


ADDRESSING = [
    "x_forwarded_host",
    "x_forwarded_prefix",
    "x_forwarded_proto",
    "x_original_url",
    "x_http_method_override",
    "forwarded",
]
FOR_WHOM = ["x_tenant_id", "x_account", "x_acting_user", "tenant", "x_goog_jwt"]


@pytest.mark.parametrize("name", [*ADDRESSING, *FOR_WHOM])
def test_a_page_for_no_address_or_tenant_is_nobodys_of_one(clock, name):
    """What was made for the application's own host is not served under another one, nor kept in the other's place."""
    kept = cache(clock)
    kept.keep(request(), response(b"own"))
    assert kept.find(request(**{name: "b.example"})) is None
    kept.keep(request(**{name: "b.example"}), response(b"b's"))
    assert kept.find(request()).response.body == b"own"
    assert kept.find(request(**{name: "b.example"})).response.body == b"b's"


@pytest.mark.parametrize("name", ADDRESSING)
def test_a_page_for_a_made_up_address_is_nobody_elses(clock, name):
    """Who sends what proxies rewrite URLs by gets a page of his own: its links may lead anywhere."""
    kept = cache(clock)
    kept.keep(request(**{name: "evil.example"}), response(b"evil"))
    assert kept.find(request()) is None
    assert kept.find(request(**{name: "shop.example"})) is None
    found = kept.find(request(**{name: "evil.example"}))
    assert found is not None
    assert found.response.body == b"evil"


@pytest.mark.parametrize(
    ("first", "second", "is_found"),
    [
        ("for=192.0.2.1", "for=198.51.100.2", True),
        ("for=192.0.2.1", None, True),
        ('For="[2001:db8::1]:4711", for=10.0.0.1;by=10.0.0.9', "for=unknown", True),
        (
            "for=192.0.2.1;host=shop.example;proto=https",
            "for=198.51.100.2;host=shop.example;proto=https",
            True,
        ),
        ("for=192.0.2.1;host=a.example", "for=192.0.2.1;host=b.example", False),
        ("for=192.0.2.1;proto=https", "for=192.0.2.1;proto=http", False),
        ("for=192.0.2.1, for=192.0.2.2;host=a.example", "for=192.0.2.1, for=192.0.2.2", False),
        ("HOST=a.example", "for=1", False),
        ('for="x;host=a.example"', "for=x", False),
        ("for=1 host=a.example", "for=1", False),
        ("for=1;for=2;host=a.example", "for=1;for=2", False),
        ("host=a.example;=;for", "host=a.example", False),
    ],
)
def test_of_forwarded_all_selects_but_the_way_that_a_request_came(clock, first, second, is_found):
    """RFC 7239 §4: which client and which proxy is no matter; anything else, also if malformed, tells pages apart."""
    kept = cache(clock)
    with_first = request(forwarded=first)
    with_second = request() if second is None else request(forwarded=second)
    kept.keep(with_first, response())
    assert (kept.find(with_second) is not None) is is_found
    kept.clear()
    kept.keep(with_second, response())
    assert (kept.find(with_first) is not None) is is_found


@pytest.mark.parametrize("name", FOR_WHOM)
def test_a_page_for_one_tenant_is_not_anothers(clock, name):
    """A header whose name says for whom an answer is made tells pages apart, though no Vary names it."""
    kept = cache(clock)
    kept.keep(request(**{name: "acme"}), response(b"acme"))
    assert kept.find(request()) is None
    assert kept.find(request(**{name: "other"})) is None
    assert kept.find(request(**{name: "acme"})) is not None


@pytest.mark.parametrize(
    "name", ["user_agent", "sec_fetch_user", "sec_fetch_site", "x_forwarded_for", "accept"]
)
def test_what_any_browser_or_proxy_sends_does_not_tell_pages_apart(clock, name):
    """Else each client would have pages of his own, and eight are kept."""
    kept = cache(clock)
    kept.keep(request(**{name: "one"}), response())
    assert kept.find(request(**{name: "another"})) is not None


def test_headers_that_the_application_reads_select_without_any_vary(clock):
    """What a route declares as its header parameter is as good as a Vary."""
    kept = cache(clock)
    ann = replace(request(x_visitor="ann"), selecting=frozenset({"x-visitor"}))
    kept.keep(ann, response(b"ann's"))
    assert kept.find(ann) is not None
    assert kept.find(replace(request(x_visitor="bob"), selecting=frozenset({"x-visitor"}))) is None
    assert kept.find(request()) is None


def test_the_most_recent_of_several_matches_is_found(clock):
    """RFC 9111 §4: a response that lost its Vary replaces those it stands for."""
    kept = cache(clock)
    kept.keep(request(accept="a"), response(b"old", vary="accept"))
    kept.keep(request(accept="a"), response(b"new"))
    found = kept.find(request(accept="a"))
    assert found is not None
    assert found.response.body == b"new"


def test_a_newer_response_to_the_same_request_takes_the_place_of_the_older(clock):
    """Nothing piles up."""
    kept = cache(clock)
    for accept in ("a", "b", "a", "b", "a", "b"):
        kept.keep(request(accept=accept), response(vary="accept"))
    size = kept.size
    kept.keep(request(accept="a"), response(vary="accept"))
    assert kept.size == size


def test_at_most_eight_variants_are_kept(clock):
    """The oldest goes."""
    kept = cache(clock)
    for number in range(9):
        kept.keep(request(accept=str(number)), response(str(number).encode(), vary="accept"))
    found = [kept.find(request(accept=str(number))) is not None for number in range(9)]
    assert found == [False] + [True] * 8
    assert len(kept) == 1


def test_age_is_measured_by_the_monotonic_clock(clock):
    """RFC 9111 §4.2.3: what it was born with, and the time it was kept."""
    kept = cache(clock)
    kept.keep(request(), response(age="40"))
    found = kept.find(request())
    assert found is not None
    clock.advance(2.9)
    assert kept.age(found) == 42


def test_memory_is_bounded_in_bytes(clock):
    """The least recently used make room."""
    kept = cache(clock, max_bytes=20_000)
    for number in range(100):
        kept.keep(request(path=f"/{number}"), response(b"x" * 1000))
        assert kept.size <= 20_000
    assert kept.find(request(path="/99")) is not None
    assert kept.find(request(path="/0")) is None


def test_variants_are_bounded_in_bytes_together(clock):
    """Eight variants that are too much together are fewer, and one that is too much alone is none."""
    kept = cache(clock, max_bytes=6_000)
    for number in range(8):
        kept.keep(request(accept=str(number)), response(b"x" * 1500, vary="accept"))
    assert kept.size <= 6_000
    assert kept.find(request(accept="7")) is not None
    kept.keep(request(accept="7"), response(b"x" * 6_000, vary="accept"))
    assert kept.find(request(accept="7")) is None


def test_long_keys_are_paid_for(clock):
    """Selecting header values and targets come from clients: they count."""
    kept = cache(clock)
    kept.keep(request(accept="x" * 5_000), response(vary="accept"))
    assert kept.size > 6_000


def test_forgetting_a_target_drops_its_variants(clock):
    """RFC 9111 §4.4."""
    kept = cache(clock)
    kept.keep(request(accept="a"), response(vary="accept"))
    kept.keep(request(accept="b"), response(vary="accept"))
    assert kept.holds("/page")
    kept.forget(request("POST"))
    assert len(kept) == 0
    assert not kept.holds("/page")
    kept.forget(request("POST"))


def test_paths_are_known_as_long_as_anything_is_kept_of_them(clock):
    """Eviction and replacement keep the account."""
    kept = cache(clock, max_bytes=10_000)
    kept.keep(request(), response())
    kept.keep(request(query="a=1"), response())
    kept.keep(request(query="a=1"), response(b"again"))
    kept.forget(request())
    assert kept.holds("/page")
    for number in range(20):
        kept.keep(request(path=f"/{number}"), response(b"x" * 1000))
    assert not kept.holds("/page")


def test_partitions_are_apart(clock):
    """What is kept for one user is found by no other, nor by everybody; eight variants are each one's own."""
    kept = cache(clock)
    ann, bob = (replace(request(), partition=f"str:{name}") for name in ("ann", "bob"))
    kept.keep(ann, response(b"ann's"))
    assert [kept.find(asked) is not None for asked in (ann, bob, request())] == [True, False, False]
    kept.keep(bob, response(b"bob's"))
    kept.drop(ann)
    assert [kept.find(asked) is not None for asked in (ann, bob)] == [False, True]


def test_forgetting_a_target_drops_it_in_all_partitions(clock):
    """RFC 9111 §4.4: whoever changed it, it has changed for everybody. The account is kept."""
    kept = cache(clock)
    for partition in ("", "str:ann", "str:bob"):
        kept.keep(replace(request(), partition=partition), response())
        kept.keep(replace(request(query="a=1"), partition=partition), response())
    kept.forget(request("POST"))
    assert len(kept) == 3
    assert kept.holds("/page")
    kept.forget(request("POST", query="a=1"))
    assert len(kept) == kept.size == 0
    assert not kept.holds("/page")
    assert not kept._shelves.of_target


def test_a_304_renews_what_is_kept(clock):
    """It takes over the newer headers, but those of the content, and is young again: RFC 9111 §4.3.4, §3.2."""
    kept = cache(clock)
    first = response(
        b"good", etag='"1"', date=DATE, content_type="text/plain", cache_control="max-age=5", x="old"
    )
    kept.keep(request(), first)
    clock.advance(100)
    kept.refresh(
        request(), response(b"", 304, etag='"1"', cache_control="max-age=9", content_length="0", x="new")
    )
    found = kept.find(request())
    assert found is not None
    assert found.response.body == b"good"
    assert found.response.status == 200
    assert dict(found.response.headers) == {
        "content-type": "text/plain",
        "etag": '"1"',
        "cache-control": "max-age=9",
        "x": "new",
    }
    assert (kept.age(found), found.lifetime) == (0, 9)


@pytest.mark.parametrize(
    ("earlier", "later", "is_renewed"),
    [
        ({"etag": '"1"'}, {"etag": '"1"'}, True),
        ({"etag": 'W/"1"'}, {"etag": 'W/"1"'}, True),
        ({"etag": '"1"'}, {"etag": '"2"'}, False),
        ({"etag": '"1"'}, {"etag": 'W/"1"'}, False),
        ({"last_modified": DATE}, {"last_modified": DATE}, True),
        ({"last_modified": DATE}, {"etag": '"1"', "last_modified": DATE}, False),
        ({"etag": '"1"'}, {}, False),
        ({}, {}, False),
    ],
)
def test_a_304_about_something_else_renews_nothing(clock, earlier, later, is_renewed):
    """The validators tell: the client may have another version of the page than the cache."""
    kept = cache(clock)
    kept.keep(request(), response(**earlier))
    clock.advance(100)
    kept.refresh(request(), response(b"", 304, **later))
    kept.refresh(request(path="/other"), response(b"", 304, **later))
    found = kept.find(request())
    assert found is not None
    assert kept.age(found) == (0 if is_renewed else 100)
    assert len(kept) == 1


def test_no_header_that_may_select_is_passed_over_as_a_common_one():
    """A stale answer looks at no more than it must."""
    assert [name for name in keeping._COMMON if keeping._may_select(name)] == []
