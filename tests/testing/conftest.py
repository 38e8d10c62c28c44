"""Breakers that a test may hold: real clocks, and a policy with round numbers."""

from __future__ import annotations

import pytest

from recloser import CircuitBreaker


@pytest.fixture
def depot() -> CircuitBreaker:
    return CircuitBreaker("depot", failure_threshold=3, recovery_timeout=30, recovery_jitter=0)
