"""What a worker of the demo's shop tells: every transition of its breakers, to the demo's feed."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading

from recloser.core.events import Event, StateChanged
from recloser.demo.feed import Report
from recloser.registry import Registry


class Reporter:
    """Writes this worker's transitions to the demo's feed, and ends the server when the demo is gone.

    Args:
        feed: `host:port` of the feed.
    """

    def __init__(self, feed: str) -> None:
        host, _, port = feed.partition(":")
        try:
            self._feed = socket.create_connection((host, int(port)))
        except OSError:
            end_server()  # or it would start this worker again and again
            raise
        threading.Thread(target=self._outlive_nobody, name="demo-feed", daemon=True).start()

    def tell(self, breaker: str, state: str, cause: str = "", retry_after: float = 0.0) -> None:
        """Send one line."""
        report = Report(
            worker=os.getpid(), breaker=breaker, state=state, cause=cause, retry_after=retry_after
        )
        self._feed.sendall(json.dumps(report).encode() + b"\n")

    def __call__(self, event: Event) -> None:
        """Report a transition."""
        if isinstance(event, StateChanged):
            self.tell(event.breaker, event.new.prose, str(event.cause), event.retry_after)

    def _outlive_nobody(self) -> None:
        self._feed.recv(1)  # the demo never writes: this returns when the demo has ended, however it ended
        end_server()


def end_server() -> None:
    """Ask the server, this worker's parent, to end."""
    os.kill(os.getppid(), signal.SIGTERM)


def report_on(registry: Registry) -> None:
    """Report a registry's breakers, as the environment says.

    `DEMO_FEED` is where to, and `DEMO_BREAKERS=off` runs without breakers: every one is in shadow mode,
    in which it neither refuses nor answers anything.

    Args:
        registry: The shop's.
    """
    reporter = Reporter(os.environ["DEMO_FEED"])
    breakers_off = os.environ.get("DEMO_BREAKERS") == "off"
    for name, breaker in registry.items():
        if breakers_off:
            breaker.shadow(by="recloser demo", reason="the same traffic without breakers")
        reporter.tell(name, "off" if breakers_off else breaker.state.prose)
    if not breakers_off:
        registry.add_listener(reporter)
