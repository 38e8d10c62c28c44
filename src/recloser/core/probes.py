"""The probes of one half-open epoch: places, leases with deadlines, verdicts (SEMANTICS C4, C5)."""

from __future__ import annotations

from typing import Final

from recloser.core.events import Cause, Rule
from recloser.core.policy import Policy
from recloser.core.state import Epoch

EXPIRIES_THAT_REOPEN: Final = 3


class Lease:
    """A probe's right to run until a deadline.

    `epoch` tells whether its verdict still matters, `id` what a fleet knows it by.
    """

    __slots__ = ("deadline", "epoch", "id")

    def __init__(self, epoch: Epoch, deadline: float, id: str = "") -> None:  # noqa: A002 - that is its name
        self.epoch = epoch
        self.deadline = deadline
        self.id = id


class Probes:
    """Who probes now, and what probes have said so far.

    Args:
        policy: Whose bounds apply.
        epoch: The half-open epoch.
    """

    __slots__ = ("_epoch", "_policy", "active", "expired", "successes")

    def __init__(self, policy: Policy, epoch: Epoch) -> None:
        self._policy = policy
        self._epoch = epoch
        self.active: set[Lease] = set()
        self.expired: set[Lease] = set()
        self.successes = 0

    def expire(self, now: float) -> Cause | None:
        """Free the places whose lease has ended; too many without a verdict re-open."""
        late = {lease for lease in self.active if lease.deadline <= now}
        if late:
            self.active -= late
            self.expired |= late
        if len(self.expired) >= EXPIRIES_THAT_REOPEN:
            return Cause(Rule.PROBE_TIMEOUT, len(self.expired))
        return None

    def grant(self, now: float) -> Lease | None:
        """Take a free place, if there is one."""
        if len(self.active) >= self._policy.half_open_max_calls:
            return None
        lease = Lease(self._epoch, now + self._policy.probe_timeout)
        self.active.add(lease)
        return lease

    def give_back(self, lease: Lease) -> None:
        """Free the place of a probe that ended without a verdict. Its expiry, if it had expired, stands."""
        self.active.discard(lease)

    def settle(self, lease: Lease, *, failed: bool, slow: bool) -> Cause | None:
        """Count a verdict, also one that comes after the lease's deadline.

        Returns:
            The rule that re-opens or closes, or `None`: more successes are needed.
        """
        self.active.discard(lease)
        self.expired.discard(lease)
        if failed:
            return Cause(Rule.PROBE_FAILED, 1)
        if slow:
            return Cause(Rule.PROBE_SLOW, 1)
        self.successes += 1
        if self.successes < self._policy.success_threshold:
            return None
        return Cause(Rule.PROBES_SUCCEEDED, self.successes, 0, self._policy.success_threshold)

    def next_place(self) -> float:
        """When a place will be free at the latest (monotonic seconds)."""
        return min(lease.deadline for lease in self.active)
