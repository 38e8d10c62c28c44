"""Answers that a function of the application's own finds: `plans.compute`."""

from __future__ import annotations

import inspect
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import ClassVar, Self, TypeAlias, cast

from recloser.http.failure import Trouble
from recloser.http.fixed import WITHOUT_BODY, completed, encoded_json, read_headers
from recloser.http.messages import Headers, Request, Response
from recloser.http.problem import retry_after
from recloser.http.strategy import Means, Strategy, in_place, waited

Computed: TypeAlias = (
    Response | Mapping[str, object] | Sequence[object] | str | float | bool | None  # the rest: JSON
)
Function: TypeAlias = Callable[[Request, Trouble], Computed | Awaitable[Computed]]


@dataclass(frozen=True, slots=True)
class Compute(Strategy):
    """See `plans.compute`."""

    name: ClassVar[str] = "compute"

    function: Function
    in_thread: Callable[[Callable[[], object]], object] = field(default=in_place, compare=False, repr=False)
    random: Callable[[], float] = field(default=random.random, compare=False, repr=False)

    @property
    def waits(self) -> bool:
        """A coroutine function needs an event loop."""
        call: object = getattr(self.function, "__call__", None)  # noqa: B004 - an object's, which may be async
        return inspect.iscoroutinefunction(self.function) or inspect.iscoroutinefunction(call)

    def prepared(self, means: Means) -> Self:
        """Run by the application's means, and jitter by its randomness."""
        return replace(self, in_thread=means.in_thread, random=means.random)

    async def answer(self, request: Request, error: Trouble) -> Response | None:
        """Answer with what the function returns."""
        call = partial(self.function, request, error)
        result = await waited(call() if self.waits else self.in_thread(call))
        if result is None:
            return None
        if not isinstance(result, Response):
            result = Response(200, (("content-type", "application/json"),), self._json(result))
        return completed(_checked(result), retry_after(error, self.random))

    def _json(self, result: object) -> bytes:
        try:
            return encoded_json(result)
        except TypeError as error:
            fix = "must return a recloser.http.messages.Response, data that JSON can write, or None"
            raise TypeError(f"{self.function!r} {fix}: {error}") from None


def _checked(response: Response) -> Response:
    # What is wrong must show here, where the next strategy can still answer: not when the headers are sent.
    status, body = cast("object", response.status), cast("object", response.body)
    if not isinstance(status, int) or not 200 <= status <= 599 or not isinstance(body, bytes):
        raise TypeError(f"{response!r} is no response: it needs a status of 200..599, and bytes as its body")
    if body and status in WITHOUT_BODY:
        raise ValueError(f"a response with the status {status} has no body")
    headers: Headers = ()
    for name, value in response.headers:
        if name.lower() == "content-length":
            continue
        field_, problems = read_headers({name: value}, "headers")
        for problem in problems:
            raise ValueError(str(problem))
        headers += field_
    return Response(status, headers, body)
