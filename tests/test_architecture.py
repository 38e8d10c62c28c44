"""The house: imports run one way, rooms stay small, and importing the library costs next to nothing."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src"
MODULES = sorted((SOURCE / "recloser").rglob("*.py"))
LONGEST_FILE = 400

# Each part, and the parts that it may import besides itself. Whoever is not named here imports nothing of ours.
ARROWS = {
    "core": set(),
    "config": {"core"},
    "stores": {"core"},
    "degradations": {"core"},
    "backlogs": {"core"},
    "steering": {"stores", "core"},
    "registry": {"degradations", "steering", "stores", "config", "core"},
    "http": {"registry", "config", "core"},
    "clients": {"registry", "config", "core"},
    "asgi": {"http", "registry", "core"},
    "metrics": {"retry", "registry", "degradations", "stores", "core"},
    "status": {"http", "metrics", "backlogs", "registry", "steering", "stores", "config", "core"},
    "fastapi": {"asgi", "status", "deferred", "http", "metrics", "steering", "registry", "config", "core"},
    "django": {"status", "deferred", "http", "metrics", "steering", "registry", "stores", "config", "core"},
    "retry": {"core"},
    "testing": {"http", "core"},
    "deferred": {"http", "metrics", "backlogs", "stores", "config", "core"},
    "demo": {"django", "asgi", "http", "stores", "registry", "config", "core"},
    "cli": {"deferred", "demo", "status", "http", "stores", "steering", "registry", "config", "core"},
    "__init__": {"registry", "core"},
}


def part(module: str) -> str:
    """Return the part of the house that a dotted module name lies in."""
    pieces = module.split(".")
    return pieces[1] if len(pieces) > 1 else "__init__"


def name_of(path: Path) -> str:
    dotted = ".".join(path.relative_to(SOURCE).with_suffix("").parts)
    return dotted.removesuffix(".__init__")


def imported(path: Path) -> set[str]:
    """Return the absolute names of everything that a file imports, wherever it does."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            found.add(node.module or "")
            if node.module == "recloser":
                found.update(f"recloser.{alias.name}" for alias in node.names if alias.name in ARROWS)
    return found


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_run_one_way(path: Path):
    """A part imports only those below it: adapters, then http, then the registry, then the core."""
    own = part(name_of(path))
    assert own in ARROWS, f"{own} is a new part of the house: say in ARROWS what it may import"

    for name in imported(path):
        if name.split(".")[0] == "recloser" and name != "recloser":
            assert part(name) in ARROWS[own] | {own}, f"{own} must not import {name}"


@pytest.mark.parametrize("path", sorted((SOURCE / "recloser" / "core").glob("*.py")), ids=name_of)
def test_the_core_needs_the_standard_library_only(path: Path):
    """The core imports nothing that has to be installed."""
    for name in imported(path):
        root = name.split(".")[0]
        assert root in sys.stdlib_module_names or name.startswith("recloser.core"), name


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_rooms_are_small(path: Path):
    """A file that grows too long is holding two ideas."""
    assert len(path.read_text().splitlines()) <= LONGEST_FILE


def fresh(code: str) -> object:
    """Run code in a fresh interpreter and return what it prints as JSON."""
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    return json.loads(ran.stdout)


def test_import_loads_nothing_that_was_installed():
    """`import recloser` loads neither third-party modules, nor asyncio, nor its own adapters."""
    before, after = fresh(
        "import json, sys; before = sorted(sys.modules); import recloser;"
        "print(json.dumps([before, sorted(sys.modules)]))"
    )
    new = set(after) - set(before)
    ours = {name for name in new if name.split(".")[0] == "recloser"}
    assert "recloser.core.breaker" in ours
    assert all(name in ("recloser", "recloser.core") or name.startswith("recloser.core.") for name in ours)
    assert {name.split(".")[0] for name in new} - {"recloser"} <= sys.stdlib_module_names
    assert "asyncio" not in new


def test_import_starts_nothing():
    """No thread, no file, no socket comes of an import."""
    threads, opened = fresh(
        "import json, os, threading; before = set(os.listdir('/proc/self/fd')); import recloser;"
        "after = set(os.listdir('/proc/self/fd'));"
        "print(json.dumps([threading.active_count(), len(after) - len(before)]))"
    )
    assert (threads, opened) == (1, 0)
