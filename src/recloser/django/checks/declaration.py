"""E001, E002: the setting `RECLOSER`."""

from __future__ import annotations

from django.conf import settings
from django.core.checks import CheckMessage, Error

from recloser.django.checks.installed import problems


def check_declaration(**_: object) -> list[CheckMessage]:
    """Report all that is wrong with `RECLOSER`, each problem by itself."""
    if getattr(settings, "RECLOSER", None) is None:
        hint = 'Declare your breakers: RECLOSER = {"BREAKERS": {"payments": {}}}.'
        return [Error("The setting RECLOSER is missing.", hint=hint, id="recloser.E001")]
    return [
        Error(
            f"{problem.path} is wrong: got {problem.value}.",
            hint=f"It {problem.fix}.",
            id="recloser.E002",
        )
        for problem in problems()
    ]
