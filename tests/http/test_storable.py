"""What may be kept: one row per rule, named after its section of the standards."""

from __future__ import annotations

from dataclasses import replace

import pytest

from http_tools import request, response
from recloser.http.keeping import Keeping
from recloser.http.storable import kept_headers, obstacle, outdates

PLAIN = request()
GOOD = response()

FORBIDDEN = [
    ("RFC 9111 §3", request("POST"), GOOD),
    ("RFC 9111 §3", request("HEAD"), GOOD),
    ("RFC 9111 §3", PLAIN, response(status=404)),
    ("RFC 9111 §3", PLAIN, response(status=206)),
    ("RFC 9111 §3", PLAIN, response(status=500)),
    ("RFC 9110 §9.3.1", request(content_length="12"), GOOD),
    ("RFC 9110 §9.3.1", request(transfer_encoding="chunked"), GOOD),
    ("RFC 9111 §3.5", request(authorization="Bearer x"), GOOD),
    ("RFC 9111 §3.5", request(authorization="Bearer x"), response(cache_control="public, max-age=60")),
    ("RFC 9111 §3.5", request(proxy_authorization="Basic x"), GOOD),
    ("personal", request(cookie="session=1"), GOOD),
    ("personal", replace(PLAIN, personal=True), GOOD),
    ("personal", replace(PLAIN, credential=True), GOOD),
    ("personal", replace(PLAIN, once=True), GOOD),
    ("personal", request(x_api_key="x"), GOOD),
    ("personal", request(x_forwarded_user="ann"), GOOD),
    ("personal", request(x_csrftoken="x"), GOOD),
    ("RFC 9111 §5.2.1.5", request(cache_control="no-store"), GOOD),
    ("RFC 9110 §4.2", replace(PLAIN, scheme="ws"), GOOD),
    ("RFC 9110 §7.2", replace(PLAIN, host=""), GOOD),
    ("RFC 9110 §7.2", replace(PLAIN, host="shop.example/evil"), GOOD),
    ("RFC 9110 §7.2", replace(PLAIN, host="a,b"), GOOD),
    ("RFC 9110 §4.1", request(query="q" * 3000), GOOD),
    ("RFC 9111 §5.2.2.5", PLAIN, response(cache_control="max-age=60, no-store")),
    ("RFC 9111 §5.2.2.4", PLAIN, response(cache_control="no-cache")),
    ("RFC 9111 §5.2.2.4", PLAIN, response(cache_control='no-cache="set-cookie"')),
    ("RFC 9111 §5.2.2.7", PLAIN, response(cache_control="private")),
    ("RFC 9111 §5.2.2.7", PLAIN, response(cache_control='private="x-user"')),
    ("RFC 9111 §7.3", PLAIN, response(set_cookie="session=1")),
    ("RFC 9111 §4.1", PLAIN, response(vary="*")),
    ("RFC 9111 §4.1", PLAIN, response(vary="accept, *")),
    ("RFC 9111 §3.3", PLAIN, response(content_range="bytes 0-3/10")),
    ("HTML §9.2", PLAIN, response(content_type="text/event-stream; charset=utf-8")),
    ("CSP Level 3 §2.3.1", PLAIN, response(content_security_policy="script-src 'nonce-r4nd0m'")),
    ("CSP Level 3 §2.3.1", PLAIN, response(content_security_policy_report_only="script-src 'nonce-r4nd0m'")),
]

ALLOWED = [
    ("RFC 9111 §3: a plain GET and 200", PLAIN, GOOD),
    ("RFC 9111 §4.2.1: an explicit lifetime", PLAIN, response(cache_control="public, max-age=60")),
    ("RFC 9111 §4.2.4: fresh until it must be validated", PLAIN, response(cache_control="must-revalidate")),
    ("RFC 9111 §4.1: a Vary that can be matched", PLAIN, response(vary="accept-language")),
    ("RFC 9110 §9.3.1: no content", request(content_length="0"), GOOD),
    ("RFC 9111 §5.2.1.4: a reload", request(cache_control="no-cache"), GOOD),
    ("RFC 9110 §14.2: a whole answer to a range", request(range="bytes=0-3"), GOOD),
    ("RFC 9110 §7.2: a port", replace(PLAIN, host="shop.example:8443"), GOOD),
    ("RFC 9110 §7.2: an IPv6 address", replace(PLAIN, host="[::1]:8443"), GOOD),
    (
        "RFC 6265 §5.3: a cookie policy without a cookie",
        PLAIN,
        response(content_security_policy="default-src 'self'"),
    ),
]


@pytest.mark.parametrize(("section", "asked", "answered"), FORBIDDEN)
def test_what_a_rule_forbids_is_not_kept(section, asked, answered):
    """The obstacle names the section that it comes from."""
    found = obstacle(asked, answered)
    assert found is not None
    assert found.section == section


@pytest.mark.parametrize(("section", "asked", "answered"), ALLOWED)
def test_what_no_rule_forbids_is_kept(section, asked, answered):
    """Nothing more is refused than the rules say."""
    assert obstacle(asked, answered) is None


OF_ANN = Keeping(per=lambda request: "ann")
SHARED = Keeping(shared=True)


@pytest.mark.parametrize(
    ("asked", "answered", "is_hers", "is_shared"),
    [
        (request(cookie="session=1"), GOOD, True, True),
        (request(authorization="Bearer x"), GOOD, True, True),
        (request(x_forwarded_user="ann"), GOOD, True, True),
        (replace(PLAIN, credential=True), GOOD, True, True),
        (replace(PLAIN, personal=True), GOOD, True, False),
        (PLAIN, response(cache_control="private"), True, False),
        (replace(PLAIN, once=True), GOOD, False, False),
        (PLAIN, response(cache_control="private, no-store"), False, False),
        (PLAIN, response(cache_control="no-cache"), False, False),
        (PLAIN, response(set_cookie="a=b"), False, False),
        (PLAIN, response(vary="*"), False, False),
        (PLAIN, response(content_security_policy="script-src 'nonce-r4nd0m'"), False, False),
        (PLAIN, response(status=404), False, False),
        (request("POST"), GOOD, False, False),
        (request(cache_control="no-store"), GOOD, False, False),
    ],
)
def test_what_a_partition_and_an_authors_word_lift(asked, answered, is_hers, is_shared):
    """All of it is forbidden to a public cache (RFC 9111 §3.5, §5.2.2.7); each lifts what it speaks of, and no more."""
    assert obstacle(asked, answered) is not None
    assert (obstacle(asked, answered, OF_ANN) is None) is is_hers
    assert (obstacle(asked, answered, SHARED) is None) is is_shared


def test_credentials_outdate_their_own_partition_only():
    """Whoever has lost access loses her page; nobody can drop a shared one by wrong credentials."""
    asked, denied = request(authorization="Bearer wrong"), response(status=401)
    assert outdates(asked, denied, OF_ANN)
    assert not outdates(asked, denied, SHARED)


@pytest.mark.parametrize(
    ("asked", "answered", "expected"),
    [
        (PLAIN, response(cache_control="no-store"), True),
        (PLAIN, response(set_cookie="a=b"), True),
        (PLAIN, response(status=404), True),
        (PLAIN, response(status=410), True),
        (PLAIN, response(status=401), True),
        (PLAIN, response(status=302), True),
        (PLAIN, response(status=304), False),
        (PLAIN, response(status=429), False),
        (PLAIN, response(status=500), False),
        (PLAIN, response(status=503), False),
        (request(cookie="a=b"), response(status=401), False),
        (request(authorization="Basic wrong"), response(status=401), False),
    ],
)
def test_an_answer_that_changes_the_resource_outdates_what_was_kept(asked, answered, expected):
    """Public answers only: nobody can drop an entry by wrong credentials. Errors of the server say nothing."""
    assert outdates(asked, answered) is expected


def test_headers_of_one_receiver_are_not_kept():
    """Hop-by-hop fields (RFC 9111 §3.1), and what speaks of one request, its sender or its moment."""
    headers = (
        ("content-type", "text/html"),
        ("date", "Tue, 14 Nov 2023 22:13:20 GMT"),
        ("etag", '"a"'),
        ("link", "</a>"),
        ("link", "</b>"),
        ("connection", "close, x-hop"),
        ("x-hop", "1"),
        ("keep-alive", "timeout=5"),
        ("transfer-encoding", "chunked"),
        ("set-cookie", "a=b"),
        ("access-control-allow-origin", "https://a.example"),
        ("x-request-id", "1"),
        ("traceparent", "00-1"),
        ("server-timing", "db;dur=5"),
        ("x-ratelimit-remaining", "3"),
        ("ratelimit", "limit=3"),
        ("age", "5"),
        ("content-length", "4"),
    )
    assert [name for name, _ in kept_headers(headers)] == ["content-type", "date", "etag", "link", "link"]


def test_a_plan_may_name_other_statuses():
    """Those that may be kept without an explicit lifetime, where a plan wants them (RFC 9110 §15.1)."""
    keeping = Keeping(statuses=frozenset({200, 404}))

    assert obstacle(PLAIN, response(status=404), keeping) is None
    assert obstacle(PLAIN, GOOD, keeping) is None
    assert (
        obstacle(PLAIN, response(status=404, cache_control="no-store"), keeping).section
        == "RFC 9111 §5.2.2.5"
    )
    assert obstacle(PLAIN, response(status=410), keeping).section == "RFC 9111 §3"
