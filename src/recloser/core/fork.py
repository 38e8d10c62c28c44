"""Forks: a child begins with whole machines, fresh locks and nothing of its parent's in flight (SEMANTICS C13)."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from typing import Protocol


class Forkable(Protocol):
    """What must be still while the process is copied."""

    def before_fork(self) -> None:
        """Wait until no thread is inside."""
        ...

    def after_fork_in_parent(self) -> None:
        """Go on."""
        ...

    def after_fork_in_child(self) -> None:
        """Begin anew."""
        ...


_alive: weakref.WeakSet[Forkable] = weakref.WeakSet()
_held: list[Forkable] = []


def watch(one: Forkable) -> None:
    """Keep `one` whole over forks, for as long as it lives."""
    _alive.add(one)


def _before() -> None:
    _held[:] = _everyone()
    for one in _held:
        one.before_fork()


def _after_in_parent() -> None:
    _release(lambda one: one.after_fork_in_parent())


def _after_in_child() -> None:
    _release(lambda one: one.after_fork_in_child())


def _release(go_on: Callable[[Forkable], None]) -> None:
    held = list(_held)
    _held.clear()
    for one in held:
        go_on(one)


def _everyone() -> list[Forkable]:
    while True:
        try:
            return list(_alive)
        except RuntimeError:  # another thread made a breaker meanwhile
            continue


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
