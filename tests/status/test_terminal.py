"""The terminal's commands: what they print, how they exit."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time

import pytest
import uvicorn

from recloser import Registry, cli
from recloser.status.app import StatusApp

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
        app = StatusApp(registry, authorize=lambda request, action: request.headers.get("authorization"))
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
    assert "Force open: mail, in the whole fleet." in capsys.readouterr().out
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
    assert "in this process alone" in capsys.readouterr().out
    assert registry["mail"].mode.by == "Bearer t"
    assert cli.main(["reset", "nobody", "--reason", "x", "--header", "X-A: b", *where]) == 1


@pytest.mark.parametrize("where", [["--url", "file:///etc/passwd"], ["--url", "http://127.0.0.1:9/"]])
def test_what_does_not_answer_fails(where, capsys):
    """In a sentence."""
    assert cli.main(["status", *where]) == 1
    assert capsys.readouterr().err.startswith("recloser: ")


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
