"""What a shared store costs, and how fast a trip reaches the other processes."""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import targets
from benchmarks.effort import Effort
from benchmarks.rows import Budget, Row
from benchmarks.timing import Candidate, TimedCase
from recloser import Registry
from recloser.demo.meeting import NO_SERVER, server_program
from recloser.demo.processes import free_port

WORKERS = 4
ALONE, LED = "alone", "store, hub running"
PATIENCE = 10.0
SCRIPT = Path(__file__).with_name("fleet_worker.py")


# -- one process: the hub beside the calls ---------------------------------------------------------------------


def closed() -> TimedCase:
    """The hot path, with a hub beside it and without."""
    candidates = [
        Candidate("bare", "f(1)", {"f": targets.charge}, shown=False),
        Candidate(ALONE, "f(1)", {"f": _breaker(None)(targets.charge)}, "bare"),
        Candidate(LED, "f(1)", {"f": _breaker(_store())(targets.charge)}, "bare", ALONE, Budget("<=", 1.1)),
    ]
    return TimedCase("closed, with a fleet", candidates)


def failing() -> TimedCase:
    """A failing call each second call; nothing trips."""
    statement = targets.FAILED.format(call="f(1)") + "\ng(1)"
    names = {ALONE: _breaker(None), LED: _breaker(_store())}
    candidates = [Candidate("bare", statement, {"f": targets.broken, "g": targets.charge}, shown=False)]
    for name, breaker in names.items():
        own = {"f": breaker(targets.broken), "g": breaker(targets.charge)}
        budget = Budget("<=", 1.1) if name == LED else None
        candidates.append(Candidate(name, statement, own, "bare", ALONE if budget else "", budget))
    return TimedCase("failing call, with a fleet", candidates)


def _breaker(store: str | None):
    declaration: dict[str, object] = {"BREAKERS": {"bench": {}}}
    registry = Registry(declaration if store is None else {**declaration, "STORE": store})
    registry["bench"].call(abs, 1)
    if not registry.ready(PATIENCE):
        raise RuntimeError(str(registry.store_health))
    return registry["bench"]


def _store() -> str:
    folder = TemporaryDirectory(prefix="recloser-bench-")
    atexit.register(folder.cleanup)
    return f"sqlite://{folder.name}/fleet/bench.db"


# -- four processes --------------------------------------------------------------------------------------------


class Hand:
    """One worker process."""

    def __init__(self, store: str, breakers: int = 0) -> None:
        command = [sys.executable, str(SCRIPT), store, str(breakers)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, command: str, *arguments: object):
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([command, *arguments]) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


@contextmanager
def crew(store: str, size: int, breakers: int = 0) -> Iterator[list[Hand]]:
    hands = [Hand(store, breakers) for _ in range(size)]
    try:
        for hand in hands:
            if not hand.ask("ready"):
                raise RuntimeError(f"no store at {store}")
        yield hands
    finally:
        for hand in hands:
            hand.end()


@contextmanager
def sqlite() -> Iterator[tuple[str, int]]:
    with TemporaryDirectory(prefix="recloser-bench-") as folder:
        yield f"sqlite://{folder}/fleet/bench.db", 0


@contextmanager
def valkey() -> Iterator[tuple[str, int]]:
    program = server_program()
    if program is None:
        raise RuntimeError(f"the benchmark needs {NO_SERVER}")
    with TemporaryDirectory(prefix="recloser-bench-") as folder:
        port = free_port()
        options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        with subprocess.Popen([program, *options], stdout=subprocess.DEVNULL) as server:
            try:
                _wait(lambda: _listens(port))
                yield f"redis://127.0.0.1:{port}/0", server.pid
            finally:
                server.kill()


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@dataclass
class PropagationCase:
    """How long after a trip in one worker the others have opened, all under web-like load."""

    kind: str
    p50: float
    p99: float
    taken: list[float] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"a trip reaches {WORKERS - 1} workers"

    def measure(self, effort: Effort) -> None:
        self.taken = []
        size = min(WORKERS, effort.workers)
        with STORES[self.kind]() as (store, _), crew(store, size) as hands:
            for hand in hands:
                hand.ask("work")
            time.sleep(0.3)
            for turn in range(effort.trips):
                for hand in hands:
                    hand.ask("forget")
                tripper = hands[turn % size]
                opened = tripper.ask("trip")
                for other in hands:
                    if other is not tripper:
                        self.taken.append((_heard(other, "open") - opened) * 1e3)
                tripper.ask("reset")
                for hand in hands:
                    _wait(lambda hand=hand: hand.ask("state") == "closed")

    def rows(self) -> list[Row]:
        ordered = sorted(self.taken)
        middle, late = statistics.median(ordered), ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
        return [
            Row(self.name, f"{self.kind}, p50", middle, "ms", budget=Budget("<", self.p50)),
            Row(self.name, f"{self.kind}, p99", late, "ms", budget=Budget("<", self.p99)),
        ]


@dataclass
class HungCase:
    """The slowest calls of workers whose store was stopped, against those of workers without any."""

    name: str = "calls while the store hangs"
    best: dict[str, float] = field(default_factory=dict)

    def measure(self, effort: Effort) -> None:
        for name in ("no store", "stopped"):
            with valkey() as (store, pid), crew(store if name == "stopped" else "", 2) as hands:
                if name == "stopped":
                    os.kill(pid, signal.SIGSTOP)
                try:
                    for hand in hands:
                        hand.ask("work")
                    time.sleep(effort.hang)
                    taken = sorted(duration for hand in hands for duration in hand.ask("calls"))
                finally:
                    os.kill(pid, signal.SIGCONT)
            late = taken[min(len(taken) - 1, int(len(taken) * 0.999))] * 1e3
            self.best[name] = min(self.best.get(name, late), late)

    def rows(self) -> list[Row]:
        control, hung = self.best["no store"], self.best["stopped"]
        return [
            Row(self.name, "no store, p99.9", control, "ms"),
            Row(self.name, "stopped, p99.9 beyond that", hung - control, "ms", budget=Budget("<", 1.0)),
        ]


@dataclass
class LoadCase:
    """What 50 active breakers in four workers ask of the server."""

    name: str = "a fleet's load"
    server: float = 0.0

    def measure(self, effort: Effort) -> None:
        size = min(WORKERS, effort.workers)
        with valkey() as (store, pid), crew(store, size, breakers=50) as hands:
            for hand in hands:
                hand.ask("work")
            time.sleep(0.5)
            self.server = _share(lambda: _cpu(pid), effort.hang)

    def rows(self) -> list[Row]:
        return [Row(self.name, "server, 50 active breakers", self.server, "% cpu", budget=Budget("<", 12.0))]


@dataclass
class IdleCase:
    """What hubs ask of processes that do nothing else: two at a store, of which each sees the other's heartbeats."""

    kind: str
    name: str = "an idle hub"
    shares: dict[int, float] = field(default_factory=dict)

    def measure(self, effort: Effort) -> None:
        for breakers in (50, 200):
            with STORES[self.kind]() as (store, _), crew(store, 2, breakers=breakers) as (hand, _):
                time.sleep(min(2.5, effort.hang * 2.5))  # until it has slowed down
                share = _share(lambda: hand.ask("cpu"), effort.hang * 2)
            self.shares[breakers] = min(share, self.shares.get(breakers, share))

    def rows(self) -> list[Row]:
        return [
            Row(self.name, f"{self.kind}, {breakers} breakers", share, "% cpu", budget=Budget("<", 0.5))
            for breakers, share in self.shares.items()
        ]


STORES: dict[str, Callable[[], object]] = {"sqlite": sqlite, "valkey": valkey}


def propagation() -> Sequence[PropagationCase]:
    return PropagationCase("sqlite", 30, 80), PropagationCase("valkey", 5, 25)


def idle() -> Sequence[IdleCase]:
    return IdleCase("sqlite"), IdleCase("valkey")


def _heard(hand: Hand, state: str) -> float:
    found: list[float] = []

    def told() -> bool:
        when = hand.ask("when", state)
        if when is not None:
            found.append(when)
        return when is not None

    _wait(told)
    return found[0]


def _wait(told: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not told():
        if time.monotonic() > end:
            raise RuntimeError("the fleet does not follow")
        time.sleep(0.01)


def _share(cpu: Callable[[], float], seconds: float) -> float:
    """Return what is used of one processor meanwhile, in percent."""
    before, started = cpu(), time.monotonic()
    time.sleep(seconds)
    return (cpu() - before) / (time.monotonic() - started) * 100


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
