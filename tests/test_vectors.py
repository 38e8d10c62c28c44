"""The vectors of `tests/vectors/` hold for the reference model and for every way into a real breaker."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest

from driving import BreakerSubject, Clock, ModelSubject, Subject
from model import Change, Verdict
from recloser import Policy
from recloser.core.state import Mode
from ways_in import ENTRIES, PERMITS, STREAMS, WRAPPERS, Excluded

FILES = sorted((Path(__file__).parent / "vectors").glob("*.json"))
SCENARIOS = [scenario for file in FILES for scenario in json.loads(file.read_text())["scenarios"]]
VERBS = {"admit", "settle", "answer", "call", "mode", "reset", "wall", "look"}
DETAILS = {"at", "outcome", "takes", "times", "retry_after", "for"}
EXPECTED = {"refused", "shadowed", "changes", "any_changes", "state", "mode_is", "window"}


def events_of(scenario: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Unroll what is repeated, and refuse what the format does not know."""
    for event in scenario["events"]:
        if "repeat" in event:
            assert set(event) == {"repeat", "every", "from", "events"}
            for turn in range(event["repeat"]):
                at = event["from"] + turn * event["every"]
                yield from ({"at": at, **inner} for inner in event["events"])
        else:
            yield event


def ids(scenarios: list[dict[str, Any]]) -> list[str]:
    return [scenario["id"] for scenario in scenarios]


def overlaps(scenario: dict[str, Any]) -> bool:
    return any("admit" in event for event in events_of(scenario))


def needs_a_permit(scenario: dict[str, Any]) -> bool:
    """A call that is told when its answer begins, or judged twice, must be held as a permit."""
    settled = [event["settle"] for event in events_of(scenario) if "settle" in event]
    return len(settled) != len(set(settled)) or any("answer" in event for event in events_of(scenario))


def run(scenario: dict[str, Any], subject: Subject, clock: Clock) -> None:
    for event in events_of(scenario):
        assert not set(event) - VERBS - DETAILS - EXPECTED, event
        assert len(set(event) & VERBS) == 1, event
        clock.advance(event.get("at", clock.now) - clock.now)
        times = event.get("times", 1)
        for turn in range(1, times + 1):
            refused = act(event, subject, clock)
            news = subject.news()
            check_refusal(event.get("refused"), refused)
            reported = [seen for seen in news.refusals if seen.shadow]
            check_refusal(event.get("shadowed"), reported[0] if reported else None)
            if "any_changes" not in event:
                check_changes(event.get("changes", []) if turn == times else [], news.changes)
        check_look(event, subject)


def act(event: dict[str, Any], subject: Subject, clock: Clock) -> Any:
    retry_after = event.get("retry_after")
    match event:
        case {"admit": name}:
            return subject.admit(name)
        case {"answer": name}:
            return subject.answer(name)
        case {"settle": name, "outcome": outcome}:
            return subject.settle(name, Verdict(outcome), retry_after)
        case {"call": outcome}:
            return subject.call(Verdict(outcome), event.get("takes", 0), retry_after)
        case {"mode": mode}:
            return subject.set_mode(Mode(mode), clock.wall + event["for"] if "for" in event else None)
        case {"reset": True}:
            return subject.reset()
        case {"wall": seconds}:
            clock.wall += seconds
            return None
        case {"look": True}:
            return None
        case _:
            raise AssertionError(event)


def check_refusal(expected: dict[str, Any] | None, seen: Any) -> None:
    assert (seen is None) == (expected is None), (expected, seen)
    if expected is not None:
        assert seen.reason == expected["reason"]
        assert seen.retry_after >= 0
        if "retry_after" in expected:
            assert seen.retry_after == pytest.approx(expected["retry_after"])


def check_changes(expected: list[dict[str, Any]], seen: list[Change]) -> None:
    shown = [
        {
            "old": change.old,
            "new": change.new,
            **change.why._asdict(),
            "retry_after": pytest.approx(change.retry_after),
        }
        for change in seen
    ]
    assert len(shown) == len(expected), seen
    for one, other in zip(expected, shown, strict=True):
        assert one == {key: other[key] for key in one}


def check_look(event: dict[str, Any], subject: Subject) -> None:
    seen = subject.look()
    assert seen.state == event.get("state", seen.state)
    assert seen.mode == event.get("mode_is", seen.mode)
    if "window" in event:
        assert seen.window is not None
        assert seen.window._asdict() == event["window"]


def policy_of(scenario: dict[str, Any]) -> Policy:
    return Policy(**{"recovery_jitter": 0, **scenario["policy"]}, ignore=(Excluded,))


def dice_of(scenario: dict[str, Any]) -> Iterator[float]:
    return chain(scenario.get("random", ()), repeat(0.5))


@pytest.mark.parametrize("scenario", SCENARIOS, ids=ids(SCENARIOS))
def test_vector_holds_for_the_model(scenario):
    """The reference model decides as the vector says."""
    clock = Clock()
    run(scenario, ModelSubject(policy_of(scenario), dice_of(scenario).__next__, clock), clock)


def entries_for(scenario: dict[str, Any]) -> Iterator[str]:
    for entry in ENTRIES:
        if needs_a_permit(scenario) and entry not in PERMITS:
            continue
        if "slow_call_duration" in scenario["policy"] and entry in STREAMS:
            continue  # a stream is as slow as its first item, and these have it at once
        yield entry


@pytest.mark.parametrize(
    ("scenario", "entry"),
    [
        pytest.param(scenario, entry, id=f"{scenario['id']}-{entry}")
        for scenario in SCENARIOS
        for entry in entries_for(scenario)
    ],
)
def test_vector_holds_for_the_breaker(scenario, entry):
    """The breaker decides as the vector says, whichever way its calls come in."""
    clock = Clock()
    run(scenario, BreakerSubject(policy_of(scenario), dice_of(scenario).__next__, clock, entry=entry), clock)


SEQUENTIAL = [scenario for scenario in SCENARIOS if not overlaps(scenario)]


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("scenario", SEQUENTIAL, ids=ids(SEQUENTIAL))
def test_vector_of_calls_one_by_one_holds_for_wrapped_calls(scenario, wrapper):
    """The breaker decides as the vector says when whole calls are wrapped, on their fast path too."""
    clock = Clock()
    subject = BreakerSubject(policy_of(scenario), dice_of(scenario).__next__, clock, wrapper=wrapper)
    run(scenario, subject, clock)


def test_vectors_are_named_after_their_rules():
    """Every scenario has an id of its own that begins with its rule's letter, and says what it shows."""
    assert len(set(ids(SCENARIOS))) == len(SCENARIOS)
    for scenario in SCENARIOS:
        assert set(scenario) - {"random"} == {"id", "rule", "says", "policy", "events"}
        assert scenario["id"].startswith(scenario["rule"][0])
        assert scenario["says"].endswith(".")
