"""What an operator may do to a breaker, by the words that the admin and the command line use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final, NamedTuple

from recloser.core.breaker import CircuitBreaker


class Operation(NamedTuple):
    """One thing to do.

    Attributes:
        label: For a button.
        effect: What it does, in a sentence.
        may_end: Whether it can be given an end.
        apply: Does it, given the breaker, who, why and until when.
    """

    label: str
    effect: str
    may_end: bool
    apply: Callable[[CircuitBreaker, str, str, datetime | None], None]


def _open(breaker: CircuitBreaker, by: str, reason: str, until: datetime | None) -> None:
    breaker.force_open(by=by, reason=reason, until=until)


def _close(breaker: CircuitBreaker, by: str, reason: str, until: datetime | None) -> None:
    breaker.force_closed(by=by, reason=reason, until=until)


def _shadow(breaker: CircuitBreaker, by: str, reason: str, until: datetime | None) -> None:
    breaker.shadow(by=by, reason=reason, until=until)


def _auto(breaker: CircuitBreaker, by: str, reason: str, _: datetime | None) -> None:
    breaker.auto(by=by, reason=reason)


def _reset(breaker: CircuitBreaker, by: str, reason: str, _: datetime | None) -> None:
    breaker.reset(by=by, reason=reason)


OPERATIONS: Final[Mapping[str, Operation]] = {
    "open": Operation("Force open", "refuses every call", True, _open),
    "close": Operation("Force closed", "admits and counts every call, never trips", True, _close),
    "shadow": Operation("Shadow", "decides and reports, never refuses", True, _shadow),
    "auto": Operation("Automatic", "returns to normal", False, _auto),
    "reset": Operation(
        "Reset", "closes the circuit, forgets counts and backoff, keeps the mode", False, _reset
    ),
}
