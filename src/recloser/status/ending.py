"""Whether the server that carries this process has been told to end: uvicorn waits for its streams, and tells them nothing."""

from __future__ import annotations

import signal


def is_ending() -> bool:
    """Ask uvicorn's server, whose method handles SIGTERM while it serves; other servers are not known to end."""
    server: object = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return getattr(server, "should_exit", False) is True
