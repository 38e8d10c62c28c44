"""Answers that were given before: `plans.stale`."""

from __future__ import annotations

from collections.abc import Awaitable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

from recloser.http import problem
from recloser.http.failure import Trouble
from recloser.http.keeping import ORDINARY, Keeping, Per
from recloser.http.kept import Cache, Kept
from recloser.http.messages import Request, Response
from recloser.http.replay import may_replay, replay
from recloser.http.strategy import Means, Strategy
from recloser.http.tee import meant


@dataclass(frozen=True, slots=True)
class Stale(Strategy):
    """See `plans.stale`."""

    name: ClassVar[str] = "stale"
    replays: ClassVar[bool] = True

    seconds: float
    per: Per | None = None
    shared: bool = False
    statuses: AbstractSet[int] = ORDINARY
    cache: Cache | None = field(default=None, compare=False, repr=False)

    @property
    def keeping(self) -> Keeping:
        """For everybody, or for one user."""
        return Keeping(self.per, self.shared, self.seconds, self.statuses)

    @property
    def asks(self) -> Per | None:
        """Whose responses are meant."""
        return self.per

    @property
    def waits(self) -> bool:
        """A cache lets wait only where an event loop runs."""
        return False

    def prepared(self, means: Means) -> Self:
        """Look into the application's cache."""
        return replace(self, cache=means.cache)

    def answer(self, request: Request, error: Trouble) -> Response | Awaitable[Response | None] | None:
        """Answer with what was kept, unless it is too old."""
        if self.cache is None or not may_replay(request):
            return None
        own = request if self.per is None else meant(request, self.keeping)
        if own is None:
            return None
        found = self.cache.find(own)
        if found is None or isinstance(found, Kept):
            return self._served(self.cache, own, error, found)
        return self._awaited(self.cache, own, error, found)

    async def _awaited(
        self, cache: Cache, own: Request, error: Trouble, found: Awaitable[Kept | None]
    ) -> Response | None:
        return self._served(cache, own, error, await found)

    def _served(self, cache: Cache, own: Request, error: Trouble, kept: Kept | None) -> Response | None:
        if kept is None or kept.response.status not in self.statuses:
            return None
        detail = problem.detail_token(error)
        return replay(own, kept, age=cache.age(kept), max_stale=self.seconds, detail=detail)

    def objection(self, methods: AbstractSet[str]) -> str:
        """Object to routes that nothing can be kept of."""
        return "" if "GET" in methods else "can never answer: responses are kept for GET routes only"
