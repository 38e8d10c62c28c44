"""Every snippet of the README and the docs runs as it stands."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])

RUN = "import sys; exec(compile(open(sys.argv[1]).read(), sys.argv[2], 'exec'), {'__name__': '__main__'})"


def snippets(document: Path, language: str) -> list[tuple[int, str]]:
    """Return the line number and text of each fenced block of a language."""
    found: list[tuple[int, str]] = []
    inside, start, lines = None, 0, []
    for number, line in enumerate(document.read_text().splitlines(), 1):
        if inside is None and line.startswith("```") and len(line) > 3:
            inside, start, lines = line[3:].strip(), number, []
        elif line.startswith("```"):
            if inside == language:
                found.append((start, "\n".join(lines)))
            inside = None
        elif inside is not None:
            lines.append(line)
    return found


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_snippets_run(document: Path, tmp_path: Path):
    """A document's Python blocks run in order, beside the files that its TOML blocks name in their first line."""
    for _, text in snippets(document, "toml"):
        name = text.splitlines()[0].removeprefix("# ")
        assert name.endswith(".toml"), f"the first line of a TOML block names its file, got {name!r}"
        (tmp_path / name).write_text(text)
    source = ""
    for start, text in snippets(document, "python"):
        # Tracebacks then name the document's own lines.
        source += "\n" * (start - source.count("\n")) + text + "\n"
    script = tmp_path / "snippets.py"
    script.write_text(source)

    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", RUN, str(script), str(document)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_and_pictures_lead_somewhere(document: Path):
    """Each that stays within the repository."""
    text = document.read_text()
    targets = re.findall(r'\]\(([^)\s]+)\)|(?:src|srcset)="([^"]+)"', text)
    for target in (link or picture for link, picture in targets):
        if "://" not in target and not target.startswith("#"):
            assert (document.parent / target.partition("#")[0]).exists(), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_extras_can_be_installed(document: Path):
    """Each that a reader is told to install exists."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = re.findall(r"recloser\[([^\]]+)\]", document.read_text())
    assert {extra for names in named for extra in names.split(",")} <= set(extras)


def test_a_wrong_snippet_is_noticed(tmp_path: Path):
    """The check above fails for a document whose code fails."""
    document = tmp_path / "wrong.md"
    document.write_text("text\n\n```python\nassert 1 == 2\n```\n")

    with pytest.raises(AssertionError, match=r"wrong\.md.*line 4"):
        test_snippets_run(document, tmp_path)
