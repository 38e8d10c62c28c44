"""Which of the processes that share a directory are alive: each locks a file of its own.

The kernel frees the lock however a process ends, so that no server's hook is needed to forget what a dead worker
said of the present (its circuits' states, not its counts).
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

from prometheus_client.multiprocess import mark_process_dead  # pyright: ignore[reportUnknownVariableType]

if sys.platform != "win32":
    import fcntl


class Presence:
    """This process's lock among those of its siblings.

    Args:
        directory: What they share.
    """

    def __init__(self, directory: str) -> None:
        self._directory = Path(directory)

    def announce(self) -> None:
        """Say that this process lives. Called again in a fork's child, whose parent's lock is not its own."""
        if sys.platform == "win32":
            return
        path = self._path(os.getpid())
        unlocked = path.with_suffix(".new")
        # Locked before it can be found under its name. Open for as long as the process lives.
        self._file = unlocked.open("wb")
        with suppress(OSError):
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            unlocked.rename(path)

    def bury_dead(self) -> None:
        """Remove what dead siblings said of the present."""
        if sys.platform == "win32":
            return
        os.utime(self._file.fileno())  # what looks old is removed from temporary folders
        for path in self._directory.glob("recloser_*.lock"):
            pid = path.stem.rpartition("_")[2]
            if pid == str(os.getpid()):
                continue
            with suppress(OSError), path.open("ab") as file:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises while its process lives
                mark_process_dead(pid, str(self._directory))  # type: ignore[no-untyped-call]
                path.unlink()

    def _path(self, pid: int) -> Path:
        return self._directory / f"recloser_{pid}.lock"
