"""Run the tests on two interpreters at once: the first one's output is live, the other's follows when both have ended.

Usage: side_by_side.py [PYTEST ARGUMENT]...
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
# A process has one settings module: the tests of the Django example need a process of their own.
DJANGO_EXAMPLE = ["-m", "pytest", "--ds=teashop.settings", "example_django"]


def main() -> None:
    """Run both, and fail if any command of either did."""
    arguments = sys.argv[1:]
    coverage = [sys.executable, "-m", "coverage", "run"]
    newest = [sys.executable, str(ROOT / "tools" / "newest.py"), "--"]
    oldest_first = [[*coverage, "-m", "pytest", *arguments], [*coverage, *DJANGO_EXAMPLE]]
    newest_first = [[*newest, "-m", "pytest", "-q", *arguments], [*newest, *DJANGO_EXAMPLE, "-q"]]
    with tempfile.TemporaryFile() as output, ThreadPoolExecutor(1) as beside:
        other = beside.submit(run, newest_first, output)
        statuses = run(oldest_first) + other.result()
        output.seek(0)
        sys.stdout.flush()
        shutil.copyfileobj(output, sys.stdout.buffer)
        sys.stdout.flush()
    sys.exit(1 if any(statuses) else 0)


def run(commands: list[list[str]], output: IO[bytes] | None = None) -> list[int]:
    """Run commands one after the other.

    Args:
        commands: In order.
        output: Takes all that they print.

    Returns:
        Their exit statuses.
    """
    return [
        subprocess.run(command, check=False, cwd=ROOT, stdout=output, stderr=output).returncode
        for command in commands
    ]


if __name__ == "__main__":
    main()
