"""Breakers that a test may hold: real clocks, and a policy with round numbers."""

from __future__ import annotations

import gc

import pytest

from recloser import CircuitBreaker


@pytest.fixture(autouse=True, scope="module")
def alone() -> None:
    """Begin without the applications of earlier tests, whose breakers each test would take in hand."""
    gc.collect()


@pytest.fixture
def depot() -> CircuitBreaker:
    return CircuitBreaker("depot", failure_threshold=3, recovery_timeout=30, recovery_jitter=0)
