"""What is called, and the floors: wrappers and a context manager that do nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Self

REFUSED = "try:\n    {call}\nexcept refused:\n    pass"
DRIVEN = "try:\n    {call}.send(None)\nexcept StopIteration:\n    pass"
FAILED = "try:\n    {call}\nexcept ConnectionError:\n    pass"

# For as long as a run takes, an open circuit stays open (seconds).
OPEN = 36_000
FAILURES = 5


def charge(amount):
    return amount


def refund(amount):
    return amount


def ship(amount):
    return amount


async def charge_async(amount):
    return amount


def broken(amount):
    raise ConnectionError(amount)


class Client:
    """Its bound method and itself are no plain functions: a decorator sees no signature to repeat."""

    def charge(self, amount):
        return amount

    def __call__(self, amount):
        return amount


def empty_wrapper(function: Callable[..., object]) -> Callable[..., object]:
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


def clocked(function: Callable[[int], object]) -> Callable[[int], object]:
    """A wrapper that looks at the clock before and after, and does nothing with it."""
    clock = time.monotonic

    def wrapper(amount):
        clock()
        result = function(amount)
        clock()
        return result

    return wrapper


def empty_async_wrapper(function: Callable[..., object]) -> Callable[..., object]:
    async def wrapper(*args, **kwargs):
        return await function(*args, **kwargs)

    return wrapper


class EmptyBlock:
    """The cheapest context manager that is made for each use."""

    __slots__ = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind, error, traceback) -> None:
        return None
