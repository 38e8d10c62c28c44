"""Logs: a record per transition and per operator's action, few for refusals, and none that a text could forge."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from core.acting import fail, refused, succeed
from core.forking import in_child
from http_tools import TUESDAY, Clock
from recloser import CircuitBreaker, Registry
from recloser.core.events import Rejection
from recloser.metrics import logging as recloser_logging
from recloser.metrics.logging import LONGEST, EventLog, log_events, one_line
from recloser.testing import isolated

Make = Callable[..., Registry]


class Kept(logging.Handler):
    """Keeps records."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def told(caplog) -> Iterator[list[logging.LogRecord]]:
    logger, kept = logging.getLogger("recloser.events"), Kept()
    logger.addHandler(kept)
    with caplog.at_level(logging.INFO, "recloser.events"):
        yield kept.records
    logger.removeHandler(kept)


def lines(records: list[logging.LogRecord]) -> list[str]:
    return [record.getMessage() for record in records]


def fields(record: logging.LogRecord) -> dict[str, object]:
    """What the record holds beside what every record holds."""
    usual = {*vars(logging.makeLogRecord({})), "message", "asctime"}
    return {key: own for key, own in vars(record).items() if key not in usual}


def test_each_transition_is_one_record(make: Make, told, clock: Clock):
    """Opening warns, with rule, last failure and next probe; recovering informs."""
    registry = make(stock={})
    log_events(registry)
    fail(registry["stock"], error=TimeoutError("timed out"))
    clock.advance(10)
    succeed(registry["stock"])

    opened, probing, closed = lines(told)
    assert opened == (
        "circuit 'stock' is open, was closed: 1 consecutive failure >= 1; last failure: TimeoutError: timed out; "
        "next probe in 10.0 s"
    )
    assert probing == "circuit 'stock' is half-open, was open: recovery due"
    assert closed == "circuit 'stock' is closed, was half-open: 1 successful probe >= 1"
    assert [record.levelname for record in told] == ["WARNING", "INFO", "INFO"]
    assert fields(told[0]) == {
        "breaker": "stock",
        "change": "state",
        "old_state": "closed",
        "new_state": "open",
        "rule": "consecutive_failures",
        "cause": "1 consecutive failure >= 1",
        "last_failure": "TimeoutError: timed out",
        "retry_after": 10.0,
    }


def test_each_action_of_an_operator_is_one_record(make: Make, told):
    """Who, why and until when: a reset, a mode, and its end."""
    registry = make(stock={})
    log_events(registry)
    registry["stock"].shadow(by="ann", reason="trial", until=TUESDAY + 3600)
    registry["stock"].auto(by="bob", reason="done")
    registry["stock"].reset(by="ann", reason="deployed")

    assert lines(told) == [
        "circuit 'stock' is set to shadow, was auto, by ann: trial (until 2023-11-14T23:13:20+00:00)",
        "circuit 'stock' is set to auto, was shadow, by bob: done",
        "circuit 'stock' is closed, was closed: reset by ann: deployed",
    ]
    assert fields(told[0]) == {
        "breaker": "stock",
        "change": "mode",
        "old_mode": "auto",
        "new_mode": "shadow",
        "by": "ann",
        "why": "trial",
        "until": "2023-11-14T23:13:20+00:00",
    }
    assert (fields(told[2])["change"], fields(told[2])["by"]) == ("reset", "ann")


def test_forcing_a_circuit_open_tells_the_action_and_the_transition(make: Make, told):
    """The mode and the state are two facts, and what comes of an operator names him."""
    registry = make(stock={})
    log_events(registry)
    registry["stock"].force_open(by="ann", reason="migration")

    assert lines(told) == [
        "circuit 'stock' is set to forced_open, was auto, by ann: migration",
        "circuit 'stock' is open, was closed: mode by ann: migration",
    ]


def test_refusals_are_summed_up(make: Make, told, clock: Clock):
    """A thousand refused calls are one line a minute, and nothing is left out at the end."""
    registry = make(stock={"recovery_timeout": 200})
    log_events(registry)
    fail(registry["stock"])
    told.clear()

    for _ in range(130):
        refused(registry["stock"])
        refused(registry["stock"])
        clock.advance(1)
    assert lines(told) == [
        "circuit 'stock' refused 121 calls (121 open)",
        "circuit 'stock' refused 120 calls (120 open)",
    ]
    assert fields(told[0]) == {
        "breaker": "stock",
        "change": "rejected",
        "calls": 121,
        "reasons": {"open": 121},
    }
    told.clear()
    clock.advance(70)
    succeed(registry["stock"])
    assert lines(told)[0] == "circuit 'stock' refused 19 calls (19 open)"
    assert "is half-open" in lines(told)[1]


def test_a_clock_that_was_moved_back_silences_nothing(make: Make, told):
    """A test that moved time leaves no hour without summaries behind."""
    registry = make(stock={"max_concurrent_calls": 1})
    log_events(registry)
    with isolated() as breakers:
        held = registry["stock"].acquire()
        breakers.clock.advance(3600)
        refused(registry["stock"])
        held.success()
    told.clear()
    held = registry["stock"].acquire()
    refused(registry["stock"])
    held.success()

    assert lines(told) == ["circuit 'stock' refused 1 call (1 bulkhead)"]


def test_a_full_bulkhead_is_told_at_once(make: Make, told):
    """No transition announces these refusals: the first one does."""
    registry = make(stock={"max_concurrent_calls": 1})
    log_events(registry)
    held = registry["stock"].acquire()
    refused(registry["stock"])
    refused(registry["stock"])
    held.success()

    assert lines(told) == ["circuit 'stock' refused 1 call (1 bulkhead)"]


def test_what_shadow_mode_would_refuse_is_summed_up_apart(make: Make, told, clock: Clock):
    """Calls that ran are not told as refused."""
    registry = make(stock={})
    log_events(registry)
    registry["stock"].shadow(by="ann", reason="trial")
    fail(registry["stock"])
    told.clear()
    succeed(registry["stock"], 3)
    registry["stock"].reset(by="ann", reason="enough")

    assert lines(told)[0] == "circuit 'stock' would have refused 3 calls (3 open)"
    assert fields(told[0])["change"] == "would_reject"


def test_asking_twice_logs_once_and_ending_it_ends_it(make: Make, told):
    """`install` logs already; doing it again must not double every line."""
    registry = make(stock={})
    end = log_events(registry)
    log_events(registry)()
    fail(registry["stock"])
    assert len(told) == 1
    end()
    registry["stock"].reset(by="ann", reason="test")
    assert len(told) == 1


def test_memory_is_bounded(make: Make, monkeypatch):
    """Breakers come and go with whatever origins an application is sent to."""
    monkeypatch.setattr(recloser_logging, "MAX_BREAKERS", 3)
    log = EventLog(logging.getLogger("recloser.events"))
    for number in range(10):
        breaker = CircuitBreaker(f"host{number}:80", max_concurrent_calls=1)
        breaker.add_listener(log)
        held = breaker.acquire()
        refused(breaker)
        held.success()
    assert len(log._refused) == 3


def test_a_fork_while_refusals_are_counted_blocks_no_call(make: Make, told):
    """A thread that counts holds a lock; a child forked meanwhile has its own, and tells nothing of its parent's."""
    registry = make(stock={})
    log = EventLog(logging.getLogger("recloser.events"))
    registry.add_listener(log)
    fail(registry["stock"])
    refused(registry["stock"])
    locked, counted = threading.Event(), threading.Event()

    def count() -> None:
        with log._lock:
            locked.set()
            counted.wait()

    counting = threading.Thread(target=count)
    counting.start()
    locked.wait()

    def check() -> None:
        refused(registry["stock"])
        assert lines(told)[-1] == "circuit 'stock' refused 1 call (1 open)"

    try:
        in_child(check)
    finally:
        counted.set()
        counting.join()


def test_what_looks_like_a_placeholder_is_told_as_it_is(make: Make, told):
    """No text from outside is filled in."""
    registry = make(stock={})
    log_events(registry)
    fail(registry["stock"], error=ConnectionError("%s {breaker!r} {0}"))
    assert "ConnectionError: %s {breaker!r} {0}; " in lines(told)[0]
    assert fields(told[0])["last_failure"] == "ConnectionError: %s {breaker!r} {0}"


FORGED = "x\n2026-01-01 INFO circuit 'payments' is closed\r\x1b[2K\u2028\u202e\x00end"


def test_no_text_breaks_a_line(told):
    """A name, an error or a reason with line breaks or terminal codes stays within its own record."""
    breaker = CircuitBreaker(FORGED, failure_threshold=1, failure_on=Exception)
    breaker.add_listener(EventLog(logging.getLogger("recloser.events")))
    fail(breaker, error=ConnectionError(FORGED))
    refused(breaker)
    breaker.force_open(by=FORGED, reason=FORGED * 50)
    breaker.reset(by=FORGED, reason=FORGED)

    assert len(told) > 3
    for record in told:
        assert record.getMessage().isprintable()
        assert len(record.getMessage()) <= LONGEST
        assert all(own.isprintable() for own in fields(record).values() if isinstance(own, str))


@given(st.text(max_size=2000))
def test_one_line_is_one_bounded_printable_line(text: str):
    """Whatever comes in; and a harmless text comes out as it was."""
    out = one_line(text)
    assert out.isprintable()
    assert len(out) <= LONGEST
    if text.isprintable() and len(text) <= LONGEST:
        assert out == text


def test_it_reads_well_through_structlog(make: Make, caplog):
    """Structlog's formatter for foreign records renders the fields beside the event, as JSON."""
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.add_log_level, structlog.stdlib.ExtraAdder()],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.JSONRenderer(),
        ],
    )
    registry = make(stock={})
    with caplog.at_level(logging.INFO, "recloser.events"):
        log_events(registry)
        fail(registry["stock"])

    rendered = json.loads(formatter.format(caplog.records[0]))

    assert rendered["event"].startswith("circuit 'stock' is open")
    assert rendered["level"] == "warning"
    assert (rendered["breaker"], rendered["new_state"]) == ("stock", "open")


def test_a_renderer_for_terminals_shows_plain_values(make: Make, told):
    """Such as structlog's, which shows what is no text by its `repr`: no enums of ours there."""
    registry = make(stock={})
    log_events(registry)
    fail(registry["stock"])
    refused(registry["stock"])
    registry["stock"].reset(by="ann", reason="test")

    (reasons,) = [record.reasons for record in told if hasattr(record, "reasons")]
    assert repr(reasons) == "{'open': 1}"


@pytest.mark.parametrize("reason", Rejection)
def test_every_reason_has_a_word(reason: Rejection):
    """Summaries name reasons as the metrics do."""
    assert f"{reason}" == reason.value
