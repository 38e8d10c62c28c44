"""Checks that a forked child makes."""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from time import monotonic

import pytest

PATIENCE = 20.0  # for a child to end (seconds)


def in_child(check: Callable[[], object]) -> None:
    """Fork, let the child check, and fail if it does not end well in time."""
    with warnings.catch_warnings():
        # Python 3.12 warns of what this is about: forking while other threads run.
        warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
        child = os.fork()
    if child == 0:
        status = 1
        try:
            check()
            status = 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(status)
    deadline = monotonic() + PATIENCE
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            assert os.waitstatus_to_exitcode(status) == 0
            return
        if monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            pytest.fail("the child hangs")
        threading.Event().wait(0.001)
