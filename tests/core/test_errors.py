"""The exceptions: what a refused caller can read off, and how it reads in a log."""

from __future__ import annotations

import copy
import math
import pickle

import pytest

from core.acting import Boom, Clock, fail, refused
from core.conftest import Build
from recloser import (
    BulkheadFullError,
    CallRejectedError,
    CircuitBreaker,
    CircuitOpenError,
    ConfigurationError,
    FailedResultError,
    Problem,
    RecloserError,
    Rejection,
    Rule,
    State,
)


def test_a_refusal_reads_well_in_a_log(build: Build, clock: Clock):
    """It says which breaker, why, since when, what failed last, and when to try again."""
    breaker = build(failure_threshold=3)
    fail(breaker, 3, ConnectionError("connection reset by 10.0.0.7"))
    clock.advance(2.5)
    error = refused(breaker)
    text = (
        "circuit 'shop' is open for 2.5 s (3 consecutive failures >= 3); "
        "last failure: ConnectionError: connection reset by 10.0.0.7; retry in 7.5 s"
    )
    assert str(error) == text
    assert repr(error) == f"CircuitOpenError({text!r})"


def test_a_refusal_without_a_known_failure_leaves_it_out(build: Build):
    """A forced open circuit names its operator, and no failure that never was."""
    breaker = build()
    breaker.force_open(by="ann", reason="migration")
    assert str(refused(breaker)) == (
        "circuit 'shop' is open for 0.0 s (mode by ann: migration); retry in 10.0 s"
    )


def test_promise_6_a_refusal_carries_its_facts(build: Build, clock: Clock):
    """Every attribute that a handler may ask for is there, and `retry_after` is always a number."""
    breaker = build(failure_threshold=2)
    fail(breaker, 2, Boom("down"))
    clock.advance(4)
    error = refused(breaker)
    assert isinstance(error, CircuitOpenError)
    assert (error.breaker, error.state, error.reason) == ("shop", State.OPEN, Rejection.OPEN)
    assert error.cause is not None
    assert (error.cause.rule, error.cause.number, error.cause.threshold) == (Rule.CONSECUTIVE_FAILURES, 2, 2)
    assert (error.retry_after, error.elapsed, error.last_failure) == (6, 4, "Boom: down")


def test_c10_retry_after_counts_down_and_stays_at_least_zero(build: Build, clock: Clock):
    """The remaining time is read when it is asked for, not when the call was refused."""
    breaker = build()
    fail(breaker)
    error = refused(breaker)
    assert error.retry_after == 10
    clock.advance(3)
    assert (error.retry_after, error.elapsed) == (7, 0)
    clock.advance(300)
    assert error.retry_after == 0


@pytest.mark.parametrize("duplicate", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy, copy.deepcopy])
def test_promise_6_c10_a_pickled_refusal_is_frozen(build: Build, clock: Clock, duplicate):
    """Another process has another clock: the copy keeps the remaining time of the moment it was made."""
    breaker = build()
    fail(breaker, error=Boom("down"))
    clock.advance(4)
    error = refused(breaker)
    clock.advance(1)
    text = str(error)
    twin = duplicate(error)
    clock.advance(100)
    assert type(twin) is CircuitOpenError
    assert str(twin) == text
    assert (twin.breaker, twin.state, twin.reason, twin.cause) == (
        "shop",
        State.OPEN,
        Rejection.OPEN,
        error.cause,
    )
    assert (twin.retry_after, twin.elapsed, twin.last_failure) == (5, 4, "Boom: down")
    assert str(duplicate(twin)) == text


def test_a_full_bulkhead_has_an_error_of_its_own(build: Build):
    """A caller can tell a full bulkhead from an open circuit, and both from everything else."""
    breaker = build(max_concurrent_calls=1)
    permit = breaker.acquire()
    error = refused(breaker)
    assert isinstance(error, BulkheadFullError)
    assert not isinstance(error, CircuitOpenError)
    assert (error.reason, error.state, error.retry_after) == (Rejection.BULKHEAD, State.CLOSED, 1)
    assert str(error) == "breaker 'shop' has max_concurrent_calls in flight; retry in 1.0 s"
    assert pickle.loads(pickle.dumps(error)).retry_after == 1
    permit.ignore()


def test_the_family_has_one_base():
    """`except RecloserError` catches them all, `except CallRejectedError` what was refused."""
    assert issubclass(CircuitOpenError, CallRejectedError)
    assert issubclass(BulkheadFullError, CallRejectedError)
    for error in (CallRejectedError, ConfigurationError, FailedResultError):
        assert issubclass(error, RecloserError)
    assert issubclass(ConfigurationError, ValueError)


def test_promise_6_each_rejection_is_a_fresh_exception(build: Build):
    """No instance is shared, so notes and tracebacks of one caller never reach another."""
    breaker = build()
    fail(breaker)
    first, second = refused(breaker), refused(breaker)
    first.add_note("mine")
    assert first is not second
    assert not hasattr(second, "__notes__")
    assert first.__traceback__ is not second.__traceback__


def test_the_text_of_a_failure_is_one_bounded_line_without_credentials(build: Build):
    """Line breaks, control characters, passwords in URLs and endless bodies do not reach a log through it."""
    breaker = build(failure_threshold=9)
    fail(breaker, error=Boom("GET redis://user:pa/ss@db:6379/0\n failed\x1b[31m"))
    assert breaker.snapshot().last_failure == "Boom: GET redis://user:pa/ss@db:6379/0 failed\ufffd[31m"
    fail(breaker, error=Boom("GET redis://user:pass@db:6379/0\n\tfailed"))
    assert breaker.snapshot().last_failure == "Boom: GET redis://***@db:6379/0 failed"
    fail(breaker, error=Boom("x" * 10_000_000))
    assert breaker.snapshot().last_failure == "Boom: " + "x" * 199 + "…"
    fail(breaker, error=Boom())
    assert breaker.snapshot().last_failure == "Boom"


class Mute(Exception):
    def __str__(self) -> str:
        raise Boom


class Trap(str):
    __slots__ = ()

    def __getitem__(self, key: object) -> str:
        raise Boom

    split = __contains__ = isprintable = __iter__ = __len__ = __format__ = __getitem__


class Trapped(Exception):
    def __str__(self) -> str:
        return Trap("hello")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "503 for url 'https://api.example/charge?token=secret&to=ann'",
            "503 for url 'https://api.example/charge?***'",
        ),
        (
            "Max retries exceeded with url: /?key=secret (Caused by ...)",
            "Max retries exceeded with url: /?*** (Caused by ...)",
        ),
        ("host https://api.example?secret", "host https://api.example?***"),
        ("who? me? /no", "who? me? /no"),
    ],
)
def test_the_text_of_a_failure_shows_no_query(build: Build, text: str, shown: str):
    """Clients name the whole URL in their errors, and its query may hold a token."""
    breaker = build(failure_threshold=9)
    fail(breaker, error=Boom(text))
    assert breaker.snapshot().last_failure == f"Boom: {shown}"


@pytest.mark.parametrize("error", [Mute(), Trapped()], ids=["raises", "returns a trap"])
def test_a_broken_str_harms_nobody(build: Build, error: Exception):
    """An exception that cannot be shown is a failure as any other, and reaches the caller unchanged."""
    breaker = build()

    @breaker
    def fetch() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        fetch()
    assert caught.value is error
    assert breaker.state is State.OPEN
    assert breaker.snapshot().last_failure.startswith(type(error).__name__)


def test_wrong_declarations_are_listed_together():
    """Each problem says where, what was found and how to mend it; one alone needs no list."""
    problems = [Problem("a.b", "'x'", "must be a number"), Problem("c", "0", "must be positive")]
    assert str(ConfigurationError(problems[:1])) == "a.b must be a number, got 'x'"
    error = ConfigurationError(problems)
    assert str(error) == "2 problems:\n- a.b must be a number, got 'x'\n- c must be positive, got 0"
    assert error.problems == tuple(problems)
    twin = pickle.loads(pickle.dumps(error))
    assert twin.problems == error.problems


def test_retry_after_is_finite_for_every_reason(build: Build, clock: Clock):
    """Whatever a breaker refuses for, the number can go into a header."""
    breaker = build(probe_timeout=1e300, recovery_timeout_max=1e300, recovery_timeout=1e300)
    fail(breaker)
    assert math.isfinite(refused(breaker).retry_after)
    clock.advance(1e300)
    probe = breaker.acquire()
    assert math.isfinite(refused(breaker).retry_after)
    probe.ignore()
    breaker.force_open(by="ann", reason="drill")
    assert math.isfinite(refused(breaker).retry_after)


@pytest.mark.parametrize("duplicate", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_breaker_that_cannot_be_copied_says_what_to_do(duplicate):
    """Also as an argument of another process."""
    with pytest.raises(TypeError, match=r"breaker 'payments' cannot be pickled or copied: .* send its name"):
        duplicate(CircuitBreaker("payments"))
