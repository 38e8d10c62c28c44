"""How callers wake the hub: by one byte, however many they are (SEMANTICS E2)."""

from __future__ import annotations

import selectors
import socket
from contextlib import suppress
from typing import Any, Final

# Not `select`: it refuses the high descriptors of a process that holds many connections.
_SELECTOR: Final[Any] = getattr(selectors, "PollSelector", selectors.SelectSelector)


class Wakeup:
    """A bell that a waiting thread hears together with its store's socket. Ringing neither waits nor raises."""

    __slots__ = ("_bell", "_ear", "_is_ringing")

    def __init__(self) -> None:
        self._ear, self._bell = socket.socketpair()  # a pipe could not be waited for everywhere
        self._ear.setblocking(False)
        self._bell.setblocking(False)
        self._is_ringing = False

    def ring(self) -> None:
        """Wake the waiting thread, or keep it from falling asleep."""
        if not self._is_ringing:
            self._is_ringing = True
            with suppress(OSError):  # full: it rings already; closed: nobody waits any more
                self._bell.send(b"\0")

    def wait(self, seconds: float, fileno: int | None) -> None:
        """Wait until somebody rings, `fileno` is readable, or so much time has passed."""
        ready: list[Any] = []
        with (
            _SELECTOR() as sources,
            suppress(OSError, ValueError),
        ):  # the store has closed its socket meanwhile
            sources.register(self._ear, selectors.EVENT_READ)
            if fileno is not None:
                sources.register(fileno, selectors.EVENT_READ)
            ready = sources.select(max(0.0, seconds))
        self._is_ringing = False  # before the bytes are read: who rings from now on is heard the next time
        if not any(source.fileobj is self._ear for source, _ in ready):
            return
        with suppress(OSError):
            while self._ear.recv(4096):
                pass

    def close(self) -> None:
        """Be silent from now on; in a fork's child that is its own copy alone."""
        self._ear.close()
        self._bell.close()
