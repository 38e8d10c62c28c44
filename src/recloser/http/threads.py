"""Blocking functions beside an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

R = TypeVar("R")


async def in_thread(call: Callable[[], R]) -> R:
    """Run a function that may block in a thread, with a copy of the context, under asyncio or trio."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        from trio.to_thread import run_sync  # noqa: PLC0415 - it is there if it is what runs

        return await run_sync(call)
    return await asyncio.to_thread(call)
