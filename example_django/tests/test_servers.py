"""The shop under the servers that Django projects run on, and on its command line: real processes."""

from __future__ import annotations

import subprocess

import httpx2
import pytest
from shop_processes import FOLDER, Command, Downstream, manage, running_shop

from recloser.demo.shops import gunicorn_command, uvicorn_command

ORDER = {"product": 7, "quantity": 1}


def gunicorn(port: int) -> list[str]:
    return gunicorn_command("teashop.wsgi:application", FOLDER, port, 2)


def uvicorn(port: int) -> list[str]:
    return uvicorn_command("teashop.asgi:application", FOLDER, port, 1)


@pytest.mark.parametrize(("command", "workers"), [(gunicorn, 2), (uvicorn, 1)], ids=["gunicorn", "uvicorn"])
def test_an_outage_is_survived(
    downstream: Downstream, environment: dict[str, str], command: Command, workers: int
) -> None:
    """Every worker finds out by three failures; then pages come with their age, and checkout stays polite."""
    # A connection per request, so that all workers get some.
    limits = httpx2.Limits(max_keepalive_connections=0)
    with running_shop(command, environment) as url, httpx2.Client(base_url=url, limits=limits) as client:
        good = {client.get("/products/7").raise_for_status().text for _ in range(20)}
        downstream.become("all", "errors")

        pages = [client.get("/products/7") for _ in range(40)]
        orders = [client.post("/api/checkout", json=ORDER) for _ in range(40)]
        lists = [client.get("/recommendations") for _ in range(40)]

        assert [page.status_code for page in pages].count(500) == 3 * workers
        stale = [page for page in pages if "cache-status" in page.headers]
        assert {page.text for page in stale} == good
        assert all(int(page.headers["age"]) >= 0 for page in stale)
        assert {page.status_code for page in pages[-10:]} == {200}
        assert [order.status_code for order in orders].count(500) == 3 * workers
        assert {order.status_code for order in orders} == {500, 503}
        assert lists[-1].json() == {"products": []}
        assert downstream.received("payments") == 3 * workers


def test_the_command_line_says_whose_circuits_it_shows() -> None:
    """`manage.py recloser list` names every breaker, and that it is a process of its own."""
    command = manage("recloser", "list")
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout  # noqa: S603
    for service in ("inventory", "recommendations", "payments"):
        assert f"{service} " in told
    assert "it reaches no running worker" in told
