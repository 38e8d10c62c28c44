"""`manage.py recloser`: look at breakers, act on them, check their declaration, run what was put off."""

from __future__ import annotations

import getpass
import json
import time
from argparse import ArgumentParser, Namespace
from typing import Any, Final

from django.core.checks import ERROR, run_checks
from django.core.management.base import BaseCommand, CommandError
from django.db import close_old_connections

from recloser.core.errors import RecloserError
from recloser.deferred.commands import add_commands
from recloser.django.checks import TAG
from recloser.django.description import command_note, everything, one
from recloser.django.lazy import registry
from recloser.django.operations import OPERATIONS
from recloser.status import plaintext
from recloser.status.actions import LABELS, duration_of
from recloser.status.messages import RefusedError
from recloser.status.redaction import plain
from recloser.status.snapshot import Document

STORE_SECONDS: Final = 2.0


class Command(BaseCommand):
    """Looks at breakers, acts on them, checks their declaration."""

    help = "Look at the circuit breakers of RECLOSER, act on them, or check their declaration."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the actions."""
        actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
        listing = actions.add_parser("list", help="show every breaker")
        checking = actions.add_parser("check", help="run the system checks; exit code 1 if there is an error")
        for name, action in OPERATIONS.items():
            acting = actions.add_parser(name, help=LABELS[action][1])
            acting.add_argument("breaker")
            acting.add_argument("--reason", required=True, help="why, for everybody who looks")
            acting.add_argument("--by", default="", help="who; by default the user of this machine")
            if action.may_end:
                acting.add_argument(
                    "--for", dest="duration", default="", metavar="10m", help="end it after so long"
                )
            acting.add_argument("--json", action="store_true", help="write JSON")
        for reading in (listing, checking):
            reading.add_argument("--json", action="store_true", help="write JSON")
        add_commands(actions)

    def handle(self, *_: Any, **options: Any) -> None:
        """Do what was asked.

        Raises:
            CommandError: It cannot be done, or a check found an error.
        """
        action: str = options["action"]
        try:
            if "run" in options:
                self._run(options)
            elif action == "check":
                self._check(as_json=options["json"])
            elif action == "list":
                registry.ready(STORE_SECONDS)
                self._show(everything(), as_json=options["json"])
            else:
                self._act(options["breaker"], options)
                self._show(one(options["breaker"]), as_json=options["json"])
        except RefusedError as error:
            raise CommandError(error.text) from error
        except (RecloserError, ValueError) as error:
            raise CommandError(str(error)) from error

    def _run(self, options: dict[str, Any]) -> None:
        # Around each job, as Django does around each request: connections that are old or broken are let go.
        status: int = options["run"](Namespace(**{**options, "around": close_old_connections}))
        if status:
            raise CommandError("that is not done", returncode=status)

    def _act(self, name: str, options: dict[str, Any]) -> None:
        if not registry.ready(STORE_SECONDS):
            raise CommandError(f"nothing was changed: {registry.store_health}")
        seconds = duration_of(options.get("duration") or "")
        until = None if seconds is None else time.time() + seconds
        by: str = plain(options["by"]) or _user()
        reason = plain(options["reason"])
        if not reason:
            raise CommandError("--reason must say why")
        one(name)  # or the name is wrong
        # It waits for the store, as the command's process is about to end.
        registry.steer(name, OPERATIONS[options["action"]], by=by, reason=reason, until=until)

    def _show(self, told: Document, *, as_json: bool) -> None:
        if as_json:
            self.stdout.write(json.dumps(told, indent=2))
        else:
            text = plaintext.one(told) if "breaker" in told else plaintext.overview(told)
            self.stdout.write(f"{text}\n{command_note(told)}")

    def _check(self, *, as_json: bool) -> None:
        messages = run_checks(tags=[TAG], include_deployment_checks=True)
        if as_json:
            told = [
                {"id": found.id, "level": found.level, "message": found.msg, "hint": found.hint}
                for found in messages
            ]
            self.stdout.write(json.dumps(told, indent=2))
        else:
            for found in messages:
                self.stdout.write(f"{found.id}: {found.msg}\n  {found.hint}")
            self.stdout.write(f"{len(messages)} issue{'s' * (len(messages) != 1)} found.")
        if any(found.level >= ERROR for found in messages):
            raise CommandError("RECLOSER is wrong", returncode=1)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # as in a container whose user has no name
        raise CommandError("say who acts: --by") from None
