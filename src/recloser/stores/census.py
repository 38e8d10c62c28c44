"""Whether the workers of a fleet believe what the store holds."""

from __future__ import annotations

from typing import Final

from recloser.stores.view import FleetView

SETTLED: Final = 6.0  # seconds after a change by which every worker has heard of it, and has said so


def disagreeing(view: FleetView) -> int:
    """Count the workers that follow another epoch of some breaker than the store's, long after it began.

    Args:
        view: Of the fleet.
    """
    settled = {
        name: shared.record.epoch
        for name, shared in view.breakers.items()
        if shared.record.cause is not None and view.now - shared.record.since > SETTLED
    }
    return sum(
        any(
            name in settled and belief.epoch != settled[name] for name, belief in heard.worker.beliefs.items()
        )
        for heard in view.workers
    )
