"""W005, W006, W008: breakers that will not do what their author hopes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Final

from django.core.checks import CheckMessage, Warning  # noqa: A004 - Django's name

from recloser.config.declaration import BreakerDeclaration
from recloser.core.policy import Policy
from recloser.django.checks.installed import installed

# How clients put a bad status.
_STATUS_ERRORS: Final = (
    ("httpx", "HTTPStatusError"),
    ("httpx2", "HTTPStatusError"),
    ("requests", "HTTPError"),
    ("aiohttp", "ClientResponseError"),
)


def check_breakers(**_: object) -> list[CheckMessage]:
    """Report breakers that guard too much, see too little, or are too impatient."""
    found = installed()
    if found is None:
        return []
    return [
        message for declared in found.registry.declaration.breakers.values() for message in _doubts(declared)
    ]


def _doubts(declared: BreakerDeclaration) -> Iterator[Warning]:
    policy, name = declared.policy, declared.name
    if len(declared.origins) > 1:
        yield Warning(
            f"The breaker {name!r} covers several origins: {', '.join(declared.origins)}.",
            hint="Give each origin a breaker of its own: one that fails would cut off the others.",
            id="recloser.W005",
        )
    if declared.origins and _counts_no_status(policy):
        yield Warning(
            f"The breaker {name!r} counts no HTTP status as a failure.",
            hint="Add the client's status error (such as 'httpx:HTTPStatusError') to failure_on, or leave failure_on "
            "out: a service that answers 500 would never open it.",
            id="recloser.W006",
        )
    if policy.startup_time is not None and policy.recovery_timeout < 2 * policy.startup_time:
        yield Warning(
            f"The breaker {name!r} probes after {policy.recovery_timeout:g} s a service that needs "
            f"{policy.startup_time:g} s to start.",
            hint=f"Set recovery_timeout to at least twice the startup_time: {2 * policy.startup_time:g} s.",
            id="recloser.W008",
        )


def _counts_no_status(policy: Policy) -> bool:
    # A predicate may count anything.
    counted = tuple(test for test in policy.failure_on if isinstance(test, type))
    if len(counted) < len(policy.failure_on):
        return False
    ignored = tuple(test for test in policy.ignore if isinstance(test, type))
    loaded = [getattr(sys.modules.get(module), name, None) for module, name in _STATUS_ERRORS]
    kinds = [kind for kind in loaded if isinstance(kind, type)]
    return bool(kinds) and not any(
        issubclass(kind, counted) and not issubclass(kind, ignored) for kind in kinds
    )
