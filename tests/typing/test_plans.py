"""What type checkers say of plans and guards: a function keeps its signature, words are checked, errors are typed."""

from __future__ import annotations

from typing import assert_type

from recloser import CallRejectedError, CircuitOpenError
from recloser.core.errors import Refusal
from recloser.fastapi import guard
from recloser.http import plans
from recloser.http.failure import CallFailedError, Trouble
from recloser.http.messages import Request


def from_catalogue(request: Request, error: Trouble) -> dict[str, object]:
    assert_type(error.breaker, str)
    assert_type(error.retry_after, float)
    assert_type(error.last_failure, str)
    if isinstance(error, CallFailedError):
        assert_type(error.error, BaseException | None)
        assert_type(error.status, int | None)
    else:
        assert_type(error, CallRejectedError)
    return {"path": request.path}


@guard("inventory", plan=[plans.stale(600), plans.compute(from_catalogue)], on=("open", "failure"))
def stock(product: int) -> int:
    return product


@guard("inventory", plan=[{"stale": 600}], on=["open", "failure"])
async def stock_later(product: int) -> int:
    return product


def test_words_are_checked() -> None:
    """A word that no plan knows is an error to the checkers, and at start."""
    guard("inventory", plan=["unavailable"], on=("open", "close"))  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


def test_either_kind_of_error_is_typed() -> None:
    """Guarded functions keep their types, and the errors have what plans read of them."""
    asked = Request(
        method="GET",
        scheme="http",
        host="shop.example",
        path="/page",
        raw_path="/page",
        query="",
        headers=(),
    )
    for error in (CircuitOpenError(Refusal("inventory")), CallFailedError("inventory", status=502)):
        assert from_catalogue(asked, error) == {"path": "/page"}

    async def types() -> None:
        assert_type(stock(product=7), int)
        assert_type(await stock_later(product=7), int)

    assert callable(types)
