"""Tests of applications with breakers: any state, any fault and any time, without a network and without waiting.

The pytest plugin gives all of it as the fixture `breakers`; other test runners enter `isolated()`.
"""

from recloser.testing.breakers import Breakers, isolated
from recloser.testing.clock import Clock
from recloser.testing.degraded import assert_degraded

__all__ = ["Breakers", "Clock", "assert_degraded", "isolated"]
