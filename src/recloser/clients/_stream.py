"""Streams that report how they ended, and otherwise are the streams that they carry."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from typing import Any, Protocol


class ByteStream(Protocol):
    """A body as the libraries' synchronous side defines it."""

    def __iter__(self) -> Iterator[bytes]: ...
    def close(self) -> None: ...


class AsyncByteStream(Protocol):
    """A body as the libraries' asynchronous side defines it."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...
    async def aclose(self) -> None: ...


class Watched:
    """A body that is being watched.

    Args:
        carried: The body itself.
        ended: Called when it was read to its end, or closed before.
        broke: Called with the exception that broke it off.
    """

    def __init__(
        self, carried: Any, ended: Callable[[], object], broke: Callable[[BaseException], object]
    ) -> None:
        self.carried = carried
        self.ended = ended
        self.broke = broke


class WatchedStream(Watched):
    """A synchronous body that is being watched."""

    carried: ByteStream

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self.carried
        except GeneratorExit:
            # The consumer wants no more. He may still close, or drop, the body: not known yet.
            raise
        except BaseException as error:
            self.broke(error)
            raise
        self.ended()

    def close(self) -> None:
        self.ended()
        self.carried.close()


class WatchedAsyncStream(Watched):
    """An asynchronous body that is being watched."""

    carried: AsyncByteStream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        chunks = self.carried.__aiter__()
        try:
            async for chunk in chunks:
                yield chunk
        except GeneratorExit:
            # Unlike `yield from`, `async for` leaves the inner generator to the garbage collector.
            if isinstance(chunks, AsyncGenerator):
                await chunks.aclose()
            raise
        except BaseException as error:
            self.broke(error)
            raise
        self.ended()

    async def aclose(self) -> None:
        # First, because a cancelled task does not come back from an await.
        self.ended()
        await self.carried.aclose()
