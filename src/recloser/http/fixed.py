"""Answers that are written beforehand: `plans.json` and `plans.response`."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from typing import ClassVar, Final, Self, cast

from recloser.core.errors import Problem
from recloser.http.failure import Trouble
from recloser.http.messages import SAFE_METHODS, Headers, Request, Response
from recloser.http.problem import retry_after
from recloser.http.strategy import Means, Strategy

WITHOUT_BODY: Final = frozenset({204, 205, 304})
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 §5.1
_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")  # RFC 9110 §5.5
_OWN: Final = frozenset({"content-length", "transfer-encoding", "connection", "recloser"})


@dataclass(frozen=True, slots=True)
class Claim:
    """What a status says was done, to clients that asked for a change (RFC 9110 §9.2.1).

    Attributes:
        status: Of the answer.
        unsafe: The author lets it answer unsafe methods whatever it says.
    """

    status: int
    unsafe: bool = False

    def fits(self, method: str) -> bool:
        """Tell whether a request may be answered: success is not claimed for what was not done."""
        return method in SAFE_METHODS or self.is_harmless

    @property
    def is_harmless(self) -> bool:
        """Whether it may answer every method."""
        return self.unsafe or self.status >= 300

    def objection(self, methods: AbstractSet[str]) -> str:
        """Object to routes that only change things; see `Strategy.objection`."""
        if self.is_harmless or methods & SAFE_METHODS:
            return ""
        return (
            f"can never answer: {', '.join(sorted(methods))} would seem to have succeeded; "
            "give it a status of 300 or more, or unsafe=True"
        )

    def problems(self, bodiless: AbstractSet[int] = frozenset()) -> list[Problem]:
        """Find what is wrong with the arguments.

        Args:
            bodiless: Those statuses without a body that are welcome too.
        """
        problems: list[Problem] = []
        given = cast("object", self.status)
        if not isinstance(given, int) or not 200 <= given <= 599 or given in WITHOUT_BODY - bodiless:
            fix = "must be an HTTP status of 200..599 whose response has a body"
            problems.append(Problem("status", repr(given), fix))
        if not isinstance(cast("object", self.unsafe), bool):
            problems.append(Problem("unsafe", repr(self.unsafe), "must be true or false"))
        return problems


@dataclass(frozen=True, slots=True)
class Fixed(Strategy):
    """See `plans.response`."""

    name: ClassVar[str] = "response"

    body: bytes
    headers: Headers
    claim: Claim
    random: Callable[[], float] = field(default=random.random, compare=False, repr=False)

    @property
    def waits(self) -> bool:
        """It is written already."""
        return False

    def prepared(self, means: Means) -> Self:
        """Jitter by the application's randomness."""
        return replace(self, random=means.random)

    def answer(self, request: Request, error: Trouble) -> Response | None:
        """Answer, unless that would claim that something was done."""
        if not self.claim.fits(request.method):
            return None
        wait = retry_after(error, self.random)
        return completed(Response(self.claim.status, self.headers, self.body), wait)

    def objection(self, methods: AbstractSet[str]) -> str:
        """Object to routes that only change things."""
        return self.claim.objection(methods)

    def always_answers(self, methods: AbstractSet[str]) -> bool:
        """Answer everything that it may answer."""
        return self.claim.is_harmless or methods <= SAFE_METHODS


@dataclass(frozen=True, slots=True)
class Json(Fixed):
    """See `plans.json`."""

    name: ClassVar[str] = "json"


def completed(response: Response, wait: int) -> Response:
    """Add what follows from the rest: `Content-Length`, and `Retry-After` where the status asks for one.

    Args:
        response: As its author wrote it.
        wait: For `Retry-After` (seconds).
    """
    headers = response.headers
    if response.status not in WITHOUT_BODY:
        headers += (("content-length", str(len(response.body))),)
    if response.status in {429, 503} and response.header("retry-after") is None:
        headers += (("retry-after", str(wait)),)
    return Response(response.status, headers, response.body)


def encoded_json(value: object) -> bytes:
    """Write a value as compact JSON.

    Raises:
        TypeError: It has parts that JSON has not.
        ValueError: It has numbers that JSON has not (RFC 8259 §6), or contains itself.
        RecursionError: It is nested too deep.
    """
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def read_headers(headers: object, path: str) -> tuple[Headers, list[Problem]]:
    """Check header fields that an author wrote.

    Args:
        headers: A mapping from names to values.
        path: Where they were written.

    Returns:
        The headers, names in lower case, and the problems found.
    """
    if not isinstance(headers, Mapping):
        return (), [Problem(path, repr(headers), 'must be a mapping such as {"Content-Language": "en"}')]
    fields: list[tuple[str, str]] = []
    problems: list[Problem] = []
    for name, value in cast("Mapping[object, object]", headers).items():
        fix = _header_fix(name, value)
        if fix:
            problems.append(Problem(f"{path}[{name!r}]", repr(value), fix))
        else:
            fields.append((str(name).lower(), str(value)))
    return tuple(fields), problems


def _header_fix(name: object, value: object) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        return "must have a field name as RFC 9110 §5.1 allows it"
    if name.lower() in _OWN:
        return "is recloser's own to set: leave it out"
    if not isinstance(value, str) or not _VALUE.fullmatch(value):
        return "must be a text without line breaks, of Latin-1 characters"
    return ""
