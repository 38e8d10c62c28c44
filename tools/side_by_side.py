"""Run lint and all tests, some at a time: on this interpreter and on the newest one, and those of the core's coverage.

Tracing makes tests twice as slow, so it is asked only of those that drive the core directly; what takes whole
fleets and browsers is run on this interpreter alone; and of the newest one is only asked whether anything differs.

Usage: side_by_side.py [PYTEST ARGUMENT]...
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeAlias

ROOT: Final = Path(__file__).resolve().parent.parent
COVERING: Final = [
    "tests/core",
    "tests/stores/test_counting.py",
    "tests/stores/test_forks.py",
    "tests/stores/test_hostile.py",
    "tests/stores/test_hub.py",
    "tests/stores/test_operating.py",
    "tests/stores/test_probing.py",
    "tests/testing/test_kit_faults.py",
    "tests/testing/test_kit_states.py",
    "tests/test_vectors.py",
]
STORMS: Final = [  # they trace or fork for themselves, thousands of times
    "tests/core/test_fork_storms.py",
    "tests/core/test_interruptions.py",
    "tests/core/test_memory.py",
]
DEMOS: Final = [  # whole demos, and what else lasts as long as it is told to
    "tests/stores/test_soak.py",
    "tests/test_demo.py",
]
FLEETS: Final = [  # processes and servers: not about the interpreter
    "tests/deferred/test_executors.py",
    "tests/deferred/test_killed.py",
    "tests/metrics/test_multiprocess.py",
    "tests/stores/test_equivalence.py",
    "tests/stores/test_faults.py",
    "tests/stores/test_lifecycles.py",
    "tests/stores/test_processes.py",
    "tests/stores/test_redis_faults.py",
    "tests/stores/test_redis_ways.py",
    "tests/stores/test_wall_clocks.py",
    "tests/test_shared_cache.py",
    "tests/testing/test_plugin.py",
]
PAGES: Final = [  # browsers, documents and budgets: nor are these
    "example_fastapi/tests",
    "tests/metrics/test_alerts.py",
    "tests/metrics/test_prometheus_server.py",
    "tests/retry/test_storm.py",
    "tests/status/test_openapi.py",
    "tests/status/test_page.py",
    "tests/status/test_streams.py",
    "tests/test_architecture.py",
    "tests/test_benchmarks.py",
    "tests/test_docs.py",
]
ONCE: Final = [*DEMOS, *FLEETS, *PAGES]
BROWSED: Final = ["example_django/tests/test_admin_page.py"]

AT_ONCE: Final = 3  # on two processors: many tests wait
PUNCTUAL: Final = "demos and soaks"  # counts for two: a demo on a busy machine tells another story

Job: TypeAlias = list[list[str]]


def jobs(arguments: list[str]) -> dict[str, Job]:
    """Say what to run: names to commands that follow one another. First what is long."""
    pytest = [sys.executable, "-m", "pytest", *arguments]
    covered = [sys.executable, "-m", "coverage", "run", "-m", "pytest", *arguments]
    brief = ["env", "RECLOSER_PROOF=brief", sys.executable]
    newest = [*brief, str(ROOT / "tools" / "newest.py"), "--", "-m", "pytest", "-q", *arguments]
    # What the core's tests need is little, and a small process forks fast. And a process has one settings module: the
    # tests of the Django example need a process of their own.
    core = ["-p", "no:django", *COVERING]
    rest = ignoring([*ONCE, *COVERING])
    django = ["--ds=teashop.settings", "example_django"]
    return {
        PUNCTUAL: [[*pytest, *DEMOS]],
        "the newest interpreter": [
            [*newest, *core],
            [*newest, *rest],
            [*newest, *django, *ignoring(BROWSED)],
        ],
        "all but the other jobs": [[*pytest, *rest]],
        "fleets": [[*pytest, *FLEETS]],
        "pages and documents": [[*pytest, *PAGES]],
        "lint": [[os.environ.get("MAKE", "make"), "lint"]],
        "the Django example": [[*pytest, *django]],
        "the core, covered": [[*covered, *core, *ignoring(STORMS)]],
        "storms": [[*pytest, *STORMS]],
    }


def ignoring(paths: list[str]) -> list[str]:
    """Tell pytest to leave paths out."""
    return [f"--ignore={path}" for path in paths]


class Desk:
    """Prints what each job has printed, as soon as it has ended."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._door = threading.Lock()
        self._places = threading.Semaphore(AT_ONCE)

    def run(self, name: str, job: Job) -> bool:
        """Run the commands of a job, whether or not one fails, and tell whether all went well."""
        places = 2 if name == PUNCTUAL else 1
        with self._door:
            for _ in range(places):
                self._places.acquire()
        try:
            return self._run(name, job)
        finally:
            self._places.release(places)

    def _run(self, name: str, job: Job) -> bool:
        self._say(f"{name}: started")
        began = time.monotonic()
        with tempfile.TemporaryFile() as output:
            statuses = [
                subprocess.run(command, check=False, cwd=ROOT, stdout=output, stderr=output).returncode
                for command in job
            ]
            output.seek(0)
            with self._turn:
                shutil.copyfileobj(output, sys.stdout.buffer)
                sys.stdout.flush()
        is_well = not any(statuses)
        self._say(f"{name}: {'passed' if is_well else 'FAILED'} after {time.monotonic() - began:.0f} s")
        return is_well

    def _say(self, text: str) -> None:
        with self._turn:
            print(text, flush=True)


def main() -> None:
    """Run all jobs, and fail if any did."""
    desk = Desk()
    planned = jobs(sys.argv[1:])
    with ThreadPoolExecutor(len(planned)) as beside:
        ended = list(beside.map(desk.run, planned, planned.values()))
    failed = [name for name, is_well in zip(planned, ended, strict=True) if not is_well]
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
