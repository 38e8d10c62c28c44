"""One worker of a benchmarked fleet, under web-like load: 0.3 ms of work, then 1 ms of waiting, one call in each turn.

It is led by lines on standard input, and answers each with a line of JSON. Usage: fleet_worker.py STORE BREAKERS
"""

from __future__ import annotations

import json
import resource
import sys
import threading
import time
from contextlib import suppress

from recloser import CallRejectedError, Registry
from recloser.core.events import StateChanged

CPU, WAIT = 0.0003, 0.001
FAR = 3600.0


def declaration(store: str, breakers: int) -> dict[str, object]:
    """Declare one breaker that trips by itself, and so many whose rates the store judges."""
    policy = {"failure_threshold": 3, "recovery_timeout": FAR, "recovery_timeout_max": FAR}
    rates = {"failure_rate_threshold": 0.5, "window_seconds": 60, "minimum_calls": 100_000}
    declared: dict[str, object] = {"bench": policy}
    declared |= {f"rated-{number}": {**policy, **rates} for number in range(breakers)}
    return {"BREAKERS": declared, "NAMESPACE": "bench", **({"STORE": store} if store else {})}


class Worker:
    def __init__(self, store: str, breakers: int) -> None:
        self.registry = Registry(declaration(store, breakers))
        self.breaker = self.registry["bench"]
        self.busy = threading.Event()
        self.longest: list[float] = []
        self.heard: dict[str, float] = {}
        self.breaker.add_listener(self._hear)
        threading.Thread(target=self._serve, daemon=True).start()

    def _hear(self, event: object) -> None:
        if isinstance(event, StateChanged):
            self.heard[event.new.value] = event.at

    def _serve(self) -> None:
        rated = [breaker for name, breaker in self.registry.items() if name != "bench"]
        while True:
            self.busy.wait()
            end = time.perf_counter() + CPU
            while time.perf_counter() < end:
                pass
            started = time.perf_counter()
            with suppress(CallRejectedError):
                self.breaker.call(abs, 1)
            self.longest.append(time.perf_counter() - started)
            for breaker in rated:
                breaker.call(abs, 1)
            time.sleep(WAIT)

    def ready(self) -> bool:
        return self.registry.ready(5)

    def work(self) -> None:
        self.busy.set()

    def rest(self) -> None:
        self.busy.clear()

    def trip(self) -> float:
        """Fail three times; return when the circuit opened (monotonic seconds, one clock for all processes)."""
        for _ in range(3):
            with suppress(ZeroDivisionError):
                self.breaker.call(lambda: 1 / 0)
        return self.heard["open"]

    def forget(self) -> None:
        self.heard.clear()

    def when(self, state: str) -> float | None:
        return self.heard.get(state)

    def reset(self) -> None:
        self.breaker.reset(by="bench", reason="again")

    def state(self) -> str:
        return self.breaker.state

    def calls(self) -> list[float]:
        """Return how long each call since the last time took (seconds)."""
        taken, self.longest = self.longest, []
        return taken

    def cpu(self) -> float:
        """Return the processor time of this process (seconds)."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        return used.ru_utime + used.ru_stime

    def close(self) -> None:
        self.registry.close()


def main() -> None:
    worker = Worker(sys.argv[1], int(sys.argv[2]))
    for line in sys.stdin:
        command, *arguments = json.loads(line)
        print(json.dumps(getattr(worker, command)(*arguments)), flush=True)
    worker.close()


if __name__ == "__main__":
    main()
