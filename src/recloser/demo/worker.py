"""The example shop as the demo runs it: the same app, with a listener that reports every transition.

uvicorn imports it as `recloser.demo.worker:app`, once per worker. The environment says where the feed is
(`DEMO_FEED`) and whether to run without breakers (`DEMO_BREAKERS=off`: every one is in shadow mode, in which it
neither refuses nor answers anything).
"""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from importlib import import_module
from typing import Final

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
    """Ask uvicorn, this worker's parent, to end."""
    os.kill(os.getppid(), signal.SIGTERM)


def report_on(registry: Registry, feed: str, *, breakers_off: bool) -> None:
    """Report the registry's breakers to the feed, after switching them off if asked to."""
    reporter = Reporter(feed)
    for name, breaker in registry.items():
        if breakers_off:
            breaker.shadow(by="recloser demo", reason="the same traffic without breakers")
        reporter.tell(name, "off" if breakers_off else breaker.state.prose)
    if not breakers_off:
        registry.add_listener(reporter)


_shop: Final = import_module("shop")  # found by uvicorn's --app-dir
app: Final[object] = _shop.app
report_on(_shop.registry, os.environ["DEMO_FEED"], breakers_off=os.environ.get("DEMO_BREAKERS") == "off")
