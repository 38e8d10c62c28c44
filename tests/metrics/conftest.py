"""Registries whose clocks stand still, and what Prometheus would read of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import anyio
import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from http_tools import Clock
from recloser import Registry

Scrape = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make(clock: Clock) -> Callable[..., Registry]:
    """Make registries of breakers that trip at the first failure and recover after exactly 10 s."""

    def registry(routes: dict[str, Any] | None = None, /, **breakers: dict[str, Any]) -> Registry:
        defaults = {"failure_threshold": 1, "recovery_timeout": 10, "recovery_jitter": 0}
        return Registry(
            {"DEFAULTS": defaults, "BREAKERS": breakers, "ROUTES": routes or {}},
            clock=clock,
            wall_clock=clock.of_day,
            random=lambda: 0.5,
        )

    return registry


def get(app: Callable[..., object], path: str, **headers: str) -> httpx.Response:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app=app)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://shop.example") as client:
            return await client.get(path, headers=headers)

    return anyio.run(ask)


def parsed(text: str) -> Scrape:
    """Read an exposition as Prometheus would: each series once, by name and labels."""
    found: Scrape = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in found, f"{key} is told twice"
            found[key] = sample.value
    return found


def value(scrape: Scrape, name: str, **labels: str) -> float:
    return scrape[name, frozenset(labels.items())]


@pytest.fixture
def exported() -> Iterator[Callable[[Registry], Callable[[], Scrape]]]:
    """Export a registry for the test's duration, and return what scrapes it."""
    from recloser.metrics.prometheus import exposition, instrument

    ends = []

    def export(registry: Registry) -> Callable[[], Scrape]:
        ends.append(instrument(registry))
        return lambda: parsed(exposition(registry)[0].decode())

    yield export
    for end in ends:
        end()
