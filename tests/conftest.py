"""What holds for every test of this folder."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from fastapi.dependencies import models

from recloser.metrics import prometheus


@pytest.fixture(autouse=True, scope="module")
def forgotten() -> Iterator[None]:
    """Let FastAPI forget the endpoints of a module's tests; with them it remembers thousands of registries.

    What stays all the same is pytest's, until the end: the garbage collector need not look at it in each module.
    """
    yield
    for remembered in vars(models).values():
        if hasattr(remembered, "cache_clear"):
            remembered.cache_clear()
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def exported_alone() -> Iterator[None]:
    """Take what was exported to Prometheus out of its registry, which a process has one of, and put it back.

    Whoever imports an application, as the tests of the examples do, exports it for as long as the process lives.
    """
    kept = _taken_out()
    yield
    _taken_out()
    _put_back(*kept)


def _taken_out() -> tuple[prometheus._Export | None, list[prometheus.Collector]]:
    present, included = prometheus._Export.present, list(prometheus._included)
    prometheus._Export.present = None
    prometheus._included.clear()
    for collector in _collectors(present, included):
        prometheus.REGISTRY.unregister(collector)
    return present, included


def _put_back(present: prometheus._Export | None, included: list[prometheus.Collector]) -> None:
    prometheus._Export.present = present
    prometheus._included.extend(included)
    for collector in _collectors(present, included):
        prometheus.REGISTRY.register(collector)


def _collectors(
    present: prometheus._Export | None, included: list[prometheus.Collector]
) -> list[prometheus.Collector]:
    return included if present is None else [present._collector, *included]
