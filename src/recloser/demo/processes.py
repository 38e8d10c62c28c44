"""Child processes that end when they should, with everything that they started."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Self

GRACE_SECONDS = 4.0
LOG_TAIL_BYTES = 2_000
# Before a command of somebody who reads nothing, and so would outlive a demo that was killed: this shell does not.
UNTIL_STDIN_ENDS = ("/bin/sh", "-c", '"$@" 1>&2 & read -r _; kill -9 $!', "sh")


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


class Child:
    """A process in a session of its own: stopping it stops its descendants too.

    Its stdin is a pipe that ends with this process, so that it may notice; what it writes to stderr is kept.

    Args:
        command: The program and its arguments.
        environment: Variables set over this process's own.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by stop()
        self._process = subprocess.Popen(  # noqa: S603 - our own programs
            command,
            env=os.environ | dict(environment or {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """The process's id, and that of its group."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def wait(self) -> int:
        """Wait for its end and return its exit status. Blocks."""
        return self._process.wait()

    def read_line(self) -> str:
        """Wait for a line of its stdout; `""` when it has ended."""
        stdout = self._process.stdout
        return stdout.readline().decode() if stdout else ""

    def complaints(self) -> str:
        """The end of what it wrote to stderr."""
        size = os.fstat(self._errors.fileno()).st_size
        return os.pread(self._errors.fileno(), LOG_TAIL_BYTES, max(0, size - LOG_TAIL_BYTES)).decode(
            errors="replace"
        )

    def stop(self) -> None:
        """Ask it to end, wait a bounded time, then kill whatever is left of its group. Blocks."""
        if self.alive:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(GRACE_SECONDS)
        with suppress(ProcessLookupError, PermissionError):  # nobody is left, or nobody but the dead
            os.killpg(self.pid, signal.SIGKILL)
        self._process.communicate()
        self._errors.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
