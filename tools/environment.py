"""Build a virtual environment with this project and what its development needs.

Uses `uv` when it is on the path and installs it into the environment otherwise, so that any machine with
Python 3.11+ will do. Usage: environment.py FOLDER [--python PATH] [--group NAME]... [--extra NAME]...
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST = (3, 11)


def build(folder: Path, python: str, groups: list[str], extras: list[str]) -> None:
    """Make `folder` an environment of `python` with the project, its extras and its dependency groups."""
    inside = folder / "bin" / "python"
    if not inside.exists():
        if Path(python).resolve() == Path(sys.executable).resolve():
            venv.create(folder, with_pip=True, clear=True)
        else:
            subprocess.run([python, "-m", "venv", "--clear", folder], check=True)
    uv = shutil.which("uv")
    if uv is None:
        uv = str(folder / "bin" / "uv")
        if not Path(uv).exists():
            subprocess.run([inside, "-m", "pip", "install", "--quiet", "uv"], check=True)
    command = [uv, "pip", "install", "--quiet", "--python", str(inside)]
    for group in groups:
        command += ["--group", f"{ROOT / 'pyproject.toml'}:{group}"]
    project = f"{ROOT}[{','.join(extras)}]" if extras else str(ROOT)
    environment = {**os.environ, "UV_PYTHON_DOWNLOADS": "never"}
    subprocess.run([*command, "--editable", project], check=True, cwd=ROOT, env=environment)


def main() -> None:
    """Read the command line and build."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--group", action="append", default=[])
    parser.add_argument("--extra", action="append", default=[])
    options = parser.parse_args()
    if sys.version_info < OLDEST:
        sys.exit(
            f"recloser needs Python 3.11 or newer, this is {sys.version.split()[0]}: make PYTHON=python3.13 ..."
        )
    build(options.folder, options.python, options.group, options.extra)


if __name__ == "__main__":
    main()
