"""A misbehaving server, breakers with a clock that stands still, and each of the clients in turn."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from clients.callers import CALLERS, Caller, Opener
from clients.misbehaving import Misbehaving
from recloser.registry import Registry


class Clock:
    """A clock that stands still until it is told to move."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def server() -> Iterator[Misbehaving]:
    server = Misbehaving()
    yield server
    server.close()


@pytest.fixture
def policy() -> dict[str, object]:
    """What every breaker of the registry gets; tests ask for another by `parametrize`."""
    return {"failure_threshold": 3, "recovery_timeout": 10, "recovery_jitter": 0}


@pytest.fixture
def registry(policy: dict[str, object], clock: Clock) -> Iterator[Registry]:
    with Registry({"DEFAULTS": policy}, clock=clock, wall_clock=lambda: 1_700_000_000.0) as registry:
        yield registry


@pytest.fixture(params=CALLERS.values(), ids=CALLERS)
def opener(request: pytest.FixtureRequest) -> Opener:
    return request.param


@pytest.fixture
def caller(opener: Opener, registry: Registry) -> Iterator[Caller]:
    with opener(registry) as caller:
        yield caller
