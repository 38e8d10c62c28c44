"""What one application answers while its circuits are open: its plans, its cache, and how much it tells."""

from __future__ import annotations

import random as randomness
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from recloser.core.errors import ConfigurationError, Problem
from recloser.http import fields, rigging
from recloser.http.backends import cache_of
from recloser.http.declared import read_breaker_plan
from recloser.http.failure import Trouble
from recloser.http.fault import Faults
from recloser.http.kept import Cache
from recloser.http.messages import Headers, Request, Response, Secrets
from recloser.http.plan import Degraded, Plan
from recloser.http.strategy import Means, Render, in_place
from recloser.registry import Registry

if TYPE_CHECKING:
    from types import CodeType

    from recloser.http.guarded import Guarded

_ABOUT_CACHING: Final = frozenset({"cache-control", "expires", "age"})


@dataclass(frozen=True, slots=True)
class RouteFacts:
    """What a framework knows about the requests of a route.

    Attributes:
        selecting: Headers that the application reads, in lower case.
        credentials: Headers in which a security scheme looks for a credential, in lower case.
        query_credentials: Query parameters in which one does.
        cookie_credentials: Cookies in which one does.
        personal: Its answers may be personal for reasons that cannot be told.
        secured: A security scheme says who may see its answers.
        injects: The framework solves dependencies for it: what names partitions is one of them.
        guards: Those that stand before the endpoint, outermost first.
        runners: What runs in an endpoint only, once all that the route checks has been checked.
    """

    selecting: frozenset[str] = frozenset()
    credentials: frozenset[str] = frozenset()
    query_credentials: frozenset[str] = frozenset()
    cookie_credentials: frozenset[str] = frozenset()
    personal: bool = False
    secured: bool = False
    injects: bool = False
    guards: tuple[Guarded, ...] = ()
    runners: frozenset[CodeType] = frozenset()

    @property
    def secrets(self) -> Secrets:
        """Where credentials are, besides `Authorization`."""
        return Secrets(self.credentials, self.query_credentials, self.cookie_credentials)


class Responder:
    """Answers for open circuits.

    Args:
        registry: Whose breakers open; a breaker's declared plan answers where no route has one.
        expose: Name breakers, strategies and errors in answers.
        cache: Where the last good responses are kept; by default where the declaration says.
        random: Uniform in [0, 1), for jitter.
        in_thread: Runs what may block, see `Means`.
        render: The application's template engine, see `Means`.
        faults: How the framework's exceptions are judged where no guard says it.

    Attributes:
        default: The plan where there is none.
        reads_bodies: Some route's plan has to see the bodies of its requests.

    Raises:
        ConfigurationError: Lists all that is wrong with the cache and the breakers' plans.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        expose: bool = False,
        cache: Cache | None = None,
        random: Callable[[], float] = randomness.random,
        in_thread: Callable[[Callable[[], object]], object] = in_place,
        render: Render | None = None,
        faults: Faults = Faults(),  # noqa: B008 - immutable
    ) -> None:
        problems: list[Problem] = []
        if cache is None:
            cache, problems = cache_of(registry.declaration)
        self.registry = registry
        self.cache = cache
        self.faults = faults
        self.means = Means(cache, expose, random, in_thread, render)
        self.default = Plan().prepared(self.means)
        self.reads_bodies = False
        self._plans: dict[str, Plan] = {}
        for name, breaker in registry.declaration.breakers.items():
            if breaker.plan is not None:
                plan, wrong = read_breaker_plan(breaker.plan)
                problems.extend(wrong)
                self._plans[name] = plan.prepared(self.means)
        if problems:
            raise ConfigurationError(problems)
        for name in registry.declared:
            self.expect(name, self.plan_of(name))

    def expect(self, breaker: str, plan: Plan) -> None:
        """Let metrics tell of a plan's answers before the first is given."""
        self.registry.degraded.expect(breaker, (strategy.name for strategy in (*plan.strategies, plan.last)))

    def plan_of(self, breaker: str) -> Plan:
        """Return what answers for a breaker where no route says otherwise."""
        return self._plans.get(breaker, self.default)

    async def answer(self, request: Request, error: Trouble, plan: Plan) -> Response:
        """Answer a request that a circuit refused, or that failed.

        Args:
            request: What was asked.
            error: The refusal or failure.
            plan: How to answer.

        Returns:
            The answer, with the headers that every degraded answer carries.
        """
        return self.finished(request, error, await plan.answer(request, error))

    async def attempt(self, request: Request, error: Trouble, plan: Plan) -> Response | None:
        """Answer by what was written into the plan, else leave it to the application; arguments as for `answer`."""
        degraded = await plan.attempt(request, error)
        return None if degraded is None else self.finished(request, error, degraded)

    def finished(self, request: Request, error: Trouble, degraded: Degraded) -> Response:
        """Add the headers that every degraded answer carries, and count it."""
        response, strategy = degraded
        self.registry.degraded.note(error.breaker, strategy.name)
        headers: Headers = response.headers
        if not strategy.replays:
            headers = tuple(header for header in headers if header[0] not in _ABOUT_CACHING)
            headers += (("cache-control", "no-store"),)  # RFC 9111 §5.2.2.5
        note = "degraded"
        if self.means.expose or rigging.named_for:
            note += f"; strategy={strategy.name}; breaker={fields.quoted(error.breaker)}"
        headers += (("recloser", note),)
        body = b"" if request.method == "HEAD" else response.body  # RFC 9110 §9.3.2
        return Response(response.status, headers, body)
