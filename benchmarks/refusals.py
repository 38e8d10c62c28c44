"""What a refused call costs while the circuit is open: all of it, from the call to the handler."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from benchmarks import targets
from benchmarks.calls import OWN
from benchmarks.peers import Peer, Use
from benchmarks.rows import Budget
from benchmarks.timing import Candidate, TimedCase
from recloser import CircuitBreaker, CircuitOpenError


def refusal(peers: Iterable[Peer]) -> TimedCase:
    breaker = CircuitBreaker("bench", recovery_timeout=targets.OPEN, recovery_timeout_max=targets.OPEN)
    own = Use("@", "f(1)", {"f": breaker(targets.broken)}, CircuitOpenError)
    candidates = [_candidate(OWN, own)]
    for peer in peers:
        use = peer.sync(targets.broken)
        candidates.append(_candidate(f"{peer.name} {use.form}", use, OWN, Budget(">", 1.0)))
    return TimedCase("open, refused call", candidates)


def _candidate(name: str, use: Use, to: str = "", budget: Budget | None = None) -> Candidate:
    trip(use)
    names = {**use.names, "refused": use.refused}
    return Candidate(
        name, targets.REFUSED.format(call=use.call), names, to=to, budget=budget, prepare=use.prepare
    )


def trip(use: Use) -> None:
    """Let a use of `broken` fail until it is refused.

    Raises:
        RuntimeError: It is not.
    """
    statement = compile(use.call, use.form, "exec")
    for _ in range(targets.FAILURES):
        with suppress(ConnectionError, use.refused):
            exec(statement, dict(use.names))
    try:
        exec(statement, dict(use.names))
    except use.refused:
        return
    except ConnectionError:
        pass
    raise RuntimeError(f"{use.refused.__module__} does not refuse after {targets.FAILURES} failures")
