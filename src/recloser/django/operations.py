"""What an operator may do to a breaker, by the words of the admin's URLs and of the command line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from recloser.steering import Action

OPERATIONS: Final[Mapping[str, Action]] = {
    "open": Action.FORCE_OPEN,
    "close": Action.FORCE_CLOSED,
    "shadow": Action.SHADOW,
    "auto": Action.AUTO,
    "reset": Action.RESET,
}
