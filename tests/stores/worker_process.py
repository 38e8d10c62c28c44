"""A worker of a fleet as a process of its own, led line by line: a JSON command on standard input, its answer on output.

Usage: worker_process.py STORE NAMESPACE SETTINGS (JSON)
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import threading
import time

from recloser import CallRejectedError, Registry

NAME = "payments"


class Worker:
    """Obeys."""

    def __init__(self, store: str, namespace: str, settings: dict[str, object]) -> None:
        self.registry = Registry({"STORE": store, "NAMESPACE": namespace, "BREAKERS": {NAME: settings}})
        self.permits = []

    def call(self, fails: bool = False) -> str:
        try:
            self.registry[NAME].call(lambda: 1 / 0 if fails else 1)
        except ZeroDivisionError:
            return "failure"
        except CallRejectedError as error:
            return f"refused: {error.reason}"
        return "success"

    def acquire(self) -> str:
        try:
            self.permits.append(self.registry[NAME].acquire())
        except CallRejectedError as error:
            return f"refused: {error.reason}"
        return "admitted"

    def settle(self, how: str = "success") -> str:
        getattr(self.permits.pop(), how)()
        return how

    def probe(self, seconds: float = 10) -> str:
        """Ask until admitted."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            answer = self.acquire()
            if answer == "admitted":
                return answer
            time.sleep(0.01)
        return answer

    def ready(self, seconds: float = 5) -> bool:
        return self.registry.ready(seconds)

    def state(self) -> str:
        return self.registry[NAME].state

    def epoch(self) -> list[int]:
        return list(self.registry[NAME].snapshot().epoch)

    def health(self) -> str:
        return str(self.registry.store_health)

    def connection(self) -> str:
        return self.registry.store_health.connection

    def workers(self) -> int:
        view = self.registry.fleet()
        assert view is not None
        return len(view.workers)

    def stored(self) -> list[str]:
        view = self.registry.fleet()
        return [] if view is None else list(view.breakers)

    def mode(self, act: str, reason: str = "test") -> str:
        getattr(self.registry[NAME], act)(by="ann", reason=reason)
        return act

    def seen_mode(self) -> str:
        return self.registry[NAME].mode.mode

    def threads(self) -> list[str]:
        return sorted(thread.name for thread in threading.enumerate())

    def slowest(self, seconds: float = 0.4) -> float:
        """The longest of the calls in so much time, longer than the hub waits for an answer (seconds)."""
        longest, end = 0.0, time.perf_counter() + seconds
        while (started := time.perf_counter()) < end:
            self.call()
            longest = max(longest, time.perf_counter() - started)
            time.sleep(0.001)
        return longest

    def fork(self) -> dict[str, object]:
        """What a forked child sees and does: its state, that its calls count, and that it joins the fleet."""
        read, write = os.pipe()
        child = os.fork()
        if not child:
            os.close(read)
            found: dict[str, object] = {"before": self.call(), "ready": self.registry.ready(5)}
            found |= {"state": self.state(), "epoch": self.epoch(), "threads": self.threads()}
            os.write(write, json.dumps(found).encode())
            self.registry.close()
            os._exit(0)
        os.close(write)
        with os.fdopen(read) as told:
            found = json.loads(told.read())
        os.waitpid(child, 0)
        return found

    def fork_storm(self, forks: int) -> dict[str, object]:
        """Fork while other threads trip and reset the breaker; tell how many children saw a breaker that works."""
        stop = threading.Event()

        def disturb() -> None:
            while not stop.is_set():
                for _ in range(4):
                    self.call(fails=True)
                self.mode("reset")

        threads = [threading.Thread(target=disturb) for _ in range(2)]
        for thread in threads:
            thread.start()
        good = 0
        for _ in range(forks):
            child = os.fork()
            if not child:
                self.mode("reset")
                works = self.call() == "success" and self.call(fails=True) == "failure"
                os._exit(0 if works else 1)
            good += os.waitpid(child, 0)[1] == 0
        stop.set()
        for thread in threads:
            thread.join()
        return {"good": good, "of": forks}

    def hold_files(self, number: int) -> int:
        """Hold so many open files, as a server holds connections; return the highest descriptor."""
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 2 * number), hard))
        self.held = [os.open(os.devnull, os.O_RDONLY) for _ in range(number)]
        return self.held[-1]

    def limit_files(self, size: int) -> int:
        """Let no file grow beyond so many bytes: what a full disk does."""
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (size if size >= 0 else hard, hard))
        return size

    def close(self) -> str:
        self.registry.close()
        return "closed"


def main() -> None:
    worker = Worker(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))
    for line in sys.stdin:
        command, arguments = json.loads(line)
        try:
            answer = getattr(worker, command)(**arguments)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
