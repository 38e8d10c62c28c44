"""Answers that a template of the application's makes: `plans.template`."""

from __future__ import annotations

import random
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from functools import partial
from typing import ClassVar, Self

from recloser.http import fields
from recloser.http.failure import Trouble
from recloser.http.fixed import Claim, completed
from recloser.http.messages import Request, Response
from recloser.http.problem import retry_after
from recloser.http.strategy import Means, Render, Strategy, in_place, waited


@dataclass(frozen=True, slots=True)
class Template(Strategy):
    """See `plans.template`."""

    name: ClassVar[str] = "template"

    template: str
    claim: Claim
    render: Render | None = field(default=None, compare=False, repr=False)
    in_thread: Callable[[Callable[[], object]], object] = field(default=in_place, compare=False, repr=False)
    random: Callable[[], float] = field(default=random.random, compare=False, repr=False)

    @property
    def waits(self) -> bool:
        """Engines render at once, in a thread where there is an event loop."""
        return False

    def prepared(self, means: Means) -> Self:
        """Render by the application's engine."""
        return replace(self, render=means.render, in_thread=means.in_thread, random=means.random)

    async def answer(self, request: Request, error: Trouble) -> Response | None:
        """Answer with the page, unless the client would rather have JSON."""
        if self.render is None or not self.claim.fits(request.method) or not _welcomes_html(request):
            return None
        wait = retry_after(error, self.random)
        context: dict[str, object] = {"error": error, "retry_after": wait}
        page = str(await waited(self.in_thread(partial(self.render, self.template, request, context))))
        response = Response(self.claim.status, (("content-type", "text/html; charset=utf-8"),), page.encode())
        return completed(response, wait)

    def objection(self, methods: AbstractSet[str]) -> str:
        """Object to routes that only change things."""
        return self.claim.objection(methods)

    def lack(self, means: Means) -> str:
        """Need an engine."""
        if means.render is not None:
            return ""
        return "needs a template engine: install(..., templates=Jinja2Templates(...))"


def _welcomes_html(request: Request) -> bool:
    accept = request.header("accept")
    html = fields.preference(accept, "text/html")
    return html > 0 and html >= fields.preference(accept, "application/problem+json", "application/json")
