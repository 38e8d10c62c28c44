"""The shop under the servers that Django projects run on, and on its command line: real processes."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest
from shop_processes import FOLDER, Command, Downstream, manage, running_shop

from recloser.demo.shops import gunicorn_command, uvicorn_command

TURN_SECONDS = 60.0


def gunicorn(port: int) -> list[str]:
    return gunicorn_command("teashop.wsgi:application", FOLDER, port, 2)


def uvicorn(port: int) -> list[str]:
    return uvicorn_command("teashop.asgi:application", FOLDER, port, 1)


def ask_until(enough: Callable[[list[httpx2.Response]], bool], ask: Callable[[], httpx2.Response]) -> None:
    """Ask again and again: a worker may wait long for its turn."""
    answers, deadline = list[httpx2.Response](), time.monotonic() + TURN_SECONDS
    while not enough(answers):
        assert time.monotonic() < deadline, answers
        answers.append(ask())


def trip(ask: Callable[[], httpx2.Response], workers: int) -> None:
    """Ask until every worker has tripped, by three failures each."""
    ask_until(lambda answers: sum(answer.status_code == 500 for answer in answers) == 3 * workers, ask)


def is_stale(answer: httpx2.Response, good: str) -> bool:
    """Whether it is the last good page, and says so."""
    if "cache-status" not in answer.headers:
        return False
    assert answer.text == good
    return int(answer.headers["age"]) >= 0


@pytest.mark.parametrize(("command", "workers"), [(gunicorn, 2), (uvicorn, 1)], ids=["gunicorn", "uvicorn"])
def test_an_outage_is_survived(
    downstream: Downstream, environment: dict[str, str], command: Command, workers: int
) -> None:
    """Every worker finds out by three failures; from then on pages come with their age, and orders are refused."""
    # A connection per request, so that all workers get some.
    limits = httpx2.Limits(max_keepalive_connections=0)
    with running_shop(command, environment) as url, httpx2.Client(base_url=url, limits=limits) as client:

        def page() -> httpx2.Response:
            return client.get("/products/7")

        def order() -> httpx2.Response:
            return client.post("/api/checkout", json={"product": 7, "quantity": 1})

        good = page().raise_for_status().text
        downstream.become("all", "errors")
        trip(page, workers)
        trip(order, workers)
        trip(lambda: client.get("/recommendations"), workers)

        pages, orders = [page() for _ in range(30)], [order() for _ in range(30)]

        assert {answer.status_code for answer in pages} == {200}
        # A worker that has never seen the page knows less; one has.
        ask_until(lambda answers: any(is_stale(answer, good) for answer in answers), page)
        assert {answer.status_code for answer in orders} == {503}
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in orders)
        assert client.get("/recommendations").json() == {"products": []}
        assert downstream.received("payments") == 3 * workers


def test_with_a_store_workers_and_command_line_tell_one_story(
    downstream: Downstream, environment: dict[str, str], tmp_path: Path
) -> None:
    """Three failures trip all workers; the command shows that, and what it does reaches the next requests."""
    environment["RECLOSER_STORE"] = f"sqlite://{tmp_path}/store/teashop.db"
    limits = httpx2.Limits(max_keepalive_connections=0)

    def command(*arguments: str) -> str:
        ran = subprocess.run(  # noqa: S603
            manage("recloser", *arguments),
            env=os.environ | environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        return ran.stdout

    with running_shop(gunicorn, environment) as url, httpx2.Client(base_url=url, limits=limits) as client:
        ask_until(lambda answers: len(answers) == 20, lambda: client.get("/products/7").raise_for_status())
        downstream.become("payments", "errors")
        ask_until(
            lambda answers: [answer.status_code for answer in answers[-20:]] == [503] * 20,
            lambda: client.post("/api/checkout", json={"product": 7, "quantity": 1}),
        )
        assert re.search(r"^payments +open ", command("list"), re.MULTILINE)

        command("open", "inventory", "--by", "ann", "--reason", "a drill")
        ask_until(
            lambda answers: ["recloser" in answer.headers for answer in answers[-20:]] == [True] * 20,
            lambda: client.get("/products/7"),
        )


def test_the_command_line_says_whose_circuits_it_shows() -> None:
    """`manage.py recloser list` names every breaker, and that it is a process of its own."""
    command = manage("recloser", "list")
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout  # noqa: S603
    for service in ("inventory", "recommendations", "payments"):
        assert f"{service} " in told
    assert "it reaches no running worker" in told


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["check"], 0),
        (["open", "paymnets", "--reason", "a drill"], 1),
        (["open", "payments"], 2),
    ],
)
def test_the_command_line_tells_scripts_how_it_went(arguments: list[str], status: int) -> None:
    """0 when it is done, 1 when it could not be, 2 for a command line that is not understood."""
    command = manage("recloser", *arguments)
    ran = subprocess.run(command, capture_output=True, check=False, timeout=60)  # noqa: S603
    assert ran.returncode == status
