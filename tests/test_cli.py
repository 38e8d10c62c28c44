"""The command line: what it checks, what it prints, how it exits."""

from __future__ import annotations

import subprocess
import sys

import pytest

from recloser import cli

SHOP = """
namespace = "shop"
[defaults]
recovery_timeout = 15
[profiles.http]
failure_threshold = 3
[breakers.payments]
profile = "http"
origins = ["https://api.payments.example"]
success_threshold = 2
"""


@pytest.fixture
def shop(tmp_path):
    path = tmp_path / "recloser.toml"
    path.write_text(SHOP)
    return path


def rows(text):
    """Each knob's value and provenance, as printed."""
    lines = [line.split() for line in text.splitlines() if line.startswith("  ")]
    return {line[0]: (" ".join(line[1:-1]), line[-1]) for line in lines}


def test_check_prints_every_effective_value_with_its_provenance(shop, capsys, monkeypatch):
    """A valid declaration is shown breaker by breaker: knob, value, and which layer said so."""
    monkeypatch.setenv("RECLOSER_BREAKERS__PAYMENTS__PROBE_TIMEOUT", "7")
    assert cli.main(["check", str(shop)]) == 0
    text = capsys.readouterr().out
    assert "is valid: namespace 'shop', 1 breaker\n" in text
    assert "\npayments (api.payments.example:443)\n" in text
    assert rows(text)["failure_threshold"] == ("3", "profile:http")
    assert rows(text)["success_threshold"] == ("2", "breaker")
    assert rows(text)["recovery_timeout"] == ("15", "defaults")
    assert rows(text)["probe_timeout"] == ("7", "environment:RECLOSER_BREAKERS__PAYMENTS__PROBE_TIMEOUT")
    assert rows(text)["recovery_backoff"] == ("2", "default")
    assert rows(text)["failure_on"] == ("Exception", "default")


def test_check_reads_a_mapping_of_a_module(tmp_path, capsys, monkeypatch):
    """`module:NAME` names a mapping or what was made of it, found from the current folder."""
    (tmp_path / "shop_settings.py").write_text(
        "from recloser import Registry\n"
        "RECLOSER = {'BREAKERS': {'payments': {'ignore': (KeyError, 'builtins:IndexError')}}}\n"
        "registry = Registry(RECLOSER)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    for name in ("RECLOSER", "registry"):
        assert cli.main(["check", f"shop_settings:{name}"]) == 0
        text = capsys.readouterr().out
        assert text.startswith("RECLOSER is valid")
        assert rows(text)["ignore"] == ("KeyError, IndexError", "breaker")


def test_check_lists_every_problem_on_stderr(tmp_path, capsys):
    """A wrong declaration lists all its problems and exits with 1."""
    path = tmp_path / "recloser.toml"
    path.write_text("[breakers.payments]\nrecovery_timeot = 1\nfailure_threshold = 0\n")
    assert cli.main(["check", str(path)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "recovery_timeout" in captured.err
    assert "must be a whole number, at least 1" in captured.err


def test_check_reads_plans_too(tmp_path, capsys):
    """A plan that cannot be made is a problem of the declaration, on a breaker as on a route."""
    path = tmp_path / "recloser.toml"
    path.write_text(
        """
        [breakers.inventory]
        plan = [{ json = "{}" }]
        [routes."/products/{id}"]
        breakers = ["inventory"]
        plan = [{ stael = 600 }]
        """
    )
    assert cli.main(["check", str(path)]) == 1
    error = capsys.readouterr().err
    assert "2 problems" in error
    assert "must be stale or unavailable on a breaker" in error
    assert "stael" in error


def test_check_of_plans_without_the_extra_says_how_to_get_it(tmp_path, capsys, monkeypatch):
    """A plan is never called valid unread."""
    path = tmp_path / "recloser.toml"
    path.write_text("[breakers.inventory]\nplan = [{ stale = 600 }]\n")
    assert cli.main(["check", str(path)]) == 0
    monkeypatch.setattr(cli, "find_spec", lambda name: None)
    assert cli.main(["check", str(path)]) == 1
    assert 'pip install "recloser[fastapi]"' in capsys.readouterr().err


DECLARED = """
expose = true
secret = "s3cret"
[breakers.inventory]
[cache]
url = "redis://ann:s3cret@cache.example/0"
"""


def test_check_shows_the_cache_and_no_secret(tmp_path, capsys, monkeypatch):
    """Where responses are kept, without the password; that there is a secret, and nothing of it."""
    path = tmp_path / "recloser.toml"
    path.write_text(DECLARED)
    assert cli.main(["check", str(path)]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["expose", "True", "declaration"] in lines
    assert ["secret", "***", "declaration"] in lines
    assert ["cache.url", "redis://***@cache.example/0", "cache"] in lines
    monkeypatch.setattr(cli, "find_spec", lambda name: None if name == "redis" else object())
    assert cli.main(["check", str(path)]) == 1
    error = capsys.readouterr().err
    assert 'cache.url needs redis-py: pip install "recloser[redis]"' in error
    assert "s3cret" not in error


def test_a_reader_that_has_seen_enough_is_no_error(shop):
    """`recloser check FILE | head -1` prints no traceback."""
    command = [sys.executable, "-c", "import sys; from recloser.cli import main; sys.exit(main())"]
    with subprocess.Popen(
        [*command, "check", str(shop)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("missing.toml", "missing.toml"),
        ("no_such_module:RECLOSER", "must name something importable"),
        ("recloser.cli:NOTHING", "must name something that exists"),
        ("recloser.cli:main", "must be a mapping, got function"),
    ],
)
def test_check_says_what_it_could_not_find(source, complaint, capsys):
    """A source that is no declaration is named, with status 1."""
    assert cli.main(["check", source]) == 1
    assert complaint in capsys.readouterr().err


def test_the_demo_without_its_extra_says_how_to_get_it(capsys, monkeypatch):
    """Missing packages are named, and the command that installs them."""
    monkeypatch.setattr(cli, "find_spec", lambda name: None if name in {"rich", "uvicorn"} else object())
    assert cli.main(["demo"]) == 1
    assert capsys.readouterr().err == 'recloser: the demo needs rich, uvicorn: pip install "recloser[demo]"\n'


def test_the_django_demo_has_an_extra_of_its_own(capsys, monkeypatch):
    """It needs other packages."""
    monkeypatch.setattr(cli, "find_spec", lambda name: None if name == "gunicorn" else object())
    assert cli.main(["demo", "--app", "django"]) == 1
    assert (
        capsys.readouterr().err == 'recloser: the demo needs gunicorn: pip install "recloser[demo-django]"\n'
    )


@pytest.mark.parametrize("seconds", ["0", "-1", "3.9", "nan", "inf", "soon"])
def test_the_demo_refuses_a_length_that_shows_nothing(seconds, capsys):
    """A length below 4 seconds, or none at all, is a usage error."""
    with pytest.raises(SystemExit, match="2"):
        cli.main(["demo", "--seconds", seconds])
    assert "--seconds" in capsys.readouterr().err


def test_a_command_is_required(capsys):
    """Without a command the usage is shown with status 2."""
    with pytest.raises(SystemExit, match="2"):
        cli.main([])
    assert "COMMAND" in capsys.readouterr().err
