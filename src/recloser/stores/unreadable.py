"""What stands in a store and cannot be read: it costs nothing but itself, and is named in the log, once."""

from __future__ import annotations

from typing import Final

from recloser.core.log import logger

# What reading raises that was damaged, or written by somebody else.
ERRORS: Final = (ValueError, TypeError, AttributeError, LookupError, OverflowError, RecursionError)
KEPT: Final = 256

BREAKER: Final = (
    "breaker %r: its record in the store %s cannot be read (%r): it is replaced by what the workers know of it; "
    "an operator's mode that none of them knows must be set again"
)
WORKER: Final = (
    "worker %r: its report in the store %s cannot be read (%r): it is not shown until its next one"
)
TRANSITION: Final = "transition %r: its report in the store %s cannot be read (%r): it is not shown"


class Unreadable:
    """Names what cannot be read.

    Args:
        address: The store's, without credentials.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._told: set[tuple[str, object]] = set()

    def tell(self, message: str, name: object, error: Exception) -> None:
        """Log it, if that has not been done.

        Args:
            message: One of the above.
            name: Whose it is.
            error: Why.
        """
        if (message, name) in self._told:
            return
        if len(self._told) >= KEPT:
            self._told.clear()
        self._told.add((message, name))
        logger().error(message, name, self._address, error)
