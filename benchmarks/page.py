"""How soon the admin page of a large fleet is painted, and how long its script works at an update, in a real browser."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.effort import Effort
from benchmarks.fleet import PATIENCE
from benchmarks.rows import Budget, Row
from recloser import Registry
from recloser.status.app import StatusApp

BREAKERS = 200
CHROMIUM = Path("/usr/bin/chromium")
FIRST_PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"


@dataclass
class PageCase:
    """All circuits open at once, which replaces every row: the dearest update there is."""

    name: str = f"admin page, {BREAKERS} breakers"
    painted: list[float] = field(default_factory=list)
    scripted: list[float] = field(default_factory=list)

    def measure(self, effort: Effort) -> None:
        from playwright.sync_api import sync_playwright

        size = min(BREAKERS, effort.breakers)
        registry = Registry({"BREAKERS": {f"service-{number}": {} for number in range(size)}})
        with _served(registry) as url, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
            for _ in range(min(5, effort.trips)):
                page = browser.new_page()
                page.goto(url)
                page.locator("#link", has_text="Live").wait_for()
                self.painted.append(page.evaluate(FIRST_PAINT))
                self.scripted.append(self._updated(page, registry))
                page.close()
            browser.close()

    def _updated(self, page, registry: Registry) -> float:
        last = f"tbody tr:nth-child({len(registry)}) .mode"
        page.wait_for_selector(last, state="detached")  # of the round before
        debugger = page.context.new_cdp_session(page)
        debugger.send("Performance.enable")
        before = _script_time(debugger)
        for breaker in registry.values():
            breaker.force_open(by="bench", reason="update")
        page.wait_for_selector(last)
        spent = _script_time(debugger) - before
        for breaker in registry.values():
            breaker.auto(by="bench", reason="update")
        return spent * 1e3

    def rows(self) -> list[Row]:
        return [
            Row(self.name, "first paint", min(self.painted), "ms", budget=Budget("<", 1000.0)),
            Row(self.name, "script of an update", min(self.scripted), "ms", budget=Budget("<", 50.0)),
        ]


def pages() -> list[PageCase]:
    """The case, where there is a browser."""
    return [PageCase()] if CHROMIUM.exists() else []


def _script_time(debugger) -> float:
    metrics = debugger.send("Performance.getMetrics")["metrics"]
    return next(metric["value"] for metric in metrics if metric["name"] == "ScriptDuration")


@contextmanager
def _served(registry: Registry) -> Iterator[str]:
    import uvicorn

    config = uvicorn.Config(
        StatusApp(registry, public=True),
        host="127.0.0.1",
        port=0,
        log_level="critical",
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            thread.join(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
