"""An operator steers the shop's breakers from the admin, in a real browser, with and without JavaScript."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Literal, TypeAlias

import httpx2
import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect, sync_playwright
from shop_processes import Downstream, manage, running_downstream, running_shop

from recloser.demo.stage import shop_environment

CHROMIUM = Path("/usr/bin/chromium")
PASSWORD = "steer-gently"  # noqa: S105
USERS = f"""
from django.contrib.auth.models import Permission, User
for name, permission in (("ann", "control_breaker"), ("vic", "view_breaker")):
    user = User.objects.create_user(name, password={PASSWORD!r}, is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename=permission))
"""

expect.set_options(timeout=30_000)  # milliseconds; a busy machine is slow
pytestmark = [
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"needs {CHROMIUM}: apt-get install chromium"),
    pytest.mark.timeout(240),
]


@pytest.fixture(scope="module")
def services() -> Iterator[Downstream]:
    with running_downstream() as services:
        yield services


@pytest.fixture(scope="module")
def url(services: Downstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The shop under `runserver`: one process, whose circuits the admin shows and steers.

    Its database has two users: ann may control the breakers, vic may view them.
    """
    home = tmp_path_factory.mktemp("admin")
    environment = {
        **shop_environment(services.urls),
        "DJANGO_SETTINGS_MODULE": "teashop.settings",
        "DATABASE": str(home / "db.sqlite3"),
        "ORDERS_QUEUE": str(home / "queue" / "orders.db"),
        "RECLOSER_DEFAULTS__RECOVERY_TIMEOUT": "600",
        "RECLOSER_DEFAULTS__RECOVERY_TIMEOUT_MAX": "600",
    }
    for arguments in (["migrate", "--verbosity", "0"], ["shell", "--command", USERS]):
        subprocess.run(manage(*arguments), env=os.environ | environment, check=True, timeout=60)  # noqa: S603
    with running_shop(
        lambda port: manage("runserver", f"127.0.0.1:{port}", "--noreload", "--insecure"), environment
    ) as shop:
        yield shop


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


Browsing: TypeAlias = Callable[..., AbstractContextManager[Page]]


@pytest.fixture
def browsing(browser: Browser, url: str) -> Browsing:
    """Log in to the admin, and open the list of breakers."""

    @contextmanager
    def log_in(
        user: str, *, scripts: bool = True, scheme: Literal["dark", "light"] = "light"
    ) -> Generator[Page]:
        context = browser.new_context(java_script_enabled=scripts, color_scheme=scheme)
        page = context.new_page()
        page.goto(f"{url}/admin/recloser/breaker/")
        page.get_by_label("Username").fill(user)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("heading", name="Circuit breakers").first).to_be_visible()
        yield page
        context.close()

    return log_in


def state_of(page: Page, breaker: str) -> str:
    row = page.get_by_role("row").filter(has=page.get_by_role("link", name=breaker, exact=True))
    return row.locator(".recloser-state").inner_text()


def row(page: Page, heading: str) -> Locator:
    return page.locator(".recloser-table tr", has=page.get_by_role("rowheader", name=heading))


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without"])
def test_an_operator_forces_a_circuit_open_and_back(
    browsing: Browsing, url: str, services: Downstream, scripts: bool
) -> None:
    """With a reason and an end; the page says so, and the next request gets what the circuit says."""
    reason = "the warehouse moves" if scripts else "the warehouse floods"
    assert "4 in stock" in httpx2.get(f"{url}/products/7").text
    asked = services.received("inventory")
    with browsing("ann", scripts=scripts) as page:
        assert state_of(page, "inventory") == "closed"
        page.get_by_role("link", name="inventory", exact=True).click()
        page.get_by_label("Reason:").fill(reason)
        page.get_by_label("Until, date").fill("2099-01-31")
        page.get_by_label("Until, time").fill("18:30")
        page.get_by_role("button", name="Force open").click()

        done = re.compile(rf"Force open: inventory, in worker process \d+ alone \({reason}\)\.")
        expect(page.get_by_text(done)).to_be_visible()
        expect(page.locator(".recloser-state")).to_have_text("open")
        expect(row(page, "Mode")).to_contain_text(
            f"forced open by ann: {reason} (until Jan. 31, 2099, 6:30 p.m. UTC)"
        )
        page.get_by_role("link", name="Circuit breakers").last.click()
        assert [state_of(page, name) for name in ("inventory", "payments")] == ["open", "closed"]

        refused = httpx2.get(f"{url}/products/7")
        assert refused.headers["cache-status"].startswith("recloser; hit")
        assert services.received("inventory") == asked

        page.get_by_role("link", name="inventory", exact=True).click()
        page.get_by_label("Reason:").fill(f"{reason} no more")
        page.get_by_role("button", name="Automatic").click()
        expect(page.locator(".recloser-state")).to_have_text("closed")
        page.get_by_role("link", name="History").click()
        expect(page.get_by_role("row").filter(has_text=f"Force open: {reason}")).to_have_count(1)
        expect(page.get_by_role("row").filter(has_text=f"Automatic: {reason} no more")).to_have_count(1)

    assert "cache-status" not in httpx2.get(f"{url}/products/7").headers
    assert services.received("inventory") == asked + 1


def test_an_outage_shows_on_the_page(browsing: Browsing, url: str, services: Downstream) -> None:
    """A circuit that has tripped says why, and when it probes."""
    services.become("payments", "errors")
    for _ in range(4):
        httpx2.post(f"{url}/api/checkout", json={"product": 7, "quantity": 1})
    with browsing("vic") as page:
        assert state_of(page, "payments") == "open"
        page.get_by_role("link", name="payments").click()
        expect(row(page, "Why")).to_contain_text("3 consecutive failures >= 3")
        expect(row(page, "Next probe")).to_contain_text(re.compile(r"in \d+ min \d+ s"))
        expect(row(page, "Last failure")).to_contain_text("500")


def test_an_action_without_a_reason_is_told_what_is_missing(browsing: Browsing) -> None:
    """Without JavaScript too: the browser asks for the reason, and Enter in the field presses no button."""
    with browsing("ann", scripts=False) as page:
        page.get_by_role("link", name="recommendations").click()
        page.get_by_role("button", name="Force open").click()
        assert page.url.endswith("/recommendations/change/")
        page.get_by_label("Reason:").fill("   ")
        page.get_by_role("button", name="Force open").click()
        expect(page.get_by_text("This field is required.")).to_be_visible()
        page.get_by_label("Reason:").fill("a drill")
        page.get_by_label("Reason:").press("Enter")
        expect(page.locator(".recloser-state")).to_have_text("closed")


def test_a_viewer_may_only_look(browsing: Browsing) -> None:
    """Who has no permission to control is shown the numbers, and no button."""
    with browsing("vic") as page:
        page.get_by_role("link", name="recommendations").click()
        expect(page.locator(".recloser-state")).to_have_text("closed")
        expect(page.get_by_role("button", name="Force open")).to_have_count(0)


def test_the_pages_keep_to_a_strict_content_security_policy(browsing: Browsing, url: str) -> None:
    """With nothing allowed but files of the site itself, no browser complains."""

    def strictly(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(
            response=answer, headers={**answer.headers, "content-security-policy": "default-src 'self'"}
        )

    complaints: list[str] = []
    with browsing("ann") as page:
        page.on("console", lambda message: complaints.append(message.text))
        page.route("**/*", strictly)
        for path in ("", "payments/change/"):
            page.goto(f"{url}/admin/recloser/breaker/{path}")
            expect(page.locator(".recloser-state").first).to_have_css("font-weight", "700")
        page.evaluate("document.body.setAttribute('style', 'color: red')")  # not even this is allowed

    assert len(complaints) == 1
    assert "Content Security Policy" in complaints[0]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_phone_and_reads_well(
    browsing: Browsing, url: str, scheme: Literal["dark", "light"]
) -> None:
    """Nothing is wider than a small screen, and a state's colour keeps a contrast of 4.5 (WCAG 2.2, 1.4.3)."""
    with browsing("ann", scheme=scheme) as page:
        page.set_viewport_size({"width": 360, "height": 740})
        for path in ("", "payments/change/"):
            page.goto(f"{url}/admin/recloser/breaker/{path}")
            assert page.evaluate("document.documentElement.scrollWidth") <= 360
        colours = page.evaluate(
            "() => { const state = document.querySelector('.recloser-state');"
            "return [getComputedStyle(state).color, getComputedStyle(document.body).backgroundColor] }"
        )
        assert contrast(*colours) >= 4.5


def contrast(*colours: str) -> float:
    """The contrast ratio of two CSS colours, 1..21."""
    lighter, darker = sorted(map(luminance, colours), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    shares = [int(number) / 255 for number in re.findall(r"\d+", colour)[:3]]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return sum(weight * share for weight, share in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
