"""Lets a signal arrive at every moment of an operation at which CPython can take one, one moment per run.

A trace function sets the signal pending just before each call, loop and function entry; CPython then runs the
handler at its own next check, as it would for a signal from outside. So nothing is tested that cannot happen, and
nothing that can is left to luck.
"""

from __future__ import annotations

import dis
import signal
import sys
from _thread import interrupt_main
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NamedTuple

CHECKS = {code for name, code in dis.opmap.items() if name.startswith(("CALL", "JUMP_BACKWARD"))}


class _Pend:
    # As an operator: a Python-level call would take the signal in the trace function itself.
    __getitem__ = interrupt_main


PEND = _Pend()


class Moment:
    """One run of an operation with a signal at its moment number `at`."""

    def __init__(self, at: int, handler: Callable[[], object]) -> None:
        self.at = at
        self.handler = handler
        self.passed = 0
        self.taken = ""

    def run(self, operation: Callable[[], object]) -> None:
        """Run `operation`; the handler runs within it, and may raise out of it."""
        before, tracing = signal.signal(signal.SIGUSR1, self._handle), sys.gettrace()
        sys.settrace(self._trace)
        try:
            operation()
        finally:
            sys.settrace(tracing)
            signal.signal(signal.SIGUSR1, before)

    def _trace(self, frame: FrameType, event: str, arg: object) -> Any:
        if not _ours(frame):
            return None
        frame.f_trace_opcodes = True
        if event == "call" or (event == "opcode" and frame.f_code.co_code[frame.f_lasti] in CHECKS):
            self.passed += 1
            if self.passed == self.at + 1:
                PEND[signal.SIGUSR1]
        return self._trace

    def _handle(self, number: int, frame: FrameType | None) -> None:
        # Python 3.13 may look for signals as it enters the trace function: no moment of the operation.
        if frame is not None and _ours(frame) and not self.taken:
            sys.settrace(None)
            self.taken = f"{frame.f_code.co_qualname}, line {frame.f_lineno}"
            self.handler()


def _ours(frame: FrameType) -> bool:
    return "recloser/core" in frame.f_code.co_filename or frame.f_code.co_filename == "<recloser wrapper>"


class Scene(NamedTuple):
    """An operation, what a signal does in its midst, and what must hold afterwards."""

    operation: Callable[[], object]
    handler: Callable[[], object]
    check: Callable[[], object]


def at_every_moment(scene: Callable[[], Scene]) -> int:
    """Play a fresh scene for each moment of its operation; return how many there were."""
    taken = at = 0
    while True:
        played = scene()
        moment = Moment(at, played.handler)
        with _only_ctrl_c_is_unraisable():
            with suppress(KeyboardInterrupt):
                moment.run(played.operation)
            if moment.taken:
                taken += 1
                try:
                    played.check()
                except BaseException as error:
                    error.add_note(f"the signal was taken in {moment.taken}")
                    raise
        if moment.passed <= at:
            return taken
        at += 1


@contextmanager
def _only_ctrl_c_is_unraisable() -> Iterator[None]:
    """An exception that a handler raises in a finaliser cannot leave it; any other there is a fault of ours."""
    seen: list[str] = []
    before = sys.unraisablehook
    sys.unraisablehook = lambda fault: seen.append(f"{fault.exc_type.__name__}: {fault.exc_value}")
    try:
        yield
    finally:
        sys.unraisablehook = before
    assert set(seen) <= {"KeyboardInterrupt: "}, seen
