"""With a shared store, the admin and the command line show the fleet, and steer it; the other worker is a process."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client, override_settings
from fastapi import FastAPI
from fastapi.testclient import TestClient

from recloser import Registry
from recloser.django import conf, registry
from recloser.fastapi import install
from recloser.status.entry import epoch_text
from recloser.stores.sqlite import SQLiteStore

ANOTHER_WORKER = """
import sys, time
from pathlib import Path
from recloser import Registry
from recloser.stores.sqlite import SQLiteStore

shop = Registry({"BREAKERS": {"inventory": {}, "payments": {}, "prices": {}, "shipping": {}}}, store=SQLiteStore(Path(sys.argv[1])))
assert shop.ready(10)
print("ready", flush=True)
for line in sys.stdin:
    if line.strip() == "open":
        shop["payments"].force_open(by="bob", reason="the bank migrates")
        shop.fleet(10)
    if line.strip() == "call":
        for _ in range(41):
            shop["shipping"].call(abs, 1)
    print(shop["payments"].state, shop["inventory"].state, flush=True)
shop.close()
"""


class Worker:
    """Another worker of the fleet."""

    def __init__(self, path: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", ANOTHER_WORKER, path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout.readline() == "ready\n"

    def says(self, word: str = "look") -> list[str]:
        """Its states of payments and inventory."""
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().split()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "fleet" / "shop.db"


@pytest.fixture
def worker(path: Path) -> Iterator[Worker]:
    worker = Worker(path)
    with worker.process:
        yield worker
        worker.process.stdin.close()


@pytest.fixture
def fleet(path: Path, settings) -> Registry:
    """This process's breakers, in a fleet."""
    settings.RECLOSER = {**settings.RECLOSER, "STORE": f"sqlite://{path}"}
    return registry


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def run(*arguments: str) -> str:
    out = io.StringIO()
    call_command("recloser", *arguments, stdout=out)
    return out.getvalue()


@pytest.fixture
def operator(db: None) -> Client:
    client = Client()
    client.force_login(User.objects.create(username="ann", is_staff=True, is_superuser=True))
    return client


def test_page_and_command_tell_the_same_story(worker: Worker, fleet: Registry, operator: Client):
    """What another worker did shows on the page and on the command line, who and why included."""
    assert worker.says("open") == ["open", "closed"]
    assert fleet.ready(10)

    listed = run("list")
    page = operator.get("/admin/recloser/breaker/").content.decode()

    assert "forced open by bob (the bank migrates)" in listed
    assert "forced open by bob: the bank migrates" in page
    for told in (listed, page):
        assert "This is the whole fleet" in told
    assert "reaches all of it" in page


def test_what_only_others_have_is_shown_and_steered(worker: Worker, fleet: Registry, operator: Client):
    """A breaker of another part of the application stands among the others, with its numbers, and can be forced."""
    assert fleet.ready(10)
    worker.says("call")
    page = "/admin/recloser/breaker/shipping/change/"
    eventually(lambda: "41, of which 0 failed" in operator.get(page).content.decode())
    assert "shipping" not in fleet

    [listed] = [each for each in json.loads(run("list", "--json"))["breakers"] if each["name"] == "shipping"]
    assert (listed["totals"]["calls"], listed["declared"]) == (41, False)
    assert '<td class="recloser-number">41</td>' in operator.get("/admin/recloser/breaker/").content.decode()

    assert "in the whole fleet" in act(operator, "open", "a drill", "shipping").content.decode()
    assert "forced open by ann (a drill)" in run("list")
    assert "shadow by bob (on trial)" in run("shadow", "shipping", "--by", "bob", "--reason", "on trial")
    history = operator.get("/admin/recloser/breaker/shipping/history/").content.decode()
    assert "Force open: a drill" in history


def test_command_reaches_the_fleet(worker: Worker, fleet: Registry, path: Path):
    """An action of the command is in the store when it ends, and every worker follows."""
    told = run("open", "inventory", "--by", "ann", "--reason", "a drill")

    assert "forced open by ann (a drill)" in told
    with closing(SQLiteStore(path)) as store:
        store.connect()
        assert store.view().breakers["inventory"].record.override.by == "ann"
    eventually(lambda: worker.says() == ["closed", "open"])


@pytest.mark.parametrize("action", ["open", "close", "shadow", "auto", "reset"])
def test_every_action_is_done_when_the_command_ends(fleet: Registry, path: Path, action: str):
    """The store has it, also if it changed nothing, and the operator's name with it."""
    for _ in range(3):
        run(action, "inventory", "--by", "ann", "--reason", "a drill")
        with closing(SQLiteStore(path)) as store:
            store.connect()
            record = store.view().breakers["inventory"].record
        assert (record.cause.by if action == "reset" else record.override.by) == "ann"


def act(operator: Client, word: str, reason: str, name: str = "inventory") -> Any:
    """Act from the page, upon what it shows."""
    page = operator.get(f"/admin/recloser/breaker/{name}/change/").content.decode()
    epoch = re.search(r'name="epoch" value="([^"]+)"', page)
    assert epoch is not None
    wish = {"reason": reason, "epoch": epoch[1]}
    return operator.post(f"/admin/recloser/breaker/{name}/do/{word}/", wish, follow=True)


def test_page_reaches_the_fleet(worker: Worker, fleet: Registry, operator: Client):
    """So does an action of the page, and its undoing."""
    assert fleet.ready(10)
    done = act(operator, "open", "a drill")
    assert "Force open: inventory, in the whole fleet (a drill)" in done.content.decode()
    eventually(lambda: worker.says() == ["closed", "open"])

    act(operator, "auto", "done")
    eventually(lambda: worker.says() == ["closed", "closed"])


def test_page_acts_upon_what_it_showed(worker: Worker, fleet: Registry, operator: Client):
    """A breaker that has changed since is a conflict: nothing is done, the page says what it has become."""
    assert fleet.ready(10)
    epoch = epoch_text(fleet["payments"].snapshot().epoch)
    worker.says("open")
    wish = {"reason": "all is well", "epoch": epoch}

    answer = operator.post("/admin/recloser/breaker/payments/do/close/", wish)

    assert answer.status_code == 409
    assert "has changed meanwhile: it is open now, mode forced open by bob" in answer.content.decode()
    assert 'value="all is well"' in answer.content.decode()
    assert epoch not in answer.content.decode()
    assert not LogEntry.objects.exists()
    assert worker.says() == ["open", "closed"]


def test_page_lists_the_workers(worker: Worker, fleet: Registry, operator: Client):
    """Each worker that the store has heard of stands on the page, with the circuits that it holds open."""
    assert worker.says("open") == ["open", "closed"]
    row = re.compile(rf'<th scope="row">{worker.process.pid} on .*?</tr>', re.DOTALL)

    def told() -> bool:
        found = row.search(operator.get("/admin/recloser/breaker/").content.decode())
        return found is not None and "<td>payments: open (forced open)</td>" in found[0]

    eventually(told)


def test_lost_store_is_told(path: Path, fleet: Registry, operator: Client, monkeypatch: pytest.MonkeyPatch):
    """Without its store the page speaks for itself alone, and the command changes nothing."""
    monkeypatch.setattr("recloser.django.management.commands.recloser.STORE_SECONDS", 0.3)
    path.parent.mkdir()
    path.parent.chmod(0o777)  # which the store refuses
    with pytest.raises(CommandError, match=r"nothing was changed: store .* unreachable"):
        run("open", "inventory", "--reason", "a drill")

    assert fleet["inventory"].state == "closed"
    assert "unreachable" in run("list")
    assert "alone: store" in operator.get("/admin/recloser/breaker/").content.decode()


def test_djangos_registry_stays_in_the_fleet_when_an_application_that_shares_it_ends(fleet: Registry):
    """Django has no end of its own to tell of, and goes on serving; changed settings still close it."""
    app = FastAPI()
    install(app, fleet)
    with TestClient(app):
        assert fleet.ready(10)
        of_these_settings = conf.installation().registry
    assert fleet.store_health.connection == "up"
    with override_settings(RECLOSER={"BREAKERS": {}}):
        assert of_these_settings.store_health.connection == "closed"
