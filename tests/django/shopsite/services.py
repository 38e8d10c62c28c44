"""The services behind the shop: each test says how they do."""

from __future__ import annotations


class OutageError(Exception):
    """A service did not answer."""


class Inventory:
    """Counts its calls, and fails or answers as told."""

    def __init__(self) -> None:
        self.calls = 0
        self.error: BaseException | None = None
        self.answers_badly = False

    def quantity(self) -> int:
        self.calls += 1
        if self.error is not None:
            raise self.error
        return 7


inventory = Inventory()
