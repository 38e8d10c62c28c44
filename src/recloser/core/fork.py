"""Forks: a child begins with whole machines, fresh locks and nothing of its parent's in flight (SEMANTICS C13)."""

from __future__ import annotations

import os
import weakref
from _thread import RLock
from collections.abc import Iterable
from typing import Protocol

from recloser.core.log import logger


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
_first: weakref.WeakSet[Forkable] = weakref.WeakSet()
_forking = RLock()  # one fork at a time; a signal handler may fork within a fork
_prepared: list[list[Forkable]] = []  # what stands still already in a fork that goes on to the others
_held: list[list[Forkable]] = []
_is_early: list[bool] = []


def watch(one: Forkable, *, first: bool = False) -> None:
    """Keep `one` whole over forks, for as long as it lives.

    Args:
        one: What must be still while the process is copied.
        first: It waits for others' locks while it works, those of `logging` among them, and must be still before
            those are taken.
    """
    if first:
        _stand_still_early()
    (_first if first else _alive).add(one)


def _stand_still_early() -> None:
    """Let what works with others' locks stand still before `logging` takes its own: who comes last is asked first."""
    with _forking:
        if not _is_early and hasattr(os, "register_at_fork"):  # pragma: no branch - Windows has no forks
            logger()  # imports `logging`, which takes its lock at a fork from then on
            os.register_at_fork(before=_before_others)
        _is_early[:] = [True]


def _before_others() -> None:
    _forking.acquire()
    held = _living(_first)
    _prepared.append(held)
    for one in held:
        one.before_fork()


def _before() -> None:
    _forking.acquire()
    held: list[Forkable] = []
    if _prepared:
        held = _prepared.pop()
        _forking.release()
    _held.append(held)
    early = {id(one) for one in held}
    for one in alive():
        if id(one) not in early:
            held.append(one)
            one.before_fork()


def _after_in_parent() -> None:
    try:
        for one in _held.pop():
            one.after_fork_in_parent()
    finally:
        _forking.release()


def _after_in_child() -> None:
    global _forking  # noqa: PLW0603 - whoever waited for the old one is not here
    _forking = RLock()
    _prepared.clear()
    _held.clear()
    for one in alive():  # also those made on the eve of the fork
        one.after_fork_in_child()


def alive() -> list[Forkable]:
    """Return all that are kept whole and still live, in the order in which they must be still."""
    return _living(_first, _alive)


def _living(*groups: Iterable[Forkable]) -> list[Forkable]:
    while True:
        try:
            return [one for group in groups for one in group]
        except RuntimeError:  # another thread made a breaker meanwhile
            continue


if hasattr(os, "register_at_fork"):  # pragma: no branch - Windows has no forks
    os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
