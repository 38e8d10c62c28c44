"""Assertions on degraded answers, whichever client received them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Protocol

_PARAMETER: Final = re.compile(r';\s*(\w+)=(?:"((?:[^"\\]|\\.)*)"|([^;\s]*))')


class Answered(Protocol):
    """What is used of a response: those of httpx, requests, Django and its clients have it."""

    status_code: int

    @property
    def headers(self) -> Mapping[str, str]:
        """By name, whatever its case."""
        ...


def assert_degraded(response: Answered, *, strategy: str | None = None, breaker: str | None = None) -> None:
    """Assert that recloser answered, for a circuit that refused.

    Args:
        response: Of FastAPI's `TestClient`, Django's clients, or any with `status_code` and `headers`.
        strategy: Also that this one answered, such as `"stale"`, `"json"` or `"unavailable"`.
        breaker: Also that this breaker refused.

    Raises:
        AssertionError: It is otherwise; says how.
        LookupError: The answer does not say: outside of a test that holds the breakers, only `EXPOSE` lets it.
    """
    __tracebackhide__ = True
    note = response.headers.get("recloser")
    if note is None or not note.startswith("degraded"):
        raise AssertionError(f"the answer is the application's own: {response.status_code}")
    said = {name: quoted or plain for name, quoted, plain in _PARAMETER.findall(note)}
    for what, expected in (("strategy", strategy), ("breaker", breaker)):
        if expected is None:
            continue
        if what not in said:
            raise LookupError(
                f"the answer names no {what}: use the fixture `breakers`, `isolated()` or EXPOSE"
            )
        if said[what] != expected:
            raise AssertionError(
                f"the {what} is {said[what]!r}, not {expected!r}: {response.status_code}, {note}"
            )
