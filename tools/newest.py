"""Run a Python command on the newest installed interpreter, in an environment of its own.

Says so and does nothing if the main environment's interpreter is the newest one. Usage: newest.py -- ARGUMENT...
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from environment import OLDEST, ROOT, build

NEWEST = (3, 14)
EXTRAS = ["httpx", "httpx2", "fastapi", "django", "demo", "demo-django"]


def version_of(python: Path) -> tuple[int, int] | None:
    """Ask an interpreter for its version; `None` if it does not run or is no released CPython."""
    code = (
        "import sys; v = sys.version_info; print(v.major, v.minor, v.releaselevel, sys.implementation.name)"
    )
    try:
        told = subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=20, check=False)
    except OSError:
        return None
    match = re.fullmatch(r"(\d+) (\d+) final cpython\n", told.stdout)
    return (int(match[1]), int(match[2])) if match else None


def installed() -> dict[tuple[int, int], Path]:
    """Find the interpreters on the path and those that pyenv or uv keep."""
    found: dict[tuple[int, int], Path] = {}
    homes = [Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"]
    homes.append(Path(os.environ.get("UV_PYTHON_INSTALL_DIR", Path.home() / ".local/share/uv/python")))
    for minor in range(OLDEST[1], NEWEST[1] + 1):
        name = f"python3.{minor}"
        candidates = [Path(path) for path in [shutil.which(name)] if path]
        candidates += [python for home in homes for python in sorted(home.glob(f"*/bin/{name}"))]
        for candidate in candidates:
            version = version_of(candidate)
            if version == (3, minor):
                found[version] = candidate
                break
    return found


def main() -> None:
    """Build the second environment and run the command in it."""
    newest, python = max(installed().items(), default=(sys.version_info[:2], Path(sys.executable)))
    label = ".".join(map(str, newest))
    if newest <= sys.version_info[:2]:
        print(f"Python {label} is the newest installed interpreter: tested already.")
        return
    folder = ROOT / f".venv-{label}"
    build(folder, str(python), ["test", "bench"], EXTRAS)
    print(f"Python {label}:", flush=True)
    inside = str(folder / "bin" / "python")
    sys.exit(subprocess.run([inside, *sys.argv[2:]], check=False, cwd=ROOT).returncode)


if __name__ == "__main__":
    main()
