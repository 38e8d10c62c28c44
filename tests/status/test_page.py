"""The page in a real browser, over a real fleet: two uvicorn workers that share a SQLite store."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect, sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
PATIENCE = 20.0  # seconds; no wait on the page is longer
START = 60.0  # nor one for the workers

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason="needs chromium: apt-get install chromium")


class Site:
    def __init__(self, folder: Path) -> None:
        self.broken = folder / "broken"
        self.broken.mkdir()
        self.store = f"sqlite:///{folder / 'store.db'}"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        command = [
            "uvicorn",
            "watched_shop:app",
            "--workers",
            "2",
            "--port",
            str(port),
            "--log-level",
            "critical",
        ]
        environment = {**os.environ, "STORE": self.store, "BROKEN": str(self.broken)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", *command],
            env=environment,
            cwd=Path(__file__).parent,
            start_new_session=True,
        )

    def ready(self) -> None:
        deadline = time.monotonic() + START
        while time.monotonic() < deadline:
            try:
                if len(self.status()["workers"]) == 2:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.1)
        raise AssertionError("the shop did not start")

    def status(self):
        return httpx.get(f"{self.url}/breakers/", headers={"cookie": "user=ann"}).json()

    def entry(self, name):
        return next(entry for entry in self.status()["breakers"] if entry["name"] == name)

    def detail(self, name):
        return httpx.get(f"{self.url}/breakers/b/{name}", headers={"cookie": "user=ann"}).json()["breaker"]

    def call(self, name: str = "inventory") -> str:
        return httpx.get(f"{self.url}/call/{name}").json()["outcome"]

    def end(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    site = Site(tmp_path_factory.mktemp("site"))
    try:
        site.ready()
        yield site
    finally:
        site.end()


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(site, browser):
    """Ann's page; whatever its console complains about fails the test."""
    yield from visited(site, browser)


def visited(site, browser, **settings):
    context = browser.new_context(**settings)
    context.add_cookies([{"name": "user", "value": "ann", "url": site.url}])
    context.set_default_timeout(PATIENCE * 1000)
    page = context.new_page()
    complaints = []
    page.on("console", lambda message: message.type == "error" and complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{site.url}/breakers/")
    yield page
    context.close()
    assert not [text for text in complaints if "409" not in text]


def row(page, name):
    return page.locator(f'#breakers tr[data-name="{name}"]')


def says(locator, text):
    expect(locator).to_contain_text(text, timeout=PATIENCE * 1000)


def test_the_page_follows_a_trip_and_a_recovery(site, page):
    """Without being loaded again: why it opened, what failed, who agrees, how probes do, and that it closed."""
    says(page.locator("#link"), "Live")
    inventory = row(page, "inventory")
    (site.broken / "inventory").touch()
    until(lambda: site.call() == "refused")
    says(inventory, "3 consecutive failures >= 3")
    says(inventory, "<b>cannot</b> reach https://***@inventory.example/")
    says(inventory, "2 of 2 agree")
    says(page.locator("#changes"), "3 consecutive failures >= 3")
    says(page.locator("#workers"), "inventory")
    assert page.locator("#breakers tbody tr").first.get_attribute("data-name") == "inventory"
    says(inventory, "probe with the next call")  # rather than in 0 s for as long as nobody calls
    (site.broken / "inventory").unlink()
    until(lambda: site.call() and site.detail("inventory")["state"] == "half_open")
    says(inventory.locator(".state"), "half-open")
    says(inventory, "0 of 1 good")
    until(lambda: site.call() == "success")
    says(inventory.locator(".state"), "closed")
    says(inventory, "2 of 2 agree")
    says(page.locator("#changes"), "1 successful probe")


def until(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


ACTIONS = {
    "Force open": "forced_open",
    "Force closed": "forced_closed",
    "Shadow": "shadow",
    "Reset": "shadow",
    "Automatic": "auto",
}


@pytest.mark.parametrize("how", ["mouse", "keyboard"])
def test_each_action_by_mouse_and_by_keyboard(site, page, how):
    """In the drawer; the fleet obeys."""
    says(page.locator("#link"), "Live")
    link = row(page, "payments").locator("th a")
    if how == "mouse":
        link.click()
    else:
        link.focus()
        page.keyboard.press("Enter")
    form = page.locator("dialog form")
    for button, mode in ACTIONS.items():
        epoch = form.locator('[name="epoch"]').input_value()
        form.locator('[name="reason"]').fill("a browser's test")
        act = form.get_by_role("button", name=button)
        if how == "mouse":
            act.click()
        else:
            act.focus()
            page.keyboard.press("Enter")
        says(page.locator("#told"), f"{button}: payments, in the whole fleet")
        entry = site.detail("payments")
        assert entry["mode"]["mode"] == mode
        assert mode == "auto" or entry["mode"]["by"] == "ann"
        expect(form.locator('[name="epoch"]')).not_to_have_value(epoch, timeout=PATIENCE * 1000)


def test_what_was_done_is_told_where_the_operator_looks(site, page):
    """Above an open drawer, which covers all else; below it nothing is seen or spoken."""
    says(page.locator("#link"), "Live")
    row(page, "payments").locator("th a").click()
    page.locator('dialog [name="reason"]').fill("nothing")
    page.locator("dialog form").get_by_role("button", name="Reset").click()
    told = page.locator("dialog #told")
    says(told, "Reset: payments, in the whole fleet")
    box = told.bounding_box()
    topmost = "([x, y]) => document.elementFromPoint(x, y).id"
    assert page.evaluate(topmost, [box["x"] + 9, box["y"] + 9]) == "told"
    page.locator("dialog .close").click()
    expect(page.locator("body > #told")).to_have_count(1)


def test_news_take_nothing_from_under_the_pointer(site, page, browser):
    """A click that lasts while its row is renewed is a click; the news come as soon as it is over."""
    for other in visited(site, browser):
        says(page.locator("#link"), "Live")
        says(other.locator("#link"), "Live")
        box = row(page, "reviews").locator("input")
        box.hover()
        page.mouse.down()
        act(site, "reviews", "shadow", "news")
        says(row(other, "reviews"), "bob: news")
        page.mouse.up()
        expect(box).to_be_checked()
        says(row(page, "reviews"), "bob: news")
    act(site, "reviews", "auto", "done")


def act(site, name, action, reason, duration=""):
    """What another operator does."""
    seen = httpx.get(f"{site.url}/breakers/b/{name}", headers={"cookie": "user=bob"}).json()
    body = {
        "reason": reason,
        "for": duration,
        "epoch": seen["breaker"]["epoch"],
        "token": seen["control"]["tokens"][action],
    }
    headers = {"cookie": "user=bob", "sec-fetch-site": "same-origin"}
    answer = httpx.post(f"{site.url}/breakers/b/{name}/{action}", json=body, headers=headers)
    assert answer.status_code == 200


def test_enter_presses_no_button(site, page):
    """Whoever has typed a reason has not chosen an action yet."""
    says(page.locator("#link"), "Live")
    sent = []
    page.on("request", lambda request: sent.append(request.method))
    row(page, "payments").locator("input").check()
    page.locator('#bulk fieldset [name="reason"]').fill("not yet")
    page.keyboard.press("Enter")
    row(page, "payments").locator("th a").click()
    page.locator('dialog [name="reason"]').fill("not yet")
    page.keyboard.press("Enter")
    page.locator("dialog .close").click()
    expect(page.locator("dialog")).to_be_hidden()
    assert "POST" not in sent
    assert site.entry("payments")["mode"]["mode"] == "auto"


def test_several_chosen_at_once(site, page):
    """By boxes, which outlive updates."""
    says(page.locator("#link"), "Live")
    bulk = page.locator("#bulk fieldset")
    for button, mode in (("Shadow", "shadow"), ("Automatic", "auto")):
        for name in ("payments", "mail"):
            box = row(page, name).locator("input")
            seen = box.input_value()
            assert seen == f"{name} {site.detail(name)['epoch']}"
            box.check()
        bulk.locator('[name="reason"]').fill("both")
        bulk.get_by_role("button", name=button).click()
        says(page.locator("#told"), "mail, in the whole fleet")
        for name in ("payments", "mail"):
            assert site.detail(name)["mode"]["mode"] == mode
            box = row(page, name).locator("input")
            expect(box).not_to_be_checked()
            epoch = site.detail(name)["epoch"]  # which the row gets with the next news
            expect(box).to_have_value(f"{name} {epoch}", timeout=PATIENCE * 1000)


def test_another_operator_was_faster(site, page):
    """The drawer's form names the epoch that was seen: a conflict, and what changed."""
    says(page.locator("#link"), "Live")
    row(page, "mail").locator("th a").click()
    form = page.locator("dialog form")
    form.locator('[name="reason"]').fill("mine")
    act(site, "mail", "shadow", "theirs")
    form.get_by_role("button", name="Force open").click()
    says(page.locator("#told"), "mode shadow set by bob (theirs)")


def test_a_breakers_own_page_stands_still_only_while_somebody_acts(site, page):
    """It asks for news, tells when it does not, and an act upon what it showed leads back to what is."""
    page.goto(f"{site.url}/breakers/b/mail")
    act(site, "mail", "shadow", "news")
    says(page.locator("dl"), "bob: news")
    page.fill('[name="reason"]', "mine")
    act(site, "mail", "auto", "unseen")
    says(page.locator("#link"), "Stands still while you are at it")
    assert page.locator("dl").get_by_text("bob: news").is_visible()
    page.get_by_role("button", name="Force open").click()
    says(page.locator(".notice"), "mail has changed")
    page.get_by_role("link", name="mail as it is now").click()
    page.fill('[name="reason"]', "mine")
    page.get_by_role("button", name="Force open").click()
    says(page.locator(".notice"), "Force open: done.")
    assert page.url.endswith("/b/mail")
    act(site, "mail", "auto", "done")


def test_forms_work_without_javascript(site, browser):
    """Filter, breaker, action: pages and forms alone."""
    for page in visited(site, browser, java_script_enabled=False):
        page.fill('#filter [name="search"]', "pay")
        page.click("#filter button")
        assert page.locator("#breakers tbody tr").count() == 1
        page.click('tr[data-name="payments"] th a')
        page.fill('[name="reason"]', "no script")
        page.get_by_role("button", name="Reset").click()
        says(page.locator('.notice[role="status"]'), "Reset: done.")
        says(page.locator(".timeline"), "reset by ann: no script")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing(site, browser, scheme, width):
    """Neither in the table nor in the drawer, in any colours, on any screen; nothing runs off a phone's side."""
    from axe_playwright_python.sync_playwright import Axe

    # axe comes in by the debugger's door, which the page's policy does not guard.
    for page in visited(site, browser, color_scheme=scheme, viewport={"width": width, "height": 844}):
        says(page.locator("#link"), "Live")
        assert found(Axe().run(page)) == []
        for size in {width, 600, 1000}:
            page.set_viewport_size({"width": size, "height": 844})
            assert page.evaluate("document.documentElement.scrollWidth") <= size
        page.set_viewport_size({"width": width, "height": 844})
        row(page, "payments").locator("th a").click()
        says(page.locator("dialog"), "What each worker believes")
        for summary in page.locator("dialog summary").all():
            summary.click()
        assert found(Axe().run(page)) == []


def found(results):
    violations = results.response["violations"]
    return [
        (each["id"], [node["html"][:200] for node in each["nodes"]])
        for each in violations
        if each["impact"] in ("serious", "critical")
    ]


def test_the_terminal_sees_the_same(site):
    """At the store, and through the endpoint."""
    commands = [["--store", site.store], ["--url", f"{site.url}/breakers", "--header", "cookie:user=ann"]]
    for where in commands:
        ran = subprocess.run(
            [Path(sys.executable).with_name("recloser"), "status", "--json", "--namespace", "shop", *where],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        told = json.loads(ran.stdout)
        assert {entry["name"] for entry in told["breakers"]} >= {"inventory", "payments", "mail"}
        assert re.match("sqlite:", told["store"]["address"])
