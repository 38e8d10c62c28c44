"""A plan: strategies in order, of which the first that can answers."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from typing import Final, NamedTuple

from recloser.config.declaration import Occasion
from recloser.core.errors import Problem
from recloser.http.failure import Trouble
from recloser.http.messages import Request, Response
from recloser.http.plans import Unavailable
from recloser.http.strategy import Means, Strategy

_WEBSOCKET: Final = frozenset({"WEBSOCKET"})
_logger: Final = logging.getLogger("recloser")


class Degraded(NamedTuple):
    """A plan's answer, and the strategy that gave it."""

    response: Response
    strategy: Strategy


class Plan:
    """Asks strategies in order; `unavailable` stands last by itself. Compares by value.

    Args:
        strategies: In order.
        last: Answers when nothing else does.
        on: What it answers: `"open"`, and perhaps `"failure"`.

    Attributes:
        answers_failures: It answers counted failures too.
        replays: For whom strategies want responses to be kept, which they serve again.
        waits: Some strategy may need an event loop.
        pers: What tells strategies who asks.
        reads_body: The longest body (bytes) of a request that some strategy has to see.
    """

    __slots__ = ("answers_failures", "last", "on", "pers", "reads_body", "replays", "strategies", "waits")

    def __init__(
        self,
        strategies: Iterable[Strategy] = (),
        last: Unavailable = Unavailable(),  # noqa: B008
        on: tuple[Occasion, ...] = ("open",),
    ) -> None:
        self.strategies = tuple(strategies)
        self.last = last
        self.on = on
        self.answers_failures = "failure" in on
        self.replays = frozenset(
            strategy.keeping for strategy in self.strategies if strategy.keeping is not None
        )
        self.pers = tuple(
            dict.fromkeys(strategy.asks for strategy in self.strategies if strategy.asks is not None)
        )
        self.waits = any(strategy.waits for strategy in self.strategies)
        self.reads_body = max((strategy.reads_body for strategy in self.strategies), default=0)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Plan) and (self.strategies, self.on) == (other.strategies, other.on)

    def __hash__(self) -> int:
        return hash(self.strategies)

    def __repr__(self) -> str:
        on = f", on={self.on!r}" if self.answers_failures else ""
        return f"Plan({self.strategies!r}{on})"

    async def answer(self, request: Request, error: Trouble) -> Degraded:
        """Answer a request that was refused, or failed."""
        return await self.attempt(request, error) or Degraded(self.last.answer(request, error), self.last)

    async def attempt(self, request: Request, error: Trouble) -> Degraded | None:
        """Answer by what was written into the plan; `None` if only the last, which is there by itself, is left.

        A strategy that raises is logged, and the next one is asked.
        """
        for strategy in self.strategies:
            try:
                response = strategy.answer(request, error)
                if inspect.isawaitable(response):
                    response = await response
            except Exception:
                _logger.exception(
                    "breaker %r: the strategy %s raised; asking the next", error.breaker, strategy.name
                )
            else:
                if response is not None:
                    return Degraded(response, strategy)
        return None

    def prepared(self, means: Means) -> Plan:
        """Return this plan with what its strategies answer with."""
        prepared = (strategy.prepared(means) for strategy in self.strategies)
        return Plan(prepared, self.last.prepared(means), self.on)

    def public(self) -> Plan:
        """Return what may answer before a route has checked access: public responses of the past, or 503."""
        strategies = (strategy for strategy in self.strategies if _is_public(strategy))
        return Plan(strategies, self.last, self.on)

    def late(self) -> list[Strategy]:
        """Return the steps that answer only once a route has checked access."""
        return [
            strategy
            for strategy in self.strategies
            if not _is_public(strategy) and not isinstance(strategy, Unavailable)
        ]

    def unshared(self) -> Plan:
        """Leave out pages that requests with credentials may have got, however public they are said to be."""
        strategies = [
            strategy
            for strategy in self.strategies
            if strategy.keeping is None or not strategy.keeping.shared
        ]
        return self if len(strategies) == len(self.strategies) else Plan(strategies, self.last, self.on)

    def problems(self, path: str, methods: AbstractSet[str]) -> list[Problem]:
        """Find the steps that can never answer.

        Args:
            path: Where the plan was written.
            methods: What its route answers to.

        Returns:
            A problem per such step.
        """
        problems: list[Problem] = []
        final: Strategy | None = None
        for index, strategy in enumerate(self.strategies):
            objection = strategy.objection(methods)
            if methods == _WEBSOCKET and not isinstance(strategy, Unavailable):
                objection = "can never answer: a WebSocket is refused with a 503 or closed, so leave it out"
            elif final is not None and not isinstance(strategy, Unavailable):
                objection = f"can never answer: {final.name}, which stands before it, always does"
            if objection:
                problems.append(Problem(f"{path}[{index}]", strategy.name, objection))
            if final is None and strategy.always_answers(methods):
                final = strategy
        return problems

    def lacks(self, path: str, means: Means) -> list[Problem]:
        """Find the steps that need what the application has not.

        Args:
            path: Where the plan was written.
            means: The application's.

        Returns:
            A problem per such step.
        """
        lacks = ((index, strategy, strategy.lack(means)) for index, strategy in enumerate(self.strategies))
        return [Problem(f"{path}[{index}]", strategy.name, lack) for index, strategy, lack in lacks if lack]


def _is_public(strategy: Strategy) -> bool:
    return strategy.keeping is not None and strategy.keeping.per is None
