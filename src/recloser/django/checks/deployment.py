"""W001, W004: several workers, each of which decides alone."""

from __future__ import annotations

import os
import re

from django.conf import settings
from django.core.checks import CheckMessage, Warning  # noqa: A004 - Django's name

from recloser.django.checks.installed import installed
from recloser.django.shared_cache import SharedResponses

_WORKERS = re.compile(r"(?:^|\s)(?:-w\s*|--workers[=\s]\s*)(\d+)")


def check_workers(**_: object) -> list[CheckMessage]:
    """Report what several workers do not share, where the environment says that there are several."""
    return _unshared("several workers are started") if workers() > 1 else []


def check_deployment(**_: object) -> list[CheckMessage]:
    """Report the same for a deployment (`check --deploy`), which likely has several."""
    return _unshared("a deployment likely has several workers") if workers() == 0 else []


def workers() -> int:
    """Read how many workers the server's environment asks for; 0 if it does not say."""
    told = [os.environ.get("WEB_CONCURRENCY", ""), *_WORKERS.findall(os.environ.get("GUNICORN_CMD_ARGS", ""))]
    return max((int(number) for number in told if number.isdigit()), default=0)


def _unshared(why: str) -> list[CheckMessage]:
    found = installed()
    messages: list[CheckMessage] = []
    if found is None:
        return messages
    if found.registry.declaration.store is None:
        messages.append(
            Warning(
                f"The circuits are not shared, and {why}.",
                hint='Let them meet: RECLOSER["STORE"] = "sqlite" on one machine, "redis://…" across machines. Without a '
                "store each worker finds out about an outage by itself, and an operator's action reaches one worker.",
                id="recloser.W001",
            )
        )
    cache = found.responder.cache
    if isinstance(cache, SharedResponses):
        backend: str = settings.CACHES[cache.alias].get("BACKEND", "")
        if backend.rpartition(".")[2] in {"LocMemCache", "DummyCache"}:
            messages.append(
                Warning(
                    f"Stale answers are kept in CACHES[{cache.alias!r}], a {backend.rpartition('.')[2]}, and {why}.",
                    hint="Name a cache that all workers share, or leave the alias out: recloser's own memory is "
                    "bounded in bytes and quicker.",
                    id="recloser.W004",
                )
            )
    return messages
