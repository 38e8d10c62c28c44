"""What a worker of the demo's shop tells: every transition of its breakers, to the demo's feed."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import threading
import time
from typing import Final

from recloser.core.events import Event, StateChanged
from recloser.demo.feed import Report, Standing
from recloser.registry import Registry
from recloser.stores.health import Connection

LOOK_SECONDS: Final = 0.1


class Reporter:
    """Writes this worker's transitions to the demo's feed, and ends the server when the demo is gone.

    Args:
        feed: `host:port` of the feed.
        registry: Whose store is looked at.
    """

    def __init__(self, feed: str, registry: Registry) -> None:
        self._registry = registry
        self._store = ""
        host, _, port = feed.partition(":")
        try:
            self._feed = socket.create_connection((host, int(port)))
        except OSError:
            end_server()  # or it would start this worker again and again
            raise
        threading.Thread(target=self._outlive_nobody, name="demo-feed", daemon=True).start()

    def tell(self, breaker: str, state: str) -> None:
        """Say what a breaker's state is at first."""
        self._send(
            Report(
                worker=os.getpid(),
                breaker=breaker,
                state=state,
                cause="",
                retry_after=0.0,
                at=time.monotonic(),
                epoch=[],
            )
        )

    def __call__(self, event: Event) -> None:
        """Report a transition."""
        if isinstance(event, StateChanged):
            self._send(
                Report(
                    worker=os.getpid(),
                    breaker=event.breaker,
                    state=event.new.prose,
                    cause=str(event.cause),
                    retry_after=event.retry_after,
                    at=event.at,
                    epoch=list(event.epoch),
                )
            )

    def _send(self, line: Report | Standing) -> None:
        self._feed.sendall(json.dumps(line).encode() + b"\n")

    def _outlive_nobody(self) -> None:
        # The demo never writes: there is something to read when it has ended, however it ended.
        while not select.select([self._feed], [], [], LOOK_SECONDS)[0]:
            self._look()
        end_server()

    def _look(self) -> None:
        health = self._registry.store_health
        if health.connection is Connection.NONE:
            return
        store = str(health.connection)
        if health.connection is Connection.DOWN:
            store = f"unreachable since {time.strftime('%H:%M:%S', time.localtime(health.since))}"
        if store != self._store:
            self._store = store
            self._send(Standing(worker=os.getpid(), store=store))


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
    reporter = Reporter(os.environ["DEMO_FEED"], registry)
    breakers_off = os.environ.get("DEMO_BREAKERS") == "off"
    registry.ready()  # a worker that comes in place of one that was killed knows what is open before it serves
    for name, breaker in registry.items():
        if breakers_off:
            breaker.shadow(by="recloser demo", reason="the same traffic without breakers")
        reporter.tell(name, "off" if breakers_off else breaker.state.prose)
    if not breakers_off:
        registry.add_listener(reporter)
