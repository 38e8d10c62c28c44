"""The strategies: `plans.stale(600)`, `plans.json({...})`, `plans.unavailable()`."""

from __future__ import annotations

import json as encoder
import math
import random
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import ClassVar, Final, Self, cast

from recloser.core.errors import CallRejectedError, ConfigurationError, Problem
from recloser.http import problem
from recloser.http.cache import ResponseCache
from recloser.http.messages import SAFE_METHODS, Request, Response
from recloser.http.replay import may_replay, replay
from recloser.http.strategy import Means, Strategy

__all__ = ["json", "stale", "unavailable"]

_WITHOUT_BODY: Final = frozenset({204, 205, 304})


def stale(seconds: float | timedelta) -> Strategy:
    """Answer GET and HEAD with the last good response to this very request.

    Nothing is kept from requests with cookies or credentials, nor against a response's own Cache-Control.

    Args:
        seconds: How long past its freshness a response may be served; without an explicit lifetime it is fresh
            for 0 seconds.

    Raises:
        ConfigurationError: `seconds` is no positive number.
    """
    number = cast("object", seconds.total_seconds() if isinstance(seconds, timedelta) else seconds)
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 < number < math.inf:
        fix = "must be a positive number of seconds (or a timedelta)"
        raise ConfigurationError([Problem("stale", repr(seconds), fix)])
    return Stale(float(number))


def json(body: object, *, status: int = 200, unsafe: bool = False) -> Strategy:
    """Answer with a fixed JSON body.

    Args:
        body: Whatever `json.dumps` can write.
        status: 200..599, of a response that has a body.
        unsafe: Let a status below 300 answer unsafe methods (POST, PUT, PATCH, DELETE) too, although nothing
            was done.

    Raises:
        ConfigurationError: Lists what is wrong with the arguments.
    """
    problems: list[Problem] = []
    encoded = b""
    try:
        encoded = encoder.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        problems.append(Problem("json", repr(body), f"must be a JSON value ({error})"))
    given = cast("object", status)
    if not isinstance(given, int) or not 200 <= given <= 599 or given in _WITHOUT_BODY:
        fix = "must be an HTTP status of 200..599 whose response has a body"
        problems.append(Problem("status", repr(status), fix))
    if not isinstance(cast("object", unsafe), bool):
        problems.append(Problem("unsafe", repr(unsafe), "must be true or false"))
    if problems:
        raise ConfigurationError(problems)
    return Json(encoded, status, unsafe)


def unavailable() -> Strategy:
    """Answer 503 with `Retry-After`: `application/problem+json`, or a small page for a browser."""
    return Unavailable()


@dataclass(frozen=True, slots=True)
class Stale(Strategy):
    """See `stale`."""

    name: ClassVar[str] = "stale"
    replays: ClassVar[bool] = True

    seconds: float
    cache: ResponseCache | None = field(default=None, compare=False, repr=False)

    def prepared(self, means: Means) -> Self:
        """Look into the application's cache."""
        return replace(self, cache=means.cache)

    def answer(self, request: Request, error: CallRejectedError) -> Response | None:
        """Answer with what was kept, unless it is too old."""
        if self.cache is None or not may_replay(request):
            return None
        kept = self.cache.find(request)
        if kept is None:
            return None
        age = self.cache.age(kept)
        return replay(request, kept, age=age, max_stale=self.seconds, detail=problem.detail_token(error))

    def objection(self, methods: AbstractSet[str]) -> str:
        """Object to routes that nothing can be kept of."""
        return "" if "GET" in methods else "can never answer: responses are kept for GET routes only"


@dataclass(frozen=True, slots=True)
class Json(Strategy):
    """See `json`."""

    name: ClassVar[str] = "json"

    body: bytes
    status: int
    unsafe: bool
    random: Callable[[], float] = field(default=random.random, compare=False, repr=False)

    def prepared(self, means: Means) -> Self:
        """Jitter by the application's randomness."""
        return replace(self, random=means.random)

    def answer(self, request: Request, error: CallRejectedError) -> Response | None:
        """Answer, unless that would claim that something was done."""
        if request.method not in SAFE_METHODS and not self._claims_nothing:
            return None
        headers = [("content-type", "application/json"), ("content-length", str(len(self.body)))]
        if self.status in {429, 503}:
            headers.append(("retry-after", str(problem.retry_after(error, self.random))))
        return Response(self.status, tuple(headers), self.body)

    def objection(self, methods: AbstractSet[str]) -> str:
        """Object to routes that only change things."""
        if self._claims_nothing or methods & SAFE_METHODS:
            return ""
        return (
            f"can never answer: {', '.join(sorted(methods))} would seem to have succeeded; "
            "give it a status of 300 or more, or unsafe=True"
        )

    def always_answers(self, methods: AbstractSet[str]) -> bool:
        """Answer everything that it may answer."""
        return self._claims_nothing or methods <= SAFE_METHODS

    @property
    def _claims_nothing(self) -> bool:
        return self.unsafe or self.status >= 300


@dataclass(frozen=True, slots=True)
class Unavailable(Strategy):
    """See `unavailable`."""

    name: ClassVar[str] = "unavailable"

    expose: bool = field(default=False, compare=False, repr=False)
    random: Callable[[], float] = field(default=random.random, compare=False, repr=False)

    def prepared(self, means: Means) -> Self:
        """Jitter by the application's randomness, and name what it may."""
        return replace(self, expose=means.expose, random=means.random)

    def answer(self, request: Request, error: CallRejectedError) -> Response:
        """Answer 503."""
        wait = problem.retry_after(error, self.random)
        return problem.unavailable(request, error, wait=wait, expose=self.expose)

    def always_answers(self, methods: AbstractSet[str]) -> bool:  # noqa: ARG002
        """Answer everything."""
        return True
