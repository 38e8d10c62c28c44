"""Retry storms, as a property: a fleet of fifty clients, the naive order and ours side by side."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from recloser.retry.budgets import BUCKETS, FLOOR, SHARE, WINDOW
from retry.fleet import CLIENTS, Story, naive, ours, tell

STORIES = st.builds(
    Story,
    outage=st.floats(1, 12),
    pause=st.floats(1, 4),
    capacity=st.integers(20, 150),
    attempts=st.integers(2, 6),
    shared=st.sampled_from([1, 5, 50]),
    threshold=st.integers(2, 8),
    seconds=st.just(30.0),
)


@settings(max_examples=20, deadline=None)
@given(STORIES)
def test_retries_stay_within_the_declared_budget(story):
    """Each breaker's retries are at most a fifth of its calls, or five in ten seconds; so is the fleet's load."""
    told = tell(story, ours)

    windows = story.seconds / (WINDOW - WINDOW / BUCKETS) + 1
    floor = FLOOR * windows * len(told.breakers)
    assert told.service.calls <= told.wanted + told.granted
    assert told.granted <= floor + SHARE * told.service.calls
    assert told.service.calls <= (told.wanted + floor) / (1 - SHARE)


@settings(max_examples=20, deadline=None)
@given(STORIES)
def test_an_outage_costs_each_breaker_what_opens_it_and_its_probes(story):
    """While the service is down, whatever `attempts` is, no more calls reach it than the threshold and those in flight."""
    story = replace(story, capacity=10_000)

    told = tell(story, ours)

    in_flight = story.shared + story.threshold  # first attempts, and retries of the failures before
    assert told.service.during_outage <= len(told.breakers) * (story.threshold + in_flight) + told.probes


@settings(max_examples=8, deadline=None)
@given(STORIES)
def test_the_naive_order_multiplies_the_outage_s_load(story):
    """The same clients with the breaker around the retry send a sick service more calls than ours."""
    story = replace(story, outage=15, capacity=10_000, shared=1)

    there, here = tell(story, naive).service, tell(story, ours).service

    assert here.during_outage < there.during_outage


def test_a_storm_outlives_its_outage_only_in_the_naive_order():
    """A service that bears its usual load and little more recovers under our retries, and drowns under the others."""
    story = Story(outage=3, pause=1, capacity=60, attempts=6, shared=1, threshold=100)

    there, here = tell(story, naive), tell(story, ours)

    assert CLIENTS / story.pause < story.capacity
    assert here.service.failed_after * 10 < there.service.failed_after
