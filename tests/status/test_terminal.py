"""The terminal's commands: what they print, how they exit."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest
import uvicorn
from rich.console import Console

from recloser import Registry, cli
from recloser.status import client, terminal
from recloser.status.app import StatusApp
from recloser.status.client import SourceError
from recloser.status.query import Query
from recloser.status.sampler import Sampler
from recloser.status.snapshot import document
from recloser.status.sources import StoreSource
from recloser.steering import Action

PATIENCE = 10.0


@pytest.fixture
def store(tmp_path):
    """A fleet of one worker."""
    url = f"sqlite:///{tmp_path / 'store.db'}"
    with Registry({"STORE": url, "BREAKERS": {"payments": {"failure_threshold": 1}, "mail": {}}}) as registry:
        assert registry.ready(PATIENCE)
        yield url, registry


@pytest.fixture
def url():
    """A process without a store, behind its endpoint."""
    with Registry({"BREAKERS": {"payments": {}, "mail": {}}}) as registry:

        def authorize(request, action):
            return request.headers.get("authorization") or request.headers.get("x-user")

        app = StatusApp(registry, authorize=authorize)
        server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical"))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            thread.join(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", registry
        server.should_exit = True
        thread.join(PATIENCE)


def test_status_is_0_while_all_is_closed_and_3_when_not(store, capsys):
    """For scripts; worst first for eyes."""
    where = ["--store", store[0]]
    assert cli.main(["status", *where]) == 0
    assert cli.main(["open", "mail", "--reason", "move", "--for", "5m", "--by", "ann", *where]) == 0
    assert "Force open: mail, in the whole fleet, for 5 min." in capsys.readouterr().out
    assert cli.main(["status", *where]) == 3
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].startswith("mail      open")
    assert re.search(r"forced open by ann \(move, 4 min \d+ s left\)", lines[2])
    assert "\x1b" not in "".join(lines)
    assert cli.main(["auto", "mail", "--reason", "moved", *where]) == 0
    assert cli.main(["status", "--json", *where]) == 0
    assert json.loads(capsys.readouterr().out.partition("\n")[2])["counts"]["closed"] == 2


def test_an_unknown_name_and_a_wrong_duration_fail(store, capsys):
    """With what is wrong."""
    where = ["--reason", "x", "--store", store[0]]
    assert cli.main(["open", "paymnets", *where]) == 1
    assert cli.main(["open", "payments", "--for", "soon", *where]) == 1
    assert "No breaker is named paymnets (did you mean 'payments'?)." in (told := capsys.readouterr().err)
    assert "for must be a duration" in told


def test_through_an_endpoint(url, capsys, monkeypatch):
    """A token from the environment; who acts, the endpoint knows."""
    address, registry = url
    where = ["--url", address]
    assert cli.main(["status", *where]) == 1
    assert "You may not look here." in capsys.readouterr().err
    monkeypatch.setenv("RECLOSER_TOKEN", "t")
    assert cli.main(["status", *where]) == 0
    assert cli.main(["shadow", "payments", "mail", "--reason", "x", *where]) == 0
    assert "in this process alone, until somebody ends it." in capsys.readouterr().out
    assert registry["mail"].mode.by == "Bearer t"
    assert cli.main(["reset", "nobody", "--reason", "x", "--header", "X-A: b", *where]) == 1
    monkeypatch.delenv("RECLOSER_TOKEN")
    assert cli.main(["open", "mail", "--reason", "x", "--header", "X-User: ann", *where]) == 0
    assert registry["mail"].mode.by == "ann"


def test_a_store_that_is_lost_meanwhile_is_no_fleet_without_breakers(store, tmp_path):
    """`watch` says what stands in the way until it is back."""
    source = StoreSource(store[0], "recloser")
    try:
        assert source.overview()["counts"]["closed"] == 2
        (tmp_path / "store.db").rename(tmp_path / "away")
        (tmp_path / "store.db").mkdir()
        for use in (source.overview, lambda: source.act(Action.RESET, ["mail"], "x", "", "ann")):
            with pytest.raises(SourceError, match=r"^store sqlite:.*store\.db"):
                use()
    finally:
        source.close()


@pytest.mark.parametrize(
    ("where", "told"),
    [
        (["--url", "file:///etc/passwd"], "--url must begin with http"),
        (["--url", "http://127.0.0.1:9/"], "http://127.0.0.1:9: [Errno 111] Connection refused\n"),
        (["--store", "foo"], "--store must be "),
        (["--store", "sqlite", "--namespace", "a b"], "--namespace must be "),
    ],
)
def test_what_does_not_answer_fails(where, told, capsys):
    """In a sentence, which names what was given and not what a declaration would say."""
    assert cli.main(["status", *where]) == 1
    assert capsys.readouterr().err.startswith(f"recloser: {told}")


@pytest.mark.parametrize("command", [["status"], ["open", "mail", "--reason", "x"]])
def test_a_store_that_nobody_has_made_is_not_made_by_looking(command, tmp_path, capsys):
    """A mistyped name is told, and leaves no file behind."""
    path = tmp_path / "sub" / "store.db"
    assert cli.main([*command, "--store", f"sqlite://{path}", "--namespace", "shop"]) == 1
    assert f"{path} does not exist: --store and --namespace must be as declared" in capsys.readouterr().err
    assert not path.parent.exists()


def test_a_store_without_anybody_is_no_fleet_in_good_health(tmp_path, capsys):
    """A namespace that nobody uses has no closed circuits to be glad of."""
    url = f"sqlite:///{tmp_path / 'store.db'}"
    with Registry({"STORE": url}) as nobody:
        assert nobody.ready(PATIENCE)
        assert cli.main(["status", "--store", url]) == 1
    assert "nobody has a breaker there: --store and --namespace must be" in capsys.readouterr().err


def test_a_store_whose_extra_is_missing_is_told_in_a_line(monkeypatch, capsys):
    """As at the library's own door."""
    monkeypatch.setitem(sys.modules, "redis", None)
    for name in [name for name in sys.modules if name.startswith("recloser.stores.redis")]:
        monkeypatch.delitem(sys.modules, name)
    assert cli.main(["status", "--store", "redis://127.0.0.1:9/0"]) == 1
    assert capsys.readouterr().err.endswith('pip install "recloser[redis]"\n')


class Elsewhere(BaseHTTPRequestHandler):
    """Whatever a proxy, a login or another service may answer; notes what was sent to where a redirect leads."""

    stolen: ClassVar[list[str | None]] = []
    answers: ClassVar[dict[str, tuple[int, bytes]]] = {
        "login": (200, b"<html>Sign in</html>"),
        "list": (200, b"[]"),
        "another": (200, b'{"breakers": 7, "counts": 5}'),
        "deep": (200, b"[" * 500_000),
        "long": (200, b" " * 20_000),
        "oops": (500, b"oops \x1b[2J"),
        "page": (404, b'{"detail": "Not Found"}'),
    }

    def do_GET(self):
        kind = self.path.split("/")[1]
        if kind == "moved":
            self.send_response(302)
            self.send_header("Location", "/stolen")
            self.end_headers()
        elif kind == "stolen":
            self.stolen.append(self.headers["Authorization"])
        elif kind == "garbage":
            self.wfile.write(b"\x00\x01\r\n\r\n")
        elif kind == "endless":
            self.send_response(200)
            self.end_headers()
            with contextlib.suppress(OSError):
                while True:
                    self.wfile.write(b" ")
        else:
            status, body = self.answers[kind]
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def elsewhere():
    with ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("command", [["status"], ["reset", "payments", "--reason", "x"]])
@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("login", "what answers is no recloser endpoint"),
        ("list", "what answers is no recloser endpoint"),
        ("another", "what answers is no recloser endpoint"),
        ("deep", "what answers is no recloser endpoint"),
        ("long", "the answer is too long"),
        ("endless", "the answer does not end"),
        ("garbage", "garbage"),
        ("moved", "redirects to /stolen, which is not followed: correct --url, or sign in"),
        ("oops", "HTTP 500"),
        ("page", "HTTP 404, there is no recloser endpoint: --url is that of the status page"),
    ],
)
def test_what_is_no_endpoint_is_said_so(elsewhere, kind, told, command, capsys, monkeypatch):
    """In one line, and no token follows a redirect to wherever it leads."""
    monkeypatch.setattr(client, "WHOLE", 0.0 if kind == "endless" else 60.0)
    monkeypatch.setattr(client, "SECONDS", 60.0)
    monkeypatch.setattr(client, "LARGEST", 10_000 if kind == "long" else 10**9)
    monkeypatch.setenv("RECLOSER_TOKEN", "hush")
    assert cli.main([*command, "--url", f"{elsewhere}/{kind}"]) == 1
    said = capsys.readouterr().err
    assert told in said
    assert said.count("\n") == 1
    assert "\x1b" not in said
    assert "hush" not in said
    assert Elsewhere.stolen == []


@pytest.mark.parametrize(
    ("url", "header", "token"),
    [
        ("http://ann:hush@127.0.0.1:9/", "", ""),
        ("http://127.0.0.1:9/?token=hush", "", ""),
        ("http://127.0.0.1:port/", "", ""),
        ("http://[::1/", "", ""),
        ("http://127.0.0.1:9/a b", "", ""),
        ("http://127.0.0.1:9/", "X-Key: hush\nX-Other: x", ""),
        ("http://127.0.0.1:9/", "X Key: hush", ""),
        ("http://127.0.0.1:9/", "", "hush\nhush"),
        ("http://127.0.0.1:9/", "", "\N{LEFT DOUBLE QUOTATION MARK}hush"),
    ],
)
def test_what_cannot_be_asked_or_sent_is_said_without_its_secrets(url, header, token, capsys, monkeypatch):
    """Errors land in logs and on shared screens."""
    monkeypatch.setenv("RECLOSER_TOKEN", token)
    assert cli.main(["status", "--url", url, *(["--header", header] if header else [])]) == 1
    said = capsys.readouterr().err
    assert said.startswith("recloser: ")
    assert said.count("\n") == 1
    assert "hush" not in said


def test_a_token_from_a_file_with_a_last_line_break_is_sent_without_it(url, monkeypatch):
    """As secrets are mounted."""
    monkeypatch.setenv("RECLOSER_TOKEN", "t\n")
    assert cli.main(["status", "--url", url[0]]) == 0


def test_an_operator_without_a_name_is_known_by_his_number(store, monkeypatch):
    """A container's user stands in no list of users."""
    url, registry = store

    def getuser():
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr("getpass.getuser", getuser)
    assert cli.main(["shadow", "mail", "--reason", "x", "--store", url]) == 0
    deadline = time.monotonic() + PATIENCE
    while not registry["mail"].mode.by and time.monotonic() < deadline:
        time.sleep(0.01)
    assert registry["mail"].mode.by == f"uid {os.getuid()}"


def test_ctrl_c_ends_any_command_without_a_traceback(monkeypatch, capsys):
    """With the status that shells expect."""

    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("recloser.status.terminal._source", interrupted)
    assert cli.main(["status", "--store", "sqlite"]) == 130
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("width", "headings"),
    [
        (100, ["breaker", "state", "since", "why", "calls/s", "rejected/s", "workers"]),
        (80, ["breaker", "state", "since", "why", "workers"]),
        (60, ["breaker", "state", "since", "why"]),
        (40, ["breaker", "state", "why"]),
    ],
)
def test_a_narrow_terminal_shows_what_matters_most(store, width, headings, capsys):
    """Rather than all of it letter by letter; of names, which may differ in their last letter, nothing is cut."""
    _, registry = store
    registry.for_origin("inventory-of-the-warehouse.example:8080")
    told = document(Sampler(registry).take()[0], Query())
    Console(width=width).print(terminal._table(told, width))
    lines = capsys.readouterr().out.splitlines()
    assert [heading.strip() for heading in lines[1].strip("┃").split("┃")] == headings
    names = "".join(line.split("│")[1].strip() for line in lines if "│" in line)
    assert "inventory-of-the-warehouse.example:8080" in names
    assert "…" not in "".join(lines)


def test_watch_says_that_it_needs_a_terminal(store, capsys):
    """A pipe would see nothing before the end."""
    assert cli.main(["watch", "--store", store[0]]) == 1
    assert "watch needs a terminal" in capsys.readouterr().err


def test_watch_follows_the_fleet_until_it_is_interrupted(store):
    """On a terminal of its own; what an operator does is seen with its reason, and Ctrl-C is a good end."""
    url, registry = store
    ours, its = pty.openpty()
    watching = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from recloser.cli import main; raise SystemExit(main())",
            "watch",
            "--store",
            url,
        ],
        stdin=its,
        stdout=its,
        stderr=its,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "150", "LINES": "40"},
    )
    os.close(its)
    seen: list[str] = []

    def read() -> None:
        try:
            while data := os.read(ours, 65536):
                seen.append(data.decode(errors="replace"))
        except OSError:
            return  # it has ended

    reader = threading.Thread(target=read, daemon=True)
    reader.start()

    def until(pattern: str) -> None:
        deadline = time.monotonic() + 60
        while not re.search(pattern, "".join(seen)):
            assert watching.poll() is None, "".join(seen)
            assert time.monotonic() < deadline, "".join(seen)
            time.sleep(0.01)

    try:
        until(r"payments[^\n]*closed")
        registry.steer("payments", "force_open", by="ann", reason="migration")
        until(r"payments[^\n]*open \(forced open\)[^\n]*ann: migration")
        watching.send_signal(signal.SIGINT)
        assert watching.wait(60) == 0
    finally:
        watching.kill()
        watching.wait(60)
        reader.join(60)
        os.close(ours)
