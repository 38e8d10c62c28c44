"""docs/configuration.md is true: its code runs, its output is the output, its table is complete."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from recloser.config.vocabulary import SECTIONS

DOCUMENT = (Path(__file__).parent.parent / "docs" / "configuration.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Run all Python blocks in order, beside the file that the TOML block names in its first line."""
    folder = tmp_path_factory.mktemp("configuration")
    (toml,) = blocks("toml")
    (folder / toml.splitlines()[0].removeprefix("# ")).write_text(toml, encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", "\n".join(blocks("python"))],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if not name.startswith("RECLOSER_")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_code_runs(ran):
    """Every Python block runs as it stands, after the ones before it, with all that it asserts."""
    assert ran.returncode == 0, ran.stderr


def test_the_output_is_shown(ran):
    """What the code prints is what the page shows."""
    assert [ran.stdout] == blocks("text")


def test_every_section_is_listed():
    """The table of sections names all of them, in the order of the declaration."""
    assert re.findall(r"^\| `([A-Z]+)` \|", DOCUMENT, re.MULTILINE) == [name.upper() for name in SECTIONS]


def test_every_block_is_looked_at():
    """There is no code in the page that none of these tests runs."""
    assert set(re.findall(r"^```(\w+)$", DOCUMENT, re.MULTILINE)) == {"python", "toml", "text"}
