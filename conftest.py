"""What holds for every test of the project."""

from __future__ import annotations

import gc
import os
from collections.abc import Generator
from typing import TypeVar

import pytest
from hypothesis import settings

from proof import examples

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)

settings.register_profile("recloser", deadline=None, max_examples=examples(100))  # a busy machine is no fault
settings.load_profile("recloser")

CI = os.environ.get("CI", "").lower() in {"1", "true", "yes"}


def pytest_collection_finish() -> None:
    """Spare the garbage collector what stays until the end anyway: thousands of tests and all that they import."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 20, 20)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let no test be skipped in CI: a missing browser, server or interpreter is a failure there."""
    report = yield
    return _unskipped(report)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for whole modules."""
    report = yield
    return _unskipped(report)


def _unskipped(report: Report) -> Report:
    if CI and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not allow: {report.longrepr}"
    return report
