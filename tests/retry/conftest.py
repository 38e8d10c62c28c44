"""Breakers whose clocks stand still until a test moves them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from core.acting import Clock
from recloser import CircuitBreaker

Build = Callable[..., CircuitBreaker]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def build(clock: Clock) -> Build:
    def make(name: str = "payments", **knobs: Any) -> CircuitBreaker:
        return CircuitBreaker(name, clock=clock, wall_clock=clock.of_day, **knobs)

    return make


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return request.param
