"""What every way to answer instead of an endpoint has in common."""

from __future__ import annotations

import inspect
import random
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import ClassVar, Self, TypeAlias

from recloser.http.failure import Trouble
from recloser.http.keeping import Keeping, Per
from recloser.http.kept import Cache
from recloser.http.messages import Request, Response

# Renders a template for a request and the refusal or failure that it met.
Render: TypeAlias = Callable[[str, Request, dict[str, object]], str]


def in_place(call: Callable[[], object]) -> object:
    """Run a function here and now."""
    return call()


async def waited(result: object) -> object:
    """Await what is awaitable."""
    return await result if inspect.isawaitable(result) else result


@dataclass(frozen=True, slots=True)
class Means:
    """What the strategies of one application answer with.

    Attributes:
        cache: Where its last good responses are; `None` where none are kept.
        expose: Whether answers may name breakers, strategies and errors.
        random: Uniform in [0, 1), for jitter.
        in_thread: Runs a function that may block, with the context of its caller; returns its result, or, where
            an event loop must not be held up, what to await for it.
        render: The application's template engine, if it has one.
    """

    cache: Cache | None = None
    expose: bool = False
    random: Callable[[], float] = random.random
    in_thread: Callable[[Callable[[], object]], object] = in_place
    render: Render | None = None


class Strategy(ABC):
    """One way to answer while a circuit is open, or for a failure. Immutable: routes and applications may share it.

    Attributes:
        name: How a declaration and an exposing answer call it.
        replays: It serves a response that the application once gave to such a request. Such an answer says itself
            how it may be cached.
    """

    name: ClassVar[str]
    replays: ClassVar[bool] = False

    @property
    def keeping(self) -> Keeping | None:
        """For whom it wants responses to be kept, if it serves them again.

        One that is kept for everybody may be given before a route's access checks have run; no other answer may.
        """
        return None

    @property
    def asks(self) -> Per | None:
        """What tells it who asks, if it minds."""
        return None

    @property
    def waits(self) -> bool:
        """Whether its answer may need an event loop: a plan without such strategies does without one."""
        return True

    @property
    def reads_body(self) -> int:
        """The longest body (bytes) of a request that it has to see; 0: it needs none."""
        return 0

    @abstractmethod
    def answer(self, request: Request, error: Trouble) -> Response | Awaitable[Response | None] | None:
        """Answer, or return `None` to let the next strategy try."""

    def prepared(self, means: Means) -> Self:  # noqa: ARG002 - for strategies that need something
        """Return this strategy with what it answers with."""
        return self

    def objection(self, methods: AbstractSet[str]) -> str:  # noqa: ARG002 - for strategies that mind
        """Say how to mend a plan if this can never answer a request with one of `methods`, else `""`."""
        return ""

    def lack(self, means: Means) -> str:  # noqa: ARG002 - for strategies that need something
        """Say what this needs that `means` have not, else `""`."""
        return ""

    def always_answers(self, methods: AbstractSet[str]) -> bool:  # noqa: ARG002 - for strategies that do
        """Tell whether whatever stands behind this is never asked."""
        return False
