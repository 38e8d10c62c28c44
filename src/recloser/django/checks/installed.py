"""What the other checks look at, if it can be built at all."""

from __future__ import annotations

from recloser.core.errors import ConfigurationError, Problem
from recloser.django import conf
from recloser.django.conf import Installation


def installed() -> Installation | None:
    """Return what the settings make; `None` if they are wrong, which is told once, by `check_declaration`."""
    try:
        return conf.installation()
    except ConfigurationError:
        return None


def problems() -> tuple[Problem, ...]:
    """Return all that is wrong with `RECLOSER`."""
    try:
        conf.installation()
    except ConfigurationError as error:
        return error.problems
    return ()
