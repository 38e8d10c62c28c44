"""What Django's middleware costs a request that touches no breaker. Measured in a process of its own: settings are global."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

from benchmarks import web
from benchmarks.effort import Effort
from benchmarks.rows import Budget
from benchmarks.timing import Candidate, TimedCase

MIXIN = "MiddlewareMixin pass-through"
HYBRID = "hybrid pass-through"
_PEERS = {"wsgi": MIXIN, "asgi": HYBRID}
_STATEMENTS = {
    "wsgi": "handle(request)",
    "asgi": "try:\n    handle(request).send(None)\nexcept StopIteration:\n    pass",
}


@dataclass
class DjangoCase(TimedCase):
    """One interface, measured by a child that has settings."""

    interface: str = "wsgi"

    def measure(self, effort: Effort) -> None:
        command = [
            sys.executable,
            "-m",
            "benchmarks.django_requests",
            self.interface,
            str(effort.rounds),
            str(effort.loop),
        ]
        ran = subprocess.run(command, check=True, capture_output=True, text=True)
        for name, best in json.loads(ran.stdout).items():
            self.best[name] = min(self.best.get(name, inf), best)


def wsgi() -> DjangoCase:
    """The middleware called with a request, around a view that is there already."""
    return DjangoCase("Django, WSGI, no breaker touched", _wsgi({}), interface="wsgi")


def asgi() -> DjangoCase:
    """A whole request through Django's handler, with nothing else in the stack to hide behind.

    A hop to another thread would cost more than all of it.
    """
    return DjangoCase("Django, ASGI, no breaker touched", _asgi({}), interface="asgi")


def _wsgi(handlers: Mapping[str, object]) -> list[Candidate]:
    def handling(name, *rest, **more) -> Candidate:
        names = {"handle": handlers.get(name), "request": handlers.get("request")}
        return Candidate(name, _STATEMENTS["wsgi"], names, *rest, **more)

    return [
        *web.microsecond(),
        handling("bare", shown=False),
        handling(MIXIN, "bare", web.MICROSECOND),
        handling("recloser", "bare", web.MICROSECOND, Budget("<", 1.5)),
    ]


def _asgi(handlers: Mapping[str, object]) -> list[Candidate]:
    def handling(name, *rest, **more) -> Candidate:
        names = {"handle": handlers.get(name), "request": handlers.get("request")}
        return Candidate(name, _STATEMENTS["asgi"], names, *rest, **more)

    return [handling(HYBRID), handling("recloser", "", HYBRID, Budget("<=", 1.1))]


def _measure(interface: str, rounds: int, loop: float) -> dict[str, float]:
    from benchmarks import django_stack

    candidates = (
        _wsgi(django_stack.middleware()) if interface == "wsgi" else _asgi(django_stack.whole_requests())
    )
    case = TimedCase(interface, candidates, pieces=web.PIECES)
    case.measure(Effort(rounds, loop, 0, 0, 0))
    return case.best


if __name__ == "__main__":
    print(json.dumps(_measure(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))))
