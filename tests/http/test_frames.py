"""Kept responses as bytes: what was written is read again, and nothing else is."""

from __future__ import annotations

import json
import math
from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st

from http_tools import request
from recloser.http import frames
from recloser.http.kept import Kept
from recloser.http.messages import Response

LATIN = st.text(st.characters(max_codepoint=255))
RESPONSES = st.builds(
    Response, st.integers(200, 599), st.lists(st.tuples(LATIN, LATIN)).map(tuple), st.binary()
)
KEPT = st.builds(
    Kept,
    RESPONSES,
    st.lists(st.tuples(LATIN, st.none() | LATIN)).map(tuple),
    st.integers(0, 2**31),
    st.floats(0, 1e9) | st.just(math.inf),
    st.floats(0, 1e12),
    st.just(0),
)


@given(st.lists(KEPT, max_size=3), st.text(), st.text())
def test_what_was_written_is_read_again(variants, key, generation):
    """Every byte of every response, and which requests it answers."""
    stored = [frames.stored(kept) for kept in variants]
    found, read = frames.read(key, frames.write(key, generation, stored))
    assert found == generation
    assert [(one.kept.response, one.digests) for one in read] == [
        (one.kept.response, one.digests) for one in stored
    ]
    for one, kept in zip(read, variants, strict=True):
        assert one.kept[2:5] == kept[2:5]


@given(st.binary())
def test_rubbish_is_never_read(data):
    """It raises one kind of error, whatever it is."""
    with pytest.raises(frames.CorruptError):
        frames.read("key", data)


@given(
    st.recursive(st.none() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x))
)
def test_well_formed_rubbish_is_not_read_either(head):
    """As another version of the same frame might be."""
    encoded = json.dumps(head).encode()
    content = len(encoded).to_bytes(4, "big") + encoded
    whole = b"recloser\x01" + blake2b(content, digest_size=16).digest() + content
    with pytest.raises(frames.CorruptError):
        frames.read("key", whole)


@given(st.binary(min_size=1), st.integers(0), st.integers(0, 7))
def test_a_flipped_bit_is_noticed(body, place, bit):
    """Wherever it is."""
    kept = Kept(Response(200, (("content-type", "text/plain"),), body), (), 0, math.inf, 5.0, 0)
    data = bytearray(frames.write("key", "generation", [frames.stored(kept)]))
    data[place % len(data)] ^= 1 << bit
    with pytest.raises(frames.CorruptError):
        frames.read("key", bytes(data))


@pytest.mark.parametrize(
    ("first", "second", "is_answered"),
    [
        ({"accept": "a"}, {"accept": "a"}, True),
        ({"accept": "a"}, {"accept": "b"}, False),
        ({}, {"accept": ""}, False),
        ({}, {}, True),
    ],
)
def test_selecting_headers_are_compared_by_digests(first, second, is_answered):
    """RFC 9111 §4.1: absent is not empty."""
    kept = Kept(Response(200, ()), (("accept", request(**first).header("accept")),), 0, 0.0, 0.0, 0)
    assert frames.stored(kept).answers(request(**second)) is is_answered
