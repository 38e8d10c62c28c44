"""Every way into a breaker: calls that overlap (`ENTRIES`), and calls that begin and end at once (`WRAPPERS`)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterator, Mapping
from contextlib import suppress
from typing import Any, Protocol

from model import Verdict
from recloser import CircuitBreaker


class Boom(Exception):
    """The dependency failed, and may have said when to come back."""

    def __init__(self, retry_after: float | None = None):
        super().__init__("boom")
        if retry_after is not None:
            self.retry_after = retry_after


class Excluded(Exception):
    """Named in the policy's `ignore`."""


class Entry(Protocol):
    """One admitted call in flight."""

    def settle(self, verdict: Verdict, retry_after: float | None) -> None: ...


def exception_of(verdict: Verdict, retry_after: float | None) -> BaseException | None:
    match verdict:
        case Verdict.SUCCESS:
            return None
        case Verdict.FAILURE:
            return Boom(retry_after)
        case Verdict.IGNORED:
            return Excluded()
        case Verdict.CANCELLED:
            return asyncio.CancelledError()


class ByVerdict:
    """`acquire()`, then the permit's own verbs."""

    def __init__(self, breaker: CircuitBreaker):
        self.permit = breaker.acquire()

    def settle(self, verdict: Verdict, retry_after: float | None) -> None:
        match verdict:
            case Verdict.SUCCESS:
                self.permit.success()
            case Verdict.FAILURE:
                self.permit.failure(Boom(), retry_after=retry_after)
            case Verdict.IGNORED:
                self.permit.ignore()
            case Verdict.CANCELLED:
                self.permit.finish(asyncio.CancelledError())


class ByFinish:
    """`acquire()`, then `finish` with whatever was raised."""

    def __init__(self, breaker: CircuitBreaker):
        self.permit = breaker.acquire()

    def settle(self, verdict: Verdict, retry_after: float | None) -> None:
        self.permit.finish(exception_of(verdict, retry_after))


class ByCalling:
    """`with calling():`, entered and left by hand; the block may have been made in an earlier epoch."""

    def __init__(self, breaker: CircuitBreaker, block: Any = None):
        self.block = block or breaker.calling()
        self.block.__enter__()

    def settle(self, verdict: Verdict, retry_after: float | None) -> None:
        raised = exception_of(verdict, retry_after)
        assert not self.block.__exit__(type(raised) if raised else None, raised, None)


class ByAsyncCalling:
    """`async with calling():`, entered and left by hand."""

    def __init__(self, breaker: CircuitBreaker):
        self.block = breaker.calling()
        finish_now(self.block.__aenter__())

    def settle(self, verdict: Verdict, retry_after: float | None) -> None:
        raised = exception_of(verdict, retry_after)
        assert not finish_now(self.block.__aexit__(type(raised) if raised else None, raised, None))


class Pause:
    """Suspends a coroutine until it is sent or thrown something."""

    def __await__(self) -> Generator[None, None, None]:
        yield


def finish_now(awaitable: Awaitable[Any]) -> Any:
    """Run an awaitable that never waits."""
    steps = awaitable.__await__()
    try:
        next(steps)
    except StopIteration as end:
        return end.value
    raise AssertionError("suspended")


def throw_through(throw: Callable[[BaseException], object], raised: BaseException) -> None:
    """Throw into a suspended call, and see the very same exception come out."""
    try:
        throw(raised)
    except BaseException as error:
        seen = error
    else:
        raise AssertionError("swallowed")
    assert seen is raised
    raised.__traceback__ = None


class ByCoroutine:
    """A decorated coroutine function, suspended in its body."""

    def __init__(self, breaker: CircuitBreaker):
        @breaker
        async def fetch(url: str) -> str:
            await Pause()
            return url

        self.call: Coroutine[Any, Any, str] = fetch("/")
        self.call.send(None)

    def settle(self, verdict: Verdict, retry_after: float | None) -> None:
        raised = exception_of(verdict, retry_after)
        if verdict is Verdict.IGNORED:
            self.call.close()
        elif raised is not None:
            throw_through(self.call.throw, raised)
        else:
            with suppress(StopIteration):
                self.call.send(None)
                raise AssertionError("suspended")


class ByGenerator:
    """A decorated generator function, suspended between two items."""

    def __init__(self, breaker: CircuitBreaker):
        @breaker
        def lines() -> Iterator[str]:
            yield "first"

        self.stream: Any = lines()
        assert next(self.stream) == "first"

    def settle(self, verdict: Verdict, retry_after: float | None) -> None:
        raised = exception_of(verdict, retry_after)
        if verdict is Verdict.IGNORED:
            self.stream.close()
        elif raised is not None:
            throw_through(self.stream.throw, raised)
        else:
            assert list(self.stream) == []


class ByAsyncGenerator:
    """A decorated async generator function, suspended between two items."""

    def __init__(self, breaker: CircuitBreaker):
        @breaker
        async def lines() -> AsyncIterator[str]:
            yield "first"

        self.stream: Any = lines()
        assert finish_now(self.stream.__anext__()) == "first"

    def settle(self, verdict: Verdict, retry_after: float | None) -> None:
        raised = exception_of(verdict, retry_after)
        if verdict is Verdict.IGNORED:
            finish_now(self.stream.aclose())
        elif raised is not None:
            throw_through(lambda error: finish_now(self.stream.athrow(error)), raised)
        else:
            with suppress(StopAsyncIteration):
                finish_now(self.stream.__anext__())
                raise AssertionError("not ended")


ENTRIES: Mapping[str, Callable[[CircuitBreaker], Entry]] = {
    "acquire": ByVerdict,
    "finish": ByFinish,
    "calling": ByCalling,
    "async calling": ByAsyncCalling,
    "coroutine": ByCoroutine,
    "generator": ByGenerator,
    "async generator": ByAsyncGenerator,
}

PERMITS = frozenset({"acquire", "finish"})  # they can be told of an answer, and of an end more than once
STREAMS = frozenset({"generator", "async generator"})  # they begin to answer with their first item

Body = Callable[[str], str]


def with_own_signature(breaker: CircuitBreaker, body: Body) -> Body:
    @breaker
    def fetch(url: str) -> str:
        return body(url)

    return fetch


def with_any_signature(breaker: CircuitBreaker, body: Body) -> Body:
    @breaker
    def fetch(*args: str, **kwargs: str) -> str:
        return body(*args, **kwargs)

    return fetch


def with_block(breaker: CircuitBreaker, body: Body) -> Body:
    def fetch(url: str) -> str:
        with breaker.calling():
            return body(url)

    return fetch


def with_call(breaker: CircuitBreaker, body: Body) -> Body:
    return lambda url: breaker.call(body, url)


def with_coroutine(breaker: CircuitBreaker, body: Body) -> Body:
    @breaker
    async def fetch(url: str) -> str:
        return body(url)

    return lambda url: finish_now(fetch(url))


def with_call_async(breaker: CircuitBreaker, body: Body) -> Body:
    async def fetch(url: str) -> str:
        return body(url)

    return lambda url: finish_now(breaker.call_async(fetch, url))


WRAPPERS: Mapping[str, Callable[[CircuitBreaker, Body], Body]] = {
    "decorator": with_own_signature,
    "generic decorator": with_any_signature,
    "with block": with_block,
    "call": with_call,
    "async decorator": with_coroutine,
    "call_async": with_call_async,
}
