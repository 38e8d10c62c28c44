"""The library's logger, imported when there is something to say: `logging` is a third of an import's time."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging


def logger() -> logging.Logger:
    """Return the logger `recloser`."""
    import logging  # noqa: PLC0415

    return logging.getLogger("recloser")
