"""Breakers whose clocks stand still until a test moves them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from core.acting import Clock, Heard
from recloser import CircuitBreaker

Build = Callable[..., CircuitBreaker]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def build(clock: Clock) -> Build:
    """Make breakers that trip at the first failure and recover after exactly 10 s, unless a test says otherwise."""

    def make(name: str = "shop", **knobs: Any) -> CircuitBreaker:
        knobs.setdefault("random", lambda: 0.5)
        if "failure_rate_threshold" not in knobs and "slow_call_rate_threshold" not in knobs:
            knobs.setdefault("failure_threshold", 1)
        knobs.setdefault("recovery_timeout", 10)
        knobs.setdefault("recovery_jitter", 0)
        return CircuitBreaker(name, clock=clock, wall_clock=clock.of_day, **knobs)

    return make


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return request.param
