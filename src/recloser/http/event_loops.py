"""Waiting for a thread without holding up an event loop, whichever one runs: asyncio's or trio's."""

from __future__ import annotations

import sys
from collections.abc import Generator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, TypeVar

T = TypeVar("T")

_blocks: Final[ContextVar[bool]] = ContextVar("recloser_blocks", default=False)


@contextmanager
def blocking() -> Generator[None]:
    """Wait in place inside, although an event loop may run in this thread: it called something synchronous."""
    token = _blocks.set(True)
    try:
        yield
    finally:
        _blocks.reset(token)


def blocks() -> bool:
    """Tell whether this is inside of `blocking`."""
    return _blocks.get()


def has_event_loop() -> bool:
    """Tell whether an event loop runs in this thread that can be waited on. Nothing is imported to find that out."""
    return not _blocks.get() and (_runs_asyncio() or _runs_trio())


def waited(future: Future[T], timeout: float) -> T:
    """Wait for a thread's result where no event loop runs.

    Args:
        future: Of the thread; one that has not begun by then never does.
        timeout: Seconds to wait.

    Raises:
        TimeoutError: It was not done in time.
    """
    try:
        return future.result(timeout)
    finally:
        future.cancel()


async def awaited(future: Future[T], timeout: float) -> T:  # noqa: ASYNC109 - the same under both
    """Wait for a thread's result on an event loop; as `waited`."""
    try:
        if _runs_asyncio():
            return await _asyncio_outcome(future, timeout)
        return await _trio_outcome(future, timeout)
    finally:
        future.cancel()


async def _asyncio_outcome(future: Future[T], timeout: float) -> T:  # noqa: ASYNC109
    import asyncio  # noqa: PLC0415 - it is there if it is what runs

    try:
        return await asyncio.wait_for(asyncio.wrap_future(future), timeout)
    except TimeoutError:
        # The loop may have been held up itself, while the result has long been there.
        if future.done() and not future.cancelled():
            return future.result()
        raise


async def _trio_outcome(future: Future[T], timeout: float) -> T:  # noqa: ASYNC109
    import trio  # noqa: PLC0415 - it is there if it is what runs

    # A limiter of its own: the threads of endpoints may all be busy waiting for what is out.
    return await trio.to_thread.run_sync(
        future.result, timeout, abandon_on_cancel=True, limiter=trio.CapacityLimiter(1)
    )


def _runs_asyncio() -> bool:
    asyncio: Any = sys.modules.get("asyncio")
    return asyncio is not None and asyncio._get_running_loop() is not None  # noqa: SLF001 - it is its C function


def _runs_trio() -> bool:
    trio: Any = sys.modules.get("trio")
    return trio is not None and bool(trio.lowlevel.in_trio_run())
