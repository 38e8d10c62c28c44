"""What holds for every declaration, not only for those that somebody thought of."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from proof import examples
from recloser.config import Declaration, from_mapping, from_toml
from recloser.config.vocabulary import BREAKER, CACHE, KNOBS, PROFILE, ROUTE, SECTIONS
from recloser.core.errors import ConfigurationError

NAMES = st.sampled_from(["payments", "pay.eu", "pay-eu", "a:80", "http", "Bad Name", ""])
SECONDS = st.one_of(st.integers(-1, 1000), st.floats(0.1, 1000), st.just("30s"))
# A good value for nearly every setting, and bad ones for most.
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    SECONDS,
    NAMES,
    st.text(max_size=5),
    st.lists(NAMES, max_size=2),
    st.sampled_from(["builtins:OSError", "builtins:nothing", "https://a.example", "redis://:pw@h"]),
    st.lists(st.sampled_from(["builtins:OSError", "https://a.example", "https://b.example:80"]), max_size=2),
    st.lists(st.fixed_dictionaries({"stale": SECONDS}), max_size=2),
)
JSON = st.recursive(
    VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3)
)


def table(keys):
    return st.one_of(st.dictionaries(st.sampled_from(sorted(keys)), VALUES, max_size=4), JSON)


def tables(keys):
    return st.one_of(st.dictionaries(NAMES, table(keys), max_size=3), JSON)


ANYTHING = st.fixed_dictionaries(
    {},
    optional={
        "STORE": JSON,
        "NAMESPACE": JSON,
        "DEFAULTS": table(KNOBS),
        "PROFILES": tables(PROFILE),
        "BREAKERS": tables(BREAKER),
        "ROUTES": tables(ROUTE),
        "CACHE": table(CACHE),
        "OTHER": JSON,
    },
)
VARIABLES = st.dictionaries(
    st.builds(
        lambda *parts: "RECLOSER_" + "__".join(part for part in parts if part),
        st.sampled_from([*(section.upper() for section in SECTIONS), "OTHER"]),
        st.sampled_from(["", "PAYMENTS", "PAY_EU", "HTTP", "payments"]),
        st.sampled_from(["", *(knob.upper() for knob in BREAKER)]),
    ),
    st.one_of(VALUES.map(json.dumps), st.text(max_size=8)),
    max_size=3,
)


def outcome(declared, environ):
    """The declaration, or the problems with it."""
    try:
        return from_mapping(declared, environ=environ)
    except ConfigurationError as error:
        return error.problems


@settings(max_examples=examples(300), deadline=None)
@given(st.one_of(ANYTHING, JSON), VARIABLES)
def test_garbage_is_a_declaration_or_a_configuration_error(declared, environ):
    """Nothing that JSON can say makes any other exception; every problem has a path, a value and a fix."""
    found = outcome(declared, environ)

    if not isinstance(found, Declaration):
        assert found
        assert all(all(problem) for problem in found)
        assert len(set(found)) == len(found)
        assert "pw@" not in str(ConfigurationError(found))
    assert outcome(declared, environ) == found


GOOD_TABLE = st.fixed_dictionaries(
    {},
    optional={
        "failure_rate_threshold": st.floats(0.1, 1),
        "recovery_timeout": st.integers(1, 600),
        "window_seconds": st.integers(1, 100),
        "honor_retry_after": st.booleans(),
        "failure_on": st.sampled_from(["builtins:OSError", ["builtins:OSError", "builtins:EOFError"]]),
    },
)
BODIES = st.recursive(
    st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)


@st.composite
def good_declarations(draw):
    """A declaration without problems."""
    names = draw(
        st.lists(st.from_regex(r"[a-z0-9][a-z0-9._:-]{0,8}", fullmatch=True), unique=True, max_size=3)
    )
    profiles = draw(st.dictionaries(st.text(min_size=1, max_size=8), GOOD_TABLE, max_size=2))
    breakers = {}
    for name in names:
        breakers[name] = draw(GOOD_TABLE)
        if profiles and draw(st.booleans()):
            breakers[name]["profile"] = draw(st.sampled_from(sorted(profiles)))
    routes = {}
    if names:
        for route in draw(st.lists(st.text(min_size=1, max_size=8), unique=True, max_size=2)):
            plan = [{"stale": draw(st.integers(1, 99))}, {"json": draw(BODIES)}]
            routes[route] = {"breakers": names, "plan": plan}
    return {
        "NAMESPACE": "shop",
        "DEFAULTS": draw(GOOD_TABLE),
        "PROFILES": profiles,
        "BREAKERS": breakers,
        "ROUTES": routes,
        "CACHE": {"max_bytes": 1000},
    }


def toml(value):
    """Spell a value in TOML; a fixed body as JSON in a text."""
    if isinstance(value, dict):
        inner = (
            f"{quoted(key)} = {quoted(json.dumps(one)) if key == 'json' else toml(one)}"
            for key, one in value.items()
        )
        return "{" + ", ".join(inner) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return quoted(value) if isinstance(value, str) else json.dumps(value)


def quoted(text):
    return '"' + "".join(f"\\U{ord(character):08x}" for character in text) + '"'


@settings(max_examples=examples(100), deadline=None)
@given(good_declarations())
def test_every_mapping_has_an_equal_toml_spelling(declared):
    """A declaration spelled as TOML is the same declaration, down to texts and null in fixed bodies."""
    text = "".join(f"{section.lower()} = {toml(value)}\n" for section, value in declared.items())
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "recloser.toml")
        file.write_text(text)
        assert from_toml(file, environ={}) == from_mapping(declared, environ={})


def variable(breaker):
    """The variable of a breaker's startup_time."""
    normal = "".join(letter if letter.isalnum() else "_" for letter in breaker)
    return f"RECLOSER_BREAKERS__{normal.upper()}__STARTUP_TIME"


@settings(max_examples=examples(100), deadline=None)
@given(good_declarations(), st.data())
def test_an_override_changes_one_value(declared, data):
    """A variable that sets one knob of one breaker changes that knob of that breaker, and nothing else."""
    before = from_mapping(declared, environ={})
    assume(before.breakers)
    name = data.draw(st.sampled_from(sorted(before.breakers)))
    assume([variable(other) for other in before.breakers].count(variable(name)) == 1)

    after = from_mapping(declared, environ={variable(name): "12.5"})

    for other, breaker in after.breakers.items():
        was = before.breakers[other]
        assert breaker.policy.startup_time == (12.5 if other == name else was.policy.startup_time)
        assert breaker.policy.recovery_timeout == was.policy.recovery_timeout
        changed = {knob for knob in was.provenance if breaker.provenance[knob] != was.provenance[knob]}
        assert changed == ({"startup_time"} if other == name else set())
