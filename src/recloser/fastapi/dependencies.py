"""What routes ask for: a breaker to call with, or a guard around the endpoint. Both compare by value."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Final, ParamSpec, TypeVar

from fastapi import params

from recloser.config.declaration import Occasion
from recloser.core.breaker import CircuitBreaker
from recloser.fastapi.early import Entry
from recloser.fastapi.endpoints import around
from recloser.fastapi.partitions import identifying
from recloser.fastapi.present import present
from recloser.http.declared import PlanForm
from recloser.http.wrapping import is_bare

P = ParamSpec("P")
R = TypeVar("R")

WRAPPERS: Final = "__recloser_wrappers__"  # on an undecorated endpoint: what guards made of it


def breaker(name: str) -> Breaker:
    """Inject a breaker into an endpoint or a dependency, annotated as `CircuitBreaker`.

    Args:
        name: The breaker's; unknown names are errors at start.
    """
    return Breaker(name)


def guard(
    name: str,
    *,
    plan: PlanForm | None = None,
    on: Sequence[Occasion] = ("open",),
    record: bool | None = None,
) -> Guard:
    """Guard endpoints: one runs only while the breaker lets it, and its outcome counts.

    Below the route's decorator, so that it runs after all of the route's dependencies:

        @app.get("/products/{id}")
        @guard("inventory", plan=[plans.stale(600), plans.json({"quantity": None})])
        async def product(id: int): ...

    Or as a dependency of an endpoint, a router or an application, after those that check access:

        router = APIRouter(dependencies=[Depends(current_user), guard("inventory")])

    There it answers early with its whole plan only once the dependencies before it were met; without any, or with
    a security scheme still to come, with a public response of the past or a 503.

    Failures are the exceptions that the breaker's policy counts, and answers with 5xx or 429. Other 4xx,
    invalid input and clients that went away are ignored.

    Args:
        name: The breaker's; unknown names are errors at start.
        plan: What answers while the circuit is open; `None`: the breaker's own plan.
        on: `("open", "failure")` lets the plan answer counted failures too, before the circuit opens.
        record: Whether the endpoint's outcome counts. `None`: unless the breaker is also used inside (by a client,
            say), whose outcome counts then.
    """
    return Guard(name, plan, record, on)


class Breaker(params.Depends):
    """A dependency that gives the breaker of a name."""

    name: str

    def __init__(self, name: str) -> None:
        super().__init__(self)
        object.__setattr__(self, "name", name)

    async def __call__(self) -> CircuitBreaker:
        """Find the breaker."""
        holder = present(self)
        responder = holder.responder
        holder.meet((self.name, None), responder.plan_of(self.name).replays)
        return responder.registry[self.name]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Breaker) and other.name == self.name

    def __hash__(self) -> int:
        return hash((Breaker, self.name))

    def __repr__(self) -> str:
        return f"breaker({self.name!r})"


class Guard(params.Depends):
    """Decorates endpoints, and is a dependency; see `guard`."""

    entry: Entry

    def __init__(
        self, name: str, plan: PlanForm | None, record: bool | None, on: Sequence[Occasion] = ("open",)
    ) -> None:
        entry = Entry(
            name,
            tuple(plan) if isinstance(plan, list) else plan,
            record,
            tuple(on) if isinstance(on, list) else on,
        )
        super().__init__(entry)
        object.__setattr__(self, "entry", entry)

    def __call__(self, endpoint: Callable[P, R]) -> Callable[P, R]:
        """Guard an endpoint.

        Raises:
            TypeError: It is no function.
        """
        if not inspect.isroutine(endpoint):
            raise TypeError(f"{self!r} guards functions and methods, not {endpoint!r}")
        guarded = self.entry.guarded()
        wrapper = around(guarded, endpoint, access_checked=is_bare(endpoint))
        if self.entry.pers:
            wrapper = identifying(guarded, wrapper, self.entry.pers)
        vars(wrapper).pop(WRAPPERS, None)
        if isinstance(endpoint, FunctionType):
            vars(endpoint).setdefault(WRAPPERS, []).append(wrapper)
        return wrapper

    def __eq__(self, other: object) -> bool:
        return self.entry == other

    def __hash__(self) -> int:
        return hash(self.entry)

    def __repr__(self) -> str:
        return repr(self.entry)
