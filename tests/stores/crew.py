"""Processes of a fleet, and how to wait for what they come to."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).with_name("worker_process.py")
PATIENCE = 30.0  # on a machine that does much else


class Hand:
    """One worker process."""

    def __init__(
        self,
        store: str,
        settings: dict[str, object],
        namespace: str = "test",
        environment: dict[str, str] | None = None,
    ) -> None:
        command = [sys.executable, "-W", "error", str(SCRIPT), store, namespace, json.dumps(settings)]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environment or {})},
        )

    def ask(self, command: str, **arguments: Any) -> Any:
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps([command, arguments]) + "\n")
        stdin.flush()
        readable, _, _ = select.select([stdout], [], [], PATIENCE)
        assert readable, f"{command}: no answer"
        line = stdout.readline()
        assert line, f"{command}: the worker died: {self.process.stderr.read()}"
        return json.loads(line)

    def trip(self) -> None:
        for _ in range(3):
            assert self.ask("call", fails=True) == "failure"

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.end()

    def leave(self) -> float:
        """Let the process come to its own end; return how long that took (seconds)."""
        started = time.monotonic()
        self.process.stdin.close()
        self.process.wait(PATIENCE)
        return time.monotonic() - started

    def end(self) -> str:
        if self.process.stdin and not self.process.stdin.closed:
            with suppress(BrokenPipeError):
                self.process.stdin.close()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        errors = self.process.stderr.read()
        self.process.stdout.close()
        self.process.stderr.close()
        return errors


@contextmanager
def crew(
    store: str, size: int = 2, environment: dict[str, str] | None = None, **settings: object
) -> Iterator[list[Hand]]:
    """Start some workers, known to the store before the test begins."""
    policy = {
        "failure_threshold": 3,
        "recovery_timeout": 1,
        "recovery_jitter": 0,
        "probe_timeout": 2,
        **settings,
    }
    hands = [Hand(store, policy, environment=environment) for _ in range(size)]
    try:
        for hand in hands:
            assert hand.ask("ready"), hand.ask("health")
        yield hands
    finally:
        for hand in hands:
            if hand.process.stdout and not hand.process.stdout.closed:
                hand.end()


def until(told: Callable[[], object], seconds: float = 20.0, what: str = "") -> float:
    """Wait until something is so; return how long it took (seconds)."""
    started = time.monotonic()
    while not told():
        assert time.monotonic() - started < seconds, f"not so within {seconds} s {what}"
        time.sleep(0.005)
    return time.monotonic() - started
