"""Which of the processes that share a directory are alive: each holds the lock of a place of its own.

The kernel frees the lock however a process ends, so that no server's hook is needed to forget what a dead worker
said of the present (its circuits' states, not its counts). Whoever comes next takes the place, and goes on counting
in its files: however many workers are recycled, there are as many files as there were workers at once.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import IO, Final

from prometheus_client.multiprocess import mark_process_dead  # pyright: ignore[reportUnknownVariableType]

if sys.platform != "win32":
    import fcntl


PLACE: Final = "recloser"  # what the names of places begin with


class Presence:
    """This process's place among its siblings, from now on for as long as it lives.

    Args:
        directory: What they share.

    Attributes:
        place: Its name, which no living sibling has.
    """

    def __init__(self, directory: str) -> None:
        self._directory = Path(directory)
        self.place, self._lock = self._take()
        self._bury(self.place)

    def bury_dead(self) -> None:
        """Remove what dead siblings said of the present."""
        if self._lock is None:
            return
        os.utime(self._lock.fileno())  # what looks old is removed from temporary folders
        # A free place is left alone: whoever comes must not find it locked by one who only looks.
        told = {path.stem.rpartition("_")[2] for path in self._directory.glob(f"gauge_*_{PLACE}-*.db")}
        for place in told - {self.place}:  # to open one's own lock, and close it, would free it
            with suppress(OSError), self._path(place).open("ab") as lock:
                fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises while its process lives
                self._bury(place)

    def leave(self) -> None:
        """Let go of a place that is the parent's, in a fork's child, which may be given it if its parent has died."""
        if self._lock is not None:
            self._lock.close()

    def _take(self) -> tuple[str, IO[bytes] | None]:
        if sys.platform != "win32":
            for number in count():
                place = f"{PLACE}-{number}"
                lock = self._path(place).open("ab")
                try:
                    fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except (BlockingIOError, PermissionError):  # somebody lives there
                    lock.close()
                except OSError:  # a file system without locks
                    lock.close()
                    break
                else:
                    return place, lock
        return str(os.getpid()), None

    def _bury(self, place: str) -> None:
        mark_process_dead(place, str(self._directory))  # type: ignore[no-untyped-call]

    def _path(self, place: str) -> Path:
        return self._directory / f"{place}.lock"
