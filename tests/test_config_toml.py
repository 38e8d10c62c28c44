"""TOML files: the same declaration in lower case, with errors that name the file."""

from __future__ import annotations

import os
import sys
import textwrap

import pytest

from recloser.config import from_mapping, from_toml
from recloser.core.errors import ConfigurationError

MAPPING = {
    "NAMESPACE": "shop",
    "DEFAULTS": {"recovery_timeout": 15},
    "PROFILES": {"http": {"failure_rate_threshold": 0.5, "window_seconds": 30}},
    "BREAKERS": {
        "payments": {
            "profile": "http",
            "failure_threshold": 3,
            "origins": ["https://api.payments.example"],
            "failure_on": ["builtins:OSError"],
        },
        "inventory": {"profile": "http", "plan": [{"stale": 600}]},
    },
    "ROUTES": {
        "shop:product": {"breakers": ["inventory"], "plan": [{"stale": 3600}, {"json": {"quantity": None}}]},
        "/cart": {"breakers": ["inventory"], "plan": {"inventory": [{"json": {"items": [1]}}]}},
    },
    "CACHE": {"max_bytes": 64_000_000},
}
TOML = """
namespace = "shop"

[defaults]
recovery_timeout = 15

[profiles.http]
failure_rate_threshold = 0.5
window_seconds = 30

[breakers.payments]
profile = "http"
failure_threshold = 3
origins = ["https://api.payments.example"]
failure_on = ["builtins:OSError"]

[breakers.inventory]
profile = "http"
plan = [{ stale = 600 }]

[routes."shop:product"]
breakers = ["inventory"]
plan = [{ stale = 3600 }, { json = '{"quantity": null}' }]

[routes."/cart"]
breakers = ["inventory"]
plan.inventory = [{ json = { items = [1] } }]

[cache]
max_bytes = 64_000_000
"""


@pytest.fixture
def toml(tmp_path, monkeypatch):
    """Write a file into the current folder, and read it."""
    monkeypatch.chdir(tmp_path)

    def read(text, name="recloser.toml", environ=None):
        (tmp_path / name).write_text(textwrap.dedent(text))
        return from_toml(name, environ=environ or {})

    return read


def test_toml_says_the_same(toml):
    """A mapping and its TOML spelling are equal declarations; a JSON text stands for what TOML cannot say."""
    assert toml(TOML) == from_mapping(MAPPING, environ={})


def test_pyproject(toml):
    """Of a `pyproject.toml`, the table `[tool.recloser]` counts."""
    declaration = toml(
        """
        [project]
        name = "shop"
        [tool.recloser.breakers.payments]
        recovery_timeout = 7
        """,
        "pyproject.toml",
    )

    assert declaration.breakers["payments"].policy.recovery_timeout == 7
    assert declaration.path == "pyproject.toml: tool.recloser"


def test_the_environment_overrides_toml(toml):
    """The environment's values go over those of a file; a text there is a text, not JSON in a text."""
    environ = {
        "RECLOSER_BREAKERS__PAYMENTS__RECOVERY_TIMEOUT": "60",
        "RECLOSER_ROUTES___CART__PLAN": '[{"json": "null"}]',
    }

    declaration = toml(TOML, environ=environ)

    assert declaration.breakers["payments"].policy.recovery_timeout == 60
    assert declaration.routes["/cart"].plan.steps == ({"json": "null"},)


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("[breakers.payments]\nrecovery_timeout = '30s'", "breakers.payments.recovery_timeout", "'30s'"),
        ("[breakers.'a.b']\nprobe_timeout = 0", 'breakers."a.b".probe_timeout', "0"),
        ("[BREAKERS]", "BREAKERS", "{}"),
        ("breakers = 5", "breakers", "5"),
        (
            "[breakers.p]\n[routes.'shop:x']\nbreakers=['p']\nplan=[{json='{'}]",
            'routes."shop:x".plan[0].json',
            "'{'",
        ),
        (
            "[breakers.p]\n[routes.'shop:x']\nbreakers=['p']\nplan={p=[5]}",
            'routes."shop:x".plan.p[0]',
            "5",
        ),
    ],
)
def test_paths_as_written(toml, text, path, value):
    """A problem's path is the file's name and the dotted key."""
    with pytest.raises(ConfigurationError) as caught:
        toml(text)

    assert [(problem.path, problem.value) for problem in caught.value.problems] == [
        (f"recloser.toml: {path}", value)
    ]


def test_a_pyproject_path(toml):
    """In a `pyproject.toml` the path begins with its table."""
    with pytest.raises(
        ConfigurationError, match=r"^pyproject\.toml: tool\.recloser\.cache\.alias must be an alias"
    ):
        toml("[tool.recloser.cache]\nalias = 7", "pyproject.toml")


@pytest.mark.parametrize("text", ["", "[tool.ruff]", "tool = 5"])
def test_a_pyproject_without_the_table(toml, text):
    """A `pyproject.toml` that says nothing of recloser is an error, not an empty declaration."""
    with pytest.raises(ConfigurationError, match=r"^pyproject\.toml must have a table \[tool\.recloser\]"):
        toml(text, "pyproject.toml")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("namespace = 'shop'\n[breakers\n", 2),
        ("a = 1\na = 2\n", 2),
        ("a = 1\nb = [\n1,\n", 4),
        ("store = redis://:s3cret@h\n", 1),
    ],
)
def test_a_syntax_error_names_file_and_line(toml, text, line):
    """What is no TOML is told with the file and the line, without quoting the file."""
    with pytest.raises(ConfigurationError) as caught:
        toml(text)

    (problem,) = caught.value.problems
    assert (problem.path, problem.fix) == (f"recloser.toml, line {line}", "must be valid TOML")
    assert "s3cret" not in str(caught.value)


def test_a_byte_order_mark_and_line_breaks_of_windows_are_no_fault(tmp_path):
    """Its editors write both, and show neither."""
    file = tmp_path / "recloser.toml"
    file.write_bytes(b"\xef\xbb\xbf[breakers.payments]\r\nfailure_threshold = 3\r\n")

    assert from_toml(file, {}).breakers["payments"].policy.failure_threshold == 3


def test_a_file_that_is_not_utf8(tmp_path):
    """A file in another encoding is told as that."""
    file = tmp_path / "recloser.toml"
    file.write_bytes(b"namespace = 'caf\xe9'")

    with pytest.raises(
        ConfigurationError, match=r"recloser\.toml must be in UTF-8, got byte 16 that is not$"
    ):
        from_toml(file, environ={})


def test_a_missing_file(toml, tmp_path):
    """A file that is not there is a configuration error with its name."""
    with pytest.raises(
        ConfigurationError, match=r"^nowhere/recloser\.toml must be a readable file, got FileNotFound"
    ):
        from_toml("nowhere/recloser.toml", environ={})


@pytest.mark.skipif(sys.platform == "win32", reason="a folder is refused there with another error")
def test_a_folder(tmp_path):
    """A folder in place of a file is a configuration error."""
    with pytest.raises(ConfigurationError, match="must be a readable file, got IsADirectoryError"):
        from_toml(os.fspath(tmp_path), environ={})


def test_nesting_without_end(toml):
    """A file too deep to read is a configuration error."""
    with pytest.raises(ConfigurationError, match="must be valid TOML"):
        toml(f"a = {'[' * 100_000}")
