"""What a declaration says once it is known to be right: immutable, and aware of where each value came from.

Provenance maps a setting to one of `"default"`, `"defaults"`, `"profile:NAME"`, `"breaker"`, `"route"`,
`"cache"`, `"declaration"` (a setting outside every section), or `"environment:VARIABLE"`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from recloser.core.policy import Policy

Step: TypeAlias = Mapping[str, object] | str
Occasion: TypeAlias = Literal["open", "failure"]


@dataclass(frozen=True, slots=True)
class PlanDeclaration:
    """The steps of a plan as written; only their shape is checked.

    Attributes:
        steps: In order, mappings such as `{"stale": 600}`, and bare names such as `"unavailable"`.
        path: Where the plan was written; the first step is at `path + "[0]"`.
        on: What it answers: `"open"`, and perhaps `"failure"`.
    """

    steps: tuple[Step, ...]
    path: str = field(compare=False)
    on: tuple[Occasion, ...] = ("open",)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyDeclaration:
    """A policy, and where each of its knobs came from."""

    policy: Policy
    provenance: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerDeclaration(PolicyDeclaration):
    """One breaker: its policy and provenance, and what only a breaker has.

    Attributes:
        name: The breaker's name.
        origins: What it guards when a client asks, each as `host:port`.
        plan: What answers while it is open, where no route says otherwise.
    """

    name: str
    origins: tuple[str, ...] = ()
    plan: PlanDeclaration | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteDeclaration:
    """The breakers of one route, and what answers while one of them is open.

    Attributes:
        name: The route's name or path pattern, as written.
        breakers: Names of declared breakers, at least one.
        plan: One plan for whichever breaker is open.
        plans: Or one plan per breaker; only one of the two is ever set.
        record: Whether the endpoint's own outcome counts; `None`: unless the breaker is also used inside.
        provenance: Where `breakers`, the plan and `record` came from.
        path: Where the route was written.
    """

    name: str
    breakers: tuple[str, ...]
    plan: PlanDeclaration | None
    plans: Mapping[str, PlanDeclaration]
    record: bool | None = None
    provenance: Mapping[str, str]
    path: str = field(compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """Everything that was declared, checked as a whole.

    Attributes:
        path: What it was read from: the mapping's name or the file's path.
        store: Where a fleet shares its state; `None`: this process alone.
        namespace: The application's name among others.
        defaults: The policy of a breaker about which nothing else is said.
        breakers: The declared breakers by name, in declared order.
        routes: The declared routes by name, in declared order.
        cache: What is said of the response cache: `max_bytes`, or `url`, or `alias`; and `max_body`.
        expose: Whether answers name breakers, strategies and errors; `None`: as the application's debug mode says.
        secret: What tokens are signed with.
        provenance: Where what stands outside every section and the cache's settings (`"cache.max_bytes"`) came from.
        places: Where the same were written.
    """

    path: str = field(compare=False)
    store: str | None = field(repr=False)
    namespace: str
    defaults: PolicyDeclaration
    breakers: Mapping[str, BreakerDeclaration]
    routes: Mapping[str, RouteDeclaration]
    cache: Mapping[str, object] = field(repr=False)
    expose: bool | None
    secret: str | None = field(repr=False)
    provenance: Mapping[str, str]
    places: Mapping[str, str] = field(compare=False, repr=False)
