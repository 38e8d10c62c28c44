"""For whom a plan keeps responses: for everybody, or each user's own for that user alone."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, TypeAlias
from uuid import UUID

from recloser.core.log import logger

# Names a private partition: a dependency of FastAPI's, or a function of the framework's request.
Per: TypeAlias = Callable[..., Any]

_WHAT_TO_RETURN: Final = "return what never changes about the user, a str, int or UUID such as a primary key"


# What may be kept without an explicit lifetime (RFC 9110 §15.1), has a body, and is whole.
KEEPABLE: Final = frozenset({200, 203, 300, 301, 308, 404, 410})
ORDINARY: Final = frozenset({200})


@dataclass(frozen=True, slots=True)
class Keeping:
    """What a plan's `stale` asks of the cache.

    Attributes:
        per: Names the partition; `None`: responses are kept for everybody.
        shared: Cookies and credentials of a request do not make its response personal, says the author.
        seconds: How long past its freshness a response may be served.
        statuses: Of the responses that are kept.
    """

    per: Per | None = None
    shared: bool = False
    seconds: float = math.inf
    statuses: AbstractSet[int] = ORDINARY


def pers_of(keepings: Iterable[Keeping]) -> frozenset[Per]:
    """Return what names their partitions."""
    return frozenset(keeping.per for keeping in keepings if keeping.per is not None)


def partition(per: Per, value: object) -> str:
    """Make a partition's name of what `per` found; no two values have the same.

    A value that cannot be one is logged, once for each `per`: a request does not fail for its cache.

    Args:
        per: Named in the log.
        value: Who asks; `None` and whatever is empty: nobody known.

    Returns:
        The name, `""` if nothing is to be kept or served.
    """
    # True is what "somebody is signed in" looks like: all of them would be one.
    if isinstance(value, UUID):
        return f"uuid:{value.hex}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"int:{int(value)}" if value else ""
    if isinstance(value, str):
        text = str.__str__(value)
        return f"str:{text}" if text.strip() else ""
    if value is not None:
        _complain(per, type(value).__name__)
    return ""


def ask(per: Per, request: object) -> str:
    """Name the partition of a request where the framework solves no dependencies.

    Args:
        per: A function of the request.
        request: The framework's own.

    Returns:
        As `partition`; `""` too if the function raises, or is a coroutine function.
    """
    try:
        value: object = per(request)
    except Exception as error:
        logger().debug("per=%r knows nobody: %s: %s", per, type(error).__name__, error)
        return ""
    if inspect.iscoroutine(value):
        value.close()
    return partition(per, value)


@cache
def _complain(per: Per, kind: str) -> None:
    logger().error("per=%r of a plan got a %s, which names nobody: %s", per, kind, _WHAT_TO_RETURN)
