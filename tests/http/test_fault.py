"""Whose fault: the rows of the list, for answers and for exceptions."""

from __future__ import annotations

import asyncio

import pytest

from http_tools import refusal
from recloser import CircuitBreaker, Policy
from recloser.core.outcome import Judge
from recloser.http.fault import Faults, of_status


class Missing(Exception):
    status_code = 404


class Limited(Exception):
    status_code = 429


class Down(Exception):
    status_code = 503


class Moved(Exception):
    status_code = 307


class Invalid(Exception):
    pass


class Gone(Exception):
    pass


FAULTS = Faults(ignored=(Invalid, Gone), answering=(Missing, Limited, Down, Moved), masking=(Gone,))


def caused(error: BaseException) -> RuntimeError:
    late = RuntimeError(f"Caught handled exception, but response already started. ({error!r})")
    late.__cause__ = error
    return late


def in_place_of(error: BaseException) -> Gone:
    gone = Gone(f"instead of {error!r}")
    gone.__context__ = error
    return gone


def outcome_of(error: BaseException, **policy) -> str:
    breaker = CircuitBreaker("inventory", **policy)
    FAULTS.settle(breaker.acquire(), error)
    seen = breaker.snapshot()
    settled = {(1, 1): "failure", (1, 0): "success", (0, 0): "ignored"}[seen.calls, seen.failures]
    assert FAULTS.of_error(Judge("inventory", Policy(**policy)), error) == settled  # judged alike unsettled
    return settled


@pytest.mark.parametrize(
    ("status", "expected"),
    [(200, "success"), (204, "success"), (304, "success"), (400, "ignored"), (401, "ignored"), (404, "ignored"),
     (422, "ignored"), (429, "failure"), (499, "ignored"), (500, "failure"), (503, "failure"), (599, "failure")],
)  # fmt: skip
def test_a_status_tells(status, expected):
    """RFC 9110 §15: server errors and 429 (RFC 6585 §4) are failures, other client errors are ignored."""
    assert of_status(status) == expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ConnectionError("refused"), "failure"),
        (TimeoutError(), "failure"),
        (Down(), "failure"),
        (Limited(), "failure"),
        (Missing(), "ignored"),
        (Moved(), "success"),
        (Invalid(), "ignored"),
        (refusal("payments"), "ignored"),
        (refusal("inventory"), "ignored"),
        (asyncio.CancelledError(), "ignored"),
        (KeyboardInterrupt(), "ignored"),
        (ExceptionGroup("", [Missing(), refusal()]), "ignored"),
        (ExceptionGroup("", [Missing(), Down()]), "failure"),
        (ExceptionGroup("", [Missing(), ExceptionGroup("", [ConnectionError()])]), "failure"),
        (ExceptionGroup("", [Down(), ConnectionError()]), "failure"),
        (BaseExceptionGroup("", [asyncio.CancelledError(), Missing()]), "ignored"),
        (caused(Missing()), "ignored"),
        (caused(refusal()), "ignored"),
        (caused(Down()), "failure"),
        (caused(ConnectionError()), "failure"),
        (RuntimeError("a bug"), "failure"),
        (Gone(), "ignored"),
        (in_place_of(ConnectionError()), "failure"),
        (in_place_of(KeyError()), "ignored"),
    ],
    ids=repr,
)
def test_an_exception_tells(error, expected):
    """What is to be ignored is taken out of groups first; Starlette's late error is what caused it."""
    assert outcome_of(error) == expected


@pytest.mark.parametrize(
    ("error", "policy", "expected"),
    [
        (Down(), {"failure_on": ConnectionError}, "failure"),
        (Down(), {"ignore": Down}, "ignored"),
        (ValueError(), {"failure_on": ConnectionError}, "success"),
        (ValueError(), {"ignore": ValueError}, "ignored"),
    ],
    ids=repr,
)
def test_the_policy_is_heard(error, policy, expected):
    """A status speaks for itself, unless the policy ignores its exception."""
    assert outcome_of(error, **policy) == expected
