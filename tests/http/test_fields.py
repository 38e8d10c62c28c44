"""Header fields are read as their standards say, whatever they contain."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recloser.http import fields


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, {}),
        ("", {}),
        ("max-age=60, public", {"max-age": "60", "public": None}),
        ("Max-Age=60,NO-STORE", {"max-age": "60", "no-store": None}),
        ('max-age="3600"', {"max-age": "3600"}),
        ('private="set-cookie, x-user", max-age=1', {"private": "set-cookie, x-user", "max-age": "1"}),
        ('extension="a\\"b, no-store"', {"extension": 'a"b, no-store'}),
        (" , ,no-store, ", {"no-store": None}),
        ("max-age=60, max-age=60", {"max-age": "60"}),
        ("max-age=60, max-age=90", {"max-age": ""}),
        ('extension="no end, no-store', {"extension": "no end, no-store"}),
        ("=5, no-store", {"no-store": None}),
    ],
)
def test_cache_control_is_read_as_rfc_9111_5_2_says(value, expected):
    """Names without regard to case, arguments with or without quotes, contradictions without a promise."""
    assert fields.directives(value) == expected


@given(st.text(alphabet='",=\\ ab;\t', max_size=200))
def test_no_cache_control_field_is_too_broken_to_read(value):
    """Anything gives directives, and never an error."""
    assert all(name == name.strip() for name in fields.directives(value))


@pytest.mark.parametrize(
    ("argument", "expected"),
    [("60", 60), ("0", 0), ("-1", None), ("", None), (None, None), ("1.5", None), ("x", None), ("٣", None)],
)
def test_delta_seconds_are_digits(argument, expected):
    """RFC 9111 §1.2.2."""
    assert fields.seconds(argument) == expected


def test_delta_seconds_do_not_overflow():
    """RFC 9111 §1.2.2: too much is 2^31."""
    assert fields.seconds("99999999999") == 2**31


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Tue, 14 Nov 2023 22:13:20 GMT", 1_700_000_000.0),
        ("Tuesday, 14-Nov-23 22:13:20 GMT", 1_700_000_000.0),
        ("Tue Nov 14 22:13:20 2023", 1_700_000_000.0),
        ("Tue, 14 Nov 2023 22:13:20", None),
        ("0", None),
        ("", None),
        (None, None),
        ("yesterday", None),
        ("Tue, 14 Nov 99999 22:13:20 GMT", None),
    ],
)
def test_http_dates_are_read(value, expected):
    """RFC 9110 §5.6.7."""
    assert fields.timestamp(value) == expected


@pytest.mark.parametrize(
    ("accept", "html", "json"),
    [
        (None, 1.0, 1.0),
        ("*/*", 1.0, 1.0),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", 1.0, 0.8),
        ("application/json", 0.0, 1.0),
        ("application/problem+json;q=0.5, text/html;q=0.4", 0.4, 0.5),
        ("text/*;q=0.3, application/*;q=0.2", 0.3, 0.2),
        ("TEXT/HTML ; Q=0.7", 0.7, 0.0),
        ("text/html;q=nonsense", 0.0, 0.0),
        ("text/html;q=0, */*", 0.0, 1.0),
        ("text/html;level=1;q=0.4", 0.4, 0.0),
    ],
)
def test_accept_is_weighed_by_the_most_specific_range(accept, html, json):
    """RFC 9110 §12.5.1."""
    assert fields.preference(accept, "text/html") == html
    assert fields.preference(accept, "application/problem+json", "application/json") == json


def test_entity_tags_are_compared_weakly():
    """RFC 9110 §8.8.3.2: `W/` makes no difference; commas may stand inside of a tag."""
    assert fields.entity_tags('W/"a", "b,c" ,"d') == {'"a"', '"b,c"'}


def test_structured_strings_are_ascii():
    """RFC 9651 §3.3.3: quotes and backslashes are escaped, anything else cannot be said."""
    assert fields.quoted('a"b\\c\nü') == '"a\\"b\\\\c??"'
