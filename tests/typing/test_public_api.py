"""What type checkers tell a user: checked by mypy and pyright, and run once by pytest."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextlib import closing
from pathlib import Path
from typing import Any, assert_type

from recloser import (
    Cause,
    CircuitBreaker,
    CircuitOpenError,
    Mode,
    Outcome,
    Permit,
    Policy,
    Registry,
    Rejection,
    Snapshot,
    State,
    last_good,
)
from recloser.deferred import Job, Queue

payments = CircuitBreaker("payments", failure_threshold=3, recovery_timeout=60)


@payments
def charge(amount: float, /, *, currency: str = "EUR") -> str:
    return f"{amount} {currency}"


@payments
async def refund(amount: float) -> int:
    return int(amount)


@payments
def lines(count: int) -> Generator[int, None, str]:
    yield from range(count)
    return "end"


@payments
async def pages(count: int) -> AsyncGenerator[int, None]:
    for number in range(count):
        yield number


class Client:
    @payments
    def fetch(self, key: str) -> bytes:
        return key.encode()

    @staticmethod
    @payments
    def parse(text: str) -> int:
        return int(text)

    @classmethod
    @payments
    def make(cls, key: str) -> Client:
        return cls()


@payments.protect(fallback=last_good(60), on="failure")
def rate(currency: str) -> float:
    return 1.0


@payments.protect(fallback=None)
def balance(account: str) -> float:
    return 12.5


class Accounts:
    @payments.protect(fallback=None, on="failure")
    async def owner(self, account: str) -> str:
        return "ann"


def test_a_fallback_of_none_is_told() -> None:
    """Whoever calls has to think of it; of other values the function's own type is taken at its word."""
    assert_type(balance("ann"), float | None)

    async def owner() -> None:
        assert_type(await Accounts().owner("4711"), str | None)

    asyncio.run(owner())


def test_a_task_as_a_fallback_is_told(tmp_path: Path) -> None:
    """Whoever calls gets the result, or the job that stands for it."""
    with closing(Queue(tmp_path / "jobs.db", Registry({"BREAKERS": {"mail": {}}}))) as queue:

        @queue.task("mail")
        def later(job: Job, text: str) -> None: ...

        @payments.protect(fallback=later)
        def send(text: str) -> None: ...

        assert_type(send("hello"), Job | None)


def test_decorated_functions_keep_their_types() -> None:
    """A wrapper has the parameters and the result of what it wraps."""
    assert_type(charge(1.0, currency="USD"), str)
    assert_type(lines(1), Generator[int, None, str])
    assert_type(Client().fetch("a"), bytes)
    assert_type(Client.parse("1"), int)
    assert_type(Client.make("a"), Client)
    assert_type(rate("EUR"), float)

    async def both() -> None:
        assert_type(await refund(1.0), int)
        assert_type([page async for page in pages(1)], list[int])

    asyncio.run(both())
    plain: Callable[[float], Coroutine[Any, Any, int]] = refund
    assert plain is refund


def test_calls_keep_their_types() -> None:
    """`call`, `call_async`, `calling` and `acquire` say what they give."""
    assert_type(payments.call(len, "abc"), int)

    async def fetch(key: str) -> bytes:
        async with payments.calling():
            return await payments.call_async(fetch_once, key)

    async def fetch_once(key: str) -> bytes:
        return key.encode()

    assert_type(asyncio.run(fetch("a")), bytes)
    with payments.calling() as call:
        call.ignore()
    permit = payments.acquire()
    assert_type(permit, Permit)
    assert_type(permit.finish(None), Outcome)


def test_what_is_read_has_types() -> None:
    """State, mode, snapshot and errors are typed to the bottom."""
    assert_type(payments.state, State)
    assert_type(payments.mode.mode, Mode)
    assert_type(payments.snapshot(), Snapshot)
    assert_type(payments.policy, Policy)
    assert_type(payments.policy.recovery_timeout, float)
    payments.force_open(by="ann", reason="types")
    try:
        charge(1.0)
    except CircuitOpenError as error:
        assert_type(error.retry_after, float)
        assert_type(error.cause, Cause | None)
        assert_type(error.reason, Rejection)
    payments.auto(by="ann", reason="types")
    assert_type(Registry({"BREAKERS": {"payments": {}}})["payments"], CircuitBreaker)


def wrong_use() -> None:
    """Mistakes that a checker reports; never run."""
    CircuitBreaker("payments", recovery_timeuot=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    charge("ten")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    payments.call(len, 3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    payments.force_open(reason="nobody")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
