"""Makes the README's pictures of the page, in the tests' browser: `python tests/status/picture.py docs`."""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from pathlib import Path

from playwright.sync_api import sync_playwright
from test_page import CHROMIUM, Site, act

SECONDS = 48.0
BREAKERS = ("inventory", "shipping", "payments", "search", "mail", "reviews")


def main(folder: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="shop-") as home:
        site = Site(Path(home))
        try:
            site.ready()
            photograph(site, folder)
        finally:
            site.end()


def photograph(site: Site, folder: Path) -> None:
    ended = threading.Event()
    visitors = [threading.Thread(target=visit, args=(site, name, ended)) for name in BREAKERS]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        pages = {}
        for scheme in ("light", "dark"):
            context = browser.new_context(color_scheme=scheme, viewport={"width": 1200, "height": 620})
            context.add_cookies([{"name": "user", "value": "ann", "url": site.url}])
            pages[scheme] = context.new_page()
            pages[scheme].goto(f"{site.url}/breakers/")
        for visitor in visitors:
            visitor.start()
        time.sleep(SECONDS / 4)
        (site.broken / "shipping").write_text("timed out after 2.0 s")
        time.sleep(SECONDS / 4)
        act(site, "payments", "force_open", "provider migration", "5m")
        act(site, "search", "shadow", "new limits on trial", "")
        time.sleep(SECONDS / 3)
        (site.broken / "inventory").write_text("connection refused")
        time.sleep(SECONDS / 6)
        for scheme, page in pages.items():
            page.screenshot(path=folder / f"status-{scheme}.png")
        ended.set()
        for visitor in visitors:
            visitor.join()
        browser.close()


def visit(site: Site, name: str, ended: threading.Event) -> None:
    while not ended.wait(0.2):
        site.call(name)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
