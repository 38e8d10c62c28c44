"""How old a response is and how long it may be served: one row per rule, named after its section."""

from __future__ import annotations

from email.utils import formatdate
from math import inf

import pytest

from http_tools import TUESDAY, request, response
from recloser.http import freshness

NOW = formatdate(TUESDAY, usegmt=True)
BEFORE = formatdate(TUESDAY - 100, usegmt=True)
LATER = formatdate(TUESDAY + 300, usegmt=True)


@pytest.mark.parametrize(
    ("section", "headers", "expected"),
    [
        ("§4.2.2: nothing is guessed", {}, 0),
        ("§4.2.2: nothing is guessed", {"last_modified": BEFORE}, 0),
        ("§5.2.2.1", {"cache_control": "max-age=60"}, 60),
        ("§5.2.2.10: a shared cache's own lifetime wins", {"cache_control": "max-age=60, s-maxage=5"}, 5),
        ("§4.2.1: unreadable is stale", {"cache_control": "max-age=soon"}, 0),
        ("§4.2.1: contradictory is stale", {"cache_control": "max-age=60, max-age=90"}, 0),
        ("§5.3", {"expires": LATER, "date": NOW}, 300),
        ("§5.3: without Date, from its receipt", {"expires": LATER}, 300),
        ("§5.3: max-age wins", {"expires": LATER, "cache_control": "max-age=60"}, 60),
        ("§5.3: invalid is past", {"expires": "0"}, 0),
        ("§5.3: past", {"expires": BEFORE}, 0),
    ],
)
def test_the_lifetime_follows_rfc_9111(section, headers, expected):
    """RFC 9111, whole seconds."""
    assert freshness.lifetime(response(**headers), TUESDAY) == expected


@pytest.mark.parametrize(
    ("section", "headers", "expected"),
    [
        ("§4.2.3: just made", {}, 0),
        ("§4.2.3: apparent age", {"date": BEFORE}, 100),
        ("§4.2.3: a clock ahead of ours", {"date": LATER}, 0),
        ("§5.1: declared", {"age": "40"}, 40),
        ("§4.2.3: the greater of both", {"age": "40", "date": BEFORE}, 100),
        ("§5.1: the first of several", {"age": "40, 50"}, 40),
        ("§5.1: unreadable", {"age": "old"}, 0),
    ],
)
def test_a_response_may_be_born_old(section, headers, expected):
    """RFC 9111, seconds."""
    assert freshness.initial_age(response(**headers), TUESDAY) == expected


@pytest.mark.parametrize(
    ("section", "control", "expected"),
    [
        ("RFC 9111 §4.2.4", "", inf),
        ("RFC 9111 §4.2.4", "max-age=60, public", inf),
        ("RFC 9111 §5.2.2.2", "must-revalidate", 0),
        ("RFC 9111 §5.2.2.8", "proxy-revalidate", 0),
        ("RFC 9111 §5.2.2.10", "s-maxage=60", 0),
        ("RFC 5861 §4", "max-age=60, stale-if-error=30", 30),
        ("RFC 5861 §4", "stale-if-error=oops", 0),
        ("RFC 9111 §4.2.4", "stale-if-error=30, must-revalidate", 0),
    ],
)
def test_a_response_bounds_its_own_staleness(section, control, expected):
    """Seconds past its freshness."""
    assert freshness.stale_limit(response(cache_control=control)) == expected


@pytest.mark.parametrize(
    ("section", "control", "expected"),
    [
        ("RFC 5861 §4", "stale-if-error=5", 5),
        ("RFC 9111 §5.2.1.4: a preference", "no-cache", inf),
        ("RFC 9111 §5.2.1.1: a preference", "max-age=0", inf),
    ],
)
def test_a_request_bounds_the_staleness_it_tolerates(section, control, expected):
    """A reload during an outage is served better than refused."""
    assert freshness.tolerated_staleness(request(cache_control=control)) == expected
