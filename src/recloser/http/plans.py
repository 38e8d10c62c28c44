"""What plans are made of: `plans.stale(600)`, `plans.json({...})`, `plans.unavailable()` and the others."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import ClassVar, Final, Self, cast

from recloser.core.errors import ConfigurationError, Problem
from recloser.http import problem
from recloser.http.computed import Compute, Function
from recloser.http.deferring import LONGEST_BODY, Defer
from recloser.http.failure import Trouble
from recloser.http.fixed import Claim, Fixed, Json, encoded_json, read_headers
from recloser.http.keeping import KEEPABLE, ORDINARY, Per
from recloser.http.messages import Request, Response
from recloser.http.page import Template
from recloser.http.stale import Stale
from recloser.http.stored import Deferrable
from recloser.http.strategy import Means, Strategy

__all__ = ["Stale", "Unavailable", "compute", "defer", "json", "response", "stale", "template", "unavailable"]

NO_PER: Final = 'must be a function: a dependency of FastAPI\'s, or one of the request; in a declaration, "pkg.module:name"'
NO_FUNCTION: Final = 'must be a function of the request and the error; in a declaration, "pkg.module:name"'
NO_TASK: Final = 'must be a task of a recloser.deferred.Queue; in a declaration, "pkg.module:name"'


def stale(
    seconds: float | timedelta,
    per: Per | None = None,
    shared: bool = False,
    statuses: Collection[int] = ORDINARY,
) -> Strategy:
    """Answer GET and HEAD with the last good response to this very request.

    Nothing is kept from requests with cookies or credentials, nor against a response's own Cache-Control.

    Args:
        seconds: How long past its freshness a response may be served; without an explicit lifetime it is fresh
            for 0 seconds.
        per: Whose response it is: a dependency of FastAPI's such as `current_user`, or a function of the
            framework's request. It returns what never changes about an *authenticated* user, a str, int or UUID.
            Private responses are then kept too, for that user alone; where it returns nothing or raises, none is.
        shared: Keep responses to requests with cookies and credentials for everybody: none depends on them, by your
            word.
        statuses: Of the responses that are kept: 200, 203, 300, 301, 308, 404 or 410.

    Raises:
        ConfigurationError: Lists what is wrong with the arguments.
    """
    problems: list[Problem] = []
    number = cast("object", seconds.total_seconds() if isinstance(seconds, timedelta) else seconds)
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 < number < math.inf:
        fix = "must be a positive number of seconds (or a timedelta)"
        problems.append(Problem("stale", repr(seconds), fix))
        number = math.inf
    if per is not None and not (callable(cast("object", per)) and _is_hashable(per)):
        problems.append(Problem("per", repr(per), NO_PER))
    if not isinstance(cast("object", shared), bool):
        problems.append(Problem("shared", repr(shared), "must be true or false"))
    elif shared and per is not None:
        fix = "must be left out beside per: what is kept for one user is not shared"
        problems.append(Problem("shared", repr(shared), fix))
    kept = _statuses(statuses)
    if not kept:
        known = ", ".join(map(str, sorted(KEEPABLE)))
        problems.append(Problem("statuses", repr(statuses), f"must be a list of some of {known}"))
    if problems:
        raise ConfigurationError(problems)
    return Stale(float(number), per, shared, kept)


def _statuses(value: object) -> AbstractSet[int]:
    is_list = isinstance(value, Collection) and not isinstance(value, str | bytes | Mapping)
    found: list[object] = list(cast("Collection[object]", value)) if is_list else []
    right = all(isinstance(status, int) and status in KEEPABLE for status in found)
    return frozenset(cast("list[int]", found)) if right else frozenset()


def _is_hashable(value: object) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


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
    claim = Claim(status, unsafe)
    problems: list[Problem] = []
    encoded = b""
    try:
        encoded = encoded_json(body)
    except (TypeError, ValueError, RecursionError) as error:
        problems.append(Problem("json", repr(body), f"must be a JSON value ({error})"))
    problems += claim.problems()
    if problems:
        raise ConfigurationError(problems)
    return Json(encoded, (("content-type", "application/json"),), claim)


def response(
    body: str | bytes,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    media_type: str | None = None,
    unsafe: bool = False,
) -> Strategy:
    """Answer with fixed content of any kind.

    Args:
        body: The content; text is sent as UTF-8. Empty with the status 204.
        status: 200..599, but neither 205 nor 304.
        headers: Further ones. `Content-Length` and `Cache-Control: no-store` are added.
        media_type: What the content is; by default `text/plain` for text, and `application/octet-stream` for
            bytes.
        unsafe: As for `json`.

    Raises:
        ConfigurationError: Lists what is wrong with the arguments.
    """
    claim = Claim(status, unsafe)
    content, problems = _content(body, status)
    problems += claim.problems(bodiless=frozenset({204}))
    fields, wrong = read_headers({} if headers is None else headers, "headers")
    kind, wrong_kind = _content_type(body, media_type)
    problems += wrong + wrong_kind
    if problems:
        raise ConfigurationError(problems)
    if kind and not any(name == "content-type" for name, _ in fields):
        fields = (("content-type", kind), *fields)
    return Fixed(content, fields, claim)


def compute(function: Function) -> Strategy:
    """Answer with what a function returns.

    It is called with the request, and with the refusal or failure that it answers for: a coroutine function on the
    event loop, any other in a thread with a copy of the context (in place where there is no event loop). It returns
    a `Response`; or data, which becomes a JSON body with the status 200 whatever the method, so that it must look at `request.method` where
    it answers POST and the like; or `None`, to let the next strategy try.

    Args:
        function: In a declaration its name, `"pkg.module:name"`.

    Raises:
        ConfigurationError: It cannot be called.
    """
    if not callable(cast("object", function)):
        raise ConfigurationError([Problem("compute", repr(function), NO_FUNCTION)])
    return Compute(function)


def defer(
    task: Deferrable,
    *,
    headers: Sequence[str] = (),
    max_body: int = LONGEST_BODY,
    per: Per | None = None,
) -> Strategy:
    """Put an unsafe request off: answer 202 with the `Location` of its status, once it is a durable job.

    `Idempotency-Key` is honoured: the same request of the same client under the same key has one job, another one is
    answered 422. Clients are told apart by `Authorization` and by what the route's security schemes, or Django's
    sessions, look for; or by `per`.
    Whatever the queue cannot keep is left to the next strategy.

    Args:
        task: What does it later, as `recloser.deferred.Queue.task` makes it; in a declaration its name,
            `"pkg.module:name"`.
        headers: The request's headers to keep; no others are, neither cookies nor credentials.
        max_body: The longest body that is kept (bytes).
        per: Whose job it is, as for `stale`: a dependency of FastAPI's such as `current_user`, or a function of the
            framework's request. It returns a str, int or UUID that never changes about the user.

    Raises:
        ConfigurationError: Lists what is wrong with the arguments.
    """
    problems: list[Problem] = []
    if not callable(getattr(task, "keep", None)):
        problems.append(Problem("defer", repr(task), NO_TASK))
    given = cast("object", headers)
    if isinstance(given, str) or not all(isinstance(cast("object", name), str) for name in headers):
        problems.append(Problem("headers", repr(headers), "must be a list of header names"))
    if not 0 < max_body < math.inf:
        problems.append(Problem("max_body", repr(max_body), "must be a positive number of bytes"))
    if per is not None and not (callable(cast("object", per)) and _is_hashable(per)):
        problems.append(Problem("per", repr(per), NO_PER))
    if problems:
        raise ConfigurationError(problems)
    return Defer(task, tuple(name.lower() for name in headers), max_body, per)


def template(name: str, *, status: int = 503, unsafe: bool = False) -> Strategy:
    """Answer with a page that the application's own engine renders, if the client takes HTML as gladly as JSON.

    The template knows the refusal or failure as `error`, and as `retry_after` how many seconds the answer's
    `Retry-After` says.

    Args:
        name: As the engine finds it.
        status: 200..599, of a response that has a body.
        unsafe: As for `json`.

    Raises:
        ConfigurationError: Lists what is wrong with the arguments.
    """
    claim = Claim(status, unsafe)
    problems = claim.problems()
    if not name or not isinstance(cast("object", name), str):
        problems.insert(0, Problem("template", repr(name), "must be the name of a template"))
    if problems:
        raise ConfigurationError(problems)
    return Template(name, claim)


def unavailable() -> Strategy:
    """Answer 503 with `Retry-After`: `application/problem+json`, or a small page for a browser."""
    return Unavailable()


def _content(body: object, status: object) -> tuple[bytes, list[Problem]]:
    if not isinstance(body, str | bytes):
        return b"", [Problem("response", repr(body), "must be text or bytes")]
    if body and status == 204:
        return b"", [Problem("response", repr(body), "must be empty with the status 204")]
    try:
        return body.encode() if isinstance(body, str) else body, []
    except UnicodeEncodeError as error:
        return b"", [Problem("response", repr(body), f"must be text that UTF-8 can write ({error.reason})")]


def _content_type(body: object, media_type: object) -> tuple[str, list[Problem]]:
    is_text = isinstance(body, str)
    if media_type is None:
        media_type = "" if not body else "text/plain" if is_text else "application/octet-stream"
    if not isinstance(media_type, str) or not media_type.isprintable() or not media_type.isascii():
        return "", [Problem("media_type", repr(media_type), "must be a media type such as text/html")]
    says_charset = "charset=" in media_type.lower()
    is_marked = is_text and media_type.startswith("text/") and not says_charset
    return f"{media_type}; charset=utf-8" if is_marked else media_type, []


@dataclass(frozen=True, slots=True)
class Unavailable(Strategy):
    """See `unavailable`."""

    name: ClassVar[str] = "unavailable"

    expose: bool = field(default=False, compare=False, repr=False)
    random: Callable[[], float] = field(default=random.random, compare=False, repr=False)

    @property
    def waits(self) -> bool:
        """It is always at hand."""
        return False

    def prepared(self, means: Means) -> Self:
        """Jitter by the application's randomness, and name what it may."""
        return replace(self, expose=means.expose, random=means.random)

    def answer(self, request: Request, error: Trouble) -> Response:
        """Answer 503."""
        wait = problem.retry_after(error, self.random)
        return problem.unavailable(request, error, wait=wait, expose=self.expose)

    def always_answers(self, methods: AbstractSet[str]) -> bool:  # noqa: ARG002
        """Answer everything."""
        return True
