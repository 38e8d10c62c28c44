"""`manage.py recloser` shows and steers this process's breakers, and says that it is only that."""

from __future__ import annotations

import io
import json
import re
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings
from shopsite.tools import trip

from recloser.django import registry
from recloser.status.snapshot import VERSION


def run(*arguments: str) -> str:
    out = io.StringIO()
    call_command("recloser", *arguments, stdout=out)
    return out.getvalue()


def run_json(*arguments: str) -> Any:
    return json.loads(run(*arguments, "--json"))


def test_list_shows_every_breaker():
    """`list` shows each breaker's state, and that this is one process."""
    trip()

    text = run("list")

    assert "inventory  open" in text
    assert "reaches no running worker" in text


def test_list_in_json():
    """`--json` gives the same to scripts."""
    trip()

    told = run_json("list")

    assert (told["version"], told["scope"]) == (VERSION, "process")
    assert [breaker["name"] for breaker in told["breakers"]] == ["inventory", "payments", "prices"]
    assert told["breakers"][0]["state"] == "open"
    assert told["breakers"][0]["last_error"] == "ConnectionError: refused"


@pytest.mark.parametrize(
    ("action", "state", "mode"),
    [
        ("open", "open", "forced_open"),
        ("close", "closed", "forced_closed"),
        ("shadow", "closed", "shadow"),
        ("auto", "closed", "auto"),
        ("reset", "closed", "auto"),
    ],
)
def test_action_acts(action: str, state: str, mode: str):
    """Each action does what it says."""
    told = run_json(action, "inventory", "--by", "ann", "--reason", "drill")["breaker"]

    assert (told["state"], told["mode"]["mode"]) == (state, mode)
    assert told["mode"]["by"] == ("" if action == "reset" else "ann")


@pytest.mark.parametrize("duration", ["60", "1m"])
def test_action_may_end(duration: str):
    """A mode may be given an end, spelt as `recloser open` has it."""
    told = run_json("open", "inventory", "--reason", "drill", "--for", duration)["breaker"]

    assert told["mode"]["until"] is not None
    assert "forced open by" in run("list")
    assert re.search(r"\(drill, \d+ s left\)", run("list"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["open", "inventroy", "--reason", "drill"], "did you mean 'inventory'"),
        (["open", "inventory"], "--reason"),
        (["open", "inventory", "--reason", "drill", "--for", "-1"], "must be a duration such as"),
        (["open", "inventory", "--reason", "drill", "--for", "1e308"], "must be a duration such as"),
        (["open", "inventory", "--reason", "drill", "--for", "inf"], "must be a duration such as"),
        (["open", "inventory", "--reason", "drill", "--for", "soon"], "must be a duration such as"),
        (["open", "inventory", "--reason", " \n"], "--reason must say why"),
        (["explode"], "invalid choice"),
    ],
)
def test_wrong_use_is_an_error(arguments: list[str], message: str):
    """What cannot be done is told, with an exit code that is not 0."""
    with pytest.raises(CommandError, match=message) as caught:
        run(*arguments)
    assert caught.value.returncode == 1
    assert registry["inventory"].state == "closed"


def test_somebody_acts(monkeypatch: pytest.MonkeyPatch):
    """In a container whose user has no name, the command asks who acts."""

    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 12345")

    monkeypatch.setattr("getpass.getuser", nobody)

    with pytest.raises(CommandError, match="say who acts: --by"):
        run("open", "inventory", "--reason", "drill")
    assert "forced_open" in run("open", "inventory", "--reason", "drill", "--by", "ann", "--json")


def test_check_passes():
    """`check` runs the system checks; warnings are no failure."""
    assert "recloser.W001" in run("check")
    assert {"recloser.W001"} <= {found["id"] for found in run_json("check")}


def test_check_fails_for_errors():
    """`check` ends with exit code 1 if the declaration is wrong."""
    with override_settings(RECLOSER={"BREKERS": {}}), pytest.raises(CommandError) as caught:
        run("check")
    assert caught.value.returncode == 1


def test_wrong_declaration_is_no_traceback():
    """The other actions tell of a wrong declaration as an error of the command."""
    with override_settings(RECLOSER={"BREKERS": {}}), pytest.raises(CommandError, match="did you mean"):
        run("list")
