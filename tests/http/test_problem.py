"""The plain 503: a problem document or a page, when to come back, and how much it tells."""

from __future__ import annotations

import json

import pytest

from http_tools import refusal, request
from recloser import BulkheadFullError
from recloser.core.errors import Refusal
from recloser.http import problem
from recloser.http.failure import CallFailedError

BROWSER = request(accept="text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")


def test_a_program_gets_a_problem_document():
    """RFC 9457 §3."""
    answer = problem.unavailable(request(), refusal(), wait=12, expose=False)
    assert answer.status == 503
    assert answer.header("content-type") == "application/problem+json"
    assert answer.header("retry-after") == "12"
    assert answer.header("content-length") == str(len(answer.body))
    assert json.loads(answer.body) == {
        "type": "about:blank",
        "title": "Service Unavailable",
        "status": 503,
        "detail": "A service that this answer depends on is not available. Please try again in 12 seconds.",
    }


def test_a_browser_gets_a_page():
    """RFC 9110 §12.5.1: it prefers HTML."""
    answer = problem.unavailable(BROWSER, refusal(), wait=1, expose=False)
    assert answer.header("content-type") == "text/html; charset=utf-8"
    assert b"try again in 1 second." in answer.body
    assert b"inventory" not in answer.body


def test_exposing_names_the_breaker_and_its_last_failure():
    """RFC 9457 §3.2: as extension members."""
    error = refusal(last_failure="ConnectError: db.internal refused")
    told = json.loads(problem.unavailable(request(), error, wait=12, expose=True).body)
    assert told["breaker"] == "inventory"
    assert told["state"] == told["reason"] == "open"
    assert told["last_failure"] == "ConnectError: db.internal refused"


@pytest.mark.parametrize(
    ("failure", "last"),
    [
        (CallFailedError("inventory", error=OSError("db.internal refused")), "OSError: db.internal refused"),
        (CallFailedError("inventory", status=502), "status 502"),
    ],
)
def test_a_failure_is_told_like_a_refusal(failure, last):
    """Its breaker and what happened, exposed only; there is no state to name."""
    told = json.loads(problem.unavailable(request(), failure, wait=1, expose=True).body)
    assert (told["breaker"], told["last_failure"]) == ("inventory", last)
    assert "state" not in told
    plain = problem.unavailable(request(), failure, wait=1, expose=False)
    assert b"inventory" not in plain.body
    assert str(failure) == f"breaker 'inventory' counted a failure: {last}"


@pytest.mark.parametrize("asked", [request(), BROWSER])
def test_nothing_is_told_otherwise(asked):
    """Neither names nor errors reach the public."""
    answer = problem.unavailable(asked, refusal(last_failure="db.internal refused"), wait=12, expose=False)
    assert b"inventory" not in answer.body
    assert b"db.internal" not in answer.body


def test_the_page_escapes_what_it_tells():
    """An error's text is no markup."""
    answer = problem.unavailable(
        BROWSER, refusal(last_failure="<script>alert(1)</script>"), wait=1, expose=True
    )
    assert b"<script>" not in answer.body
    assert b"&lt;script&gt;" in answer.body


@pytest.mark.parametrize(
    ("wait", "chance", "expected"),
    [
        (0.0, 0.0, 1),
        (0.0, 0.99, 1),
        (0.2, 0.99, 2),
        (12.0, 0.0, 12),
        (12.0, 0.5, 14),
        (12.0, 0.99, 15),
        (600.5, 0.0, 601),
    ],
)
def test_retry_after_is_whole_at_least_one_and_spread(wait, chance, expected):
    """RFC 9110 §10.2.3; never sooner than the circuit, and up to a quarter later."""
    assert problem.retry_after(refusal(retry_after=wait), lambda: chance) == expected


def test_the_reason_is_a_token():
    """RFC 9211 §2.7."""
    assert problem.detail_token(refusal()) == "circuit-open"
    assert problem.detail_token(BulkheadFullError(Refusal("inventory"))) == "bulkhead-full"
    assert problem.detail_token(CallFailedError("inventory")) == "call-failed"
