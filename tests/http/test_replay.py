"""A kept response served again: whole or as a 304, marked as RFC 9111 and RFC 9211 say."""

from __future__ import annotations

import pytest

from http_tools import Clock, cache, request, response
from recloser.http.replay import may_replay, replay


def served(kept_headers, age=112, max_stale=600.0, **headers):
    """Keep a response, and serve it again so many seconds later."""
    clock = Clock()
    store = cache(clock)
    store.keep(request(), response(b"good", **kept_headers))
    clock.advance(age)
    found = store.find(request())
    assert found is not None
    return replay(request(**headers), found, age=store.age(found), max_stale=max_stale, detail="circuit-open")


def test_a_stale_answer_says_what_it_is():
    """RFC 9111 §5.1: Age; RFC 9211 §2: hit, negative ttl, detail; its own Date and headers stay."""
    date = "Tue, 14 Nov 2023 22:13:20 GMT"
    again = served({"content_type": "text/plain", "date": date, "content_length": "4"})
    assert again is not None
    assert again.status == 200
    assert again.body == b"good"
    assert dict(again.headers) == {
        "content-type": "text/plain",
        "date": date,
        "age": "112",
        "cache-status": "recloser; hit; ttl=-112; detail=circuit-open",
        "content-length": "4",
    }


def test_a_fresh_answer_has_time_to_live():
    """RFC 9211 §2.4."""
    again = served({"cache_control": "max-age=200"})
    assert again is not None
    assert again.header("cache-status") == "recloser; hit; ttl=88; detail=circuit-open"


def test_cache_status_is_appended_to_an_existing_one():
    """RFC 9211 §2: one list, from the origin's side to the client's."""
    again = served({"cache_status": "Origin; fwd=miss"})
    assert again is not None
    assert again.header("cache-status") == "Origin; fwd=miss, recloser; hit; ttl=-112; detail=circuit-open"


@pytest.mark.parametrize(
    ("section", "kept", "age", "headers", "is_served"),
    [
        ("plan: within its seconds", {}, 600, {}, True),
        ("plan: past its seconds", {}, 601, {}, False),
        ("plan: counted from the end of freshness", {"cache_control": "max-age=60"}, 660, {}, True),
        ("plan: counted from the end of freshness", {"cache_control": "max-age=60"}, 661, {}, False),
        ("RFC 9111 §4.2.4", {"cache_control": "max-age=60, must-revalidate"}, 59, {}, True),
        ("RFC 9111 §4.2", {"cache_control": "max-age=60, must-revalidate"}, 60, {}, False),
        ("RFC 9111 §5.2.2.2", {"cache_control": "max-age=0, must-revalidate"}, 0, {}, False),
        ("RFC 9111 §5.2.2.2", {"cache_control": "must-revalidate"}, 0, {}, False),
        ("RFC 9111 §5.2.2.10", {"cache_control": "s-maxage=60"}, 60, {}, False),
        ("RFC 5861 §4", {"cache_control": "stale-if-error=0"}, 0, {}, False),
        ("RFC 5861 §4", {"cache_control": "stale-if-error=30"}, 30, {}, True),
        ("RFC 5861 §4", {"cache_control": "stale-if-error=30"}, 31, {}, False),
        ("RFC 5861 §4", {}, 31, {"cache_control": "stale-if-error=30"}, False),
        ("RFC 5861 §4", {"cache_control": "stale-if-error=3600"}, 601, {}, False),
    ],
)
def test_staleness_has_its_bounds(section, kept, age, headers, is_served):
    """The plan's, the response's and the request's: the tightest holds."""
    assert (served(kept, age=age, **headers) is not None) is is_served


@pytest.mark.parametrize(
    ("section", "kept", "headers", "status"),
    [
        ("RFC 9110 §13.1.2", {"etag": '"a"'}, {"if_none_match": '"a"'}, 304),
        ("RFC 9110 §13.1.2: weak comparison", {"etag": 'W/"a"'}, {"if_none_match": '"b", "a"'}, 304),
        ("RFC 9110 §13.1.2", {"etag": '"a"'}, {"if_none_match": "*"}, 304),
        ("RFC 9110 §13.1.2", {"etag": '"a"'}, {"if_none_match": '"b"'}, 200),
        ("RFC 9110 §13.1.2: no validator", {}, {"if_none_match": '"b"'}, 200),
        (
            "RFC 9110 §13.1.3",
            {"last_modified": "Tue, 14 Nov 2023 22:13:20 GMT"},
            {"if_modified_since": "Tue, 14 Nov 2023 22:13:20 GMT"},
            304,
        ),
        (
            "RFC 9110 §13.1.3",
            {"last_modified": "Tue, 14 Nov 2023 22:13:21 GMT"},
            {"if_modified_since": "Tue, 14 Nov 2023 22:13:20 GMT"},
            200,
        ),
        (
            "RFC 9110 §13.1.3: If-None-Match wins",
            {"etag": '"a"', "last_modified": "Tue, 14 Nov 2023 22:13:20 GMT"},
            {"if_none_match": '"b"', "if_modified_since": "Tue, 14 Nov 2023 22:13:20 GMT"},
            200,
        ),
        (
            "RFC 9110 §13.1.3: no date",
            {"last_modified": "Tue, 14 Nov 2023 22:13:20 GMT"},
            {"if_modified_since": "yesterday"},
            200,
        ),
    ],
)
def test_a_client_that_has_it_already_gets_304(section, kept, headers, status):
    """RFC 9111 §4.3.2: from the kept validator."""
    again = served(kept, **headers)
    assert again is not None
    assert again.status == status
    assert (again.body == b"") is (status == 304)


def test_a_304_repeats_what_it_must():
    """RFC 9110 §15.4.5, with Age and Cache-Status; Last-Modified only without an ETag."""
    kept = {
        "etag": '"a"',
        "content_type": "text/plain",
        "cache_control": "max-age=5",
        "vary": "accept",
        "last_modified": "Tue, 14 Nov 2023 22:13:20 GMT",
    }
    again = served(kept, if_none_match='"a"')
    assert again is not None
    assert [name for name, _ in again.headers] == ["etag", "cache-control", "vary", "age", "cache-status"]
    del kept["etag"]
    again = served(kept, if_modified_since="Tue, 14 Nov 2023 22:13:20 GMT")
    assert again is not None
    assert again.header("last-modified") is not None


@pytest.mark.parametrize(
    ("section", "asked", "expected"),
    [
        ("RFC 9110 §9.3.1", request(), True),
        ("RFC 9110 §9.3.2", request("HEAD"), True),
        ("RFC 9110 §9.3.3", request("POST"), False),
        ("RFC 9110 §14.2", request(range="bytes=0-3"), False),
        ("RFC 9111 §4.3.2", request(if_match='"a"'), False),
        ("RFC 9111 §4.3.2", request(if_unmodified_since="Tue, 14 Nov 2023 22:13:20 GMT"), False),
    ],
)
def test_some_requests_are_not_a_caches_business(section, asked, expected):
    """They go to the plan's next strategy."""
    assert may_replay(asked) is expected
