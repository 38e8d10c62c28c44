"""A guard as a dependency: it refuses before the endpoint runs, and knows which checks of access came before it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from inspect import Signature
from typing import Any, Final, TypeAlias

from fastapi import params

# Only FastAPI can tell whether it found the input of a dependency valid, and so has run it; it has no public way to ask.
from fastapi.dependencies.utils import request_params_to_args
from fastapi.security.base import SecurityBase
from starlette.requests import HTTPConnection

from recloser.config.declaration import Occasion
from recloser.core.errors import CallRejectedError, Problem
from recloser.fastapi.partitions import PREFIX, asked, asking, note
from recloser.fastapi.present import FAULTS, present
from recloser.http.declared import PlanForm, pers_of
from recloser.http.guarded import Guarded
from recloser.http.wire import ASGIScope

IN_CODE: Final = (
    "must be a function, or a name that can be imported when guard(...) is called: it becomes a dependency"
)
IN_ROUTES: Final = (
    "must stand in the plan of a guard in the code: FastAPI reads dependencies where a route is made"
)

# The dependencies that stand before a guard on one route; none if they do not let it answer in full.
_Before: TypeAlias = tuple[Any, ...]


class Entry:
    """What FastAPI calls for a guard. Compares by value, with guards too, so that it can be overridden.

    Args:
        name: The breaker's.
        plan: What answers while the circuit is open.
        record: Whether the endpoint's outcome counts.
        on: What the plan answers.

    Attributes:
        pers: What names the partitions of its plan: FastAPI solves it for the guard.
    """

    __slots__ = (
        *("__signature__", "_asked", "_hash", "_places", "_value"),
        *("name", "on", "pers", "plan", "record"),
    )

    def __init__(
        self, name: str, plan: PlanForm | None, record: bool | None, on: Sequence[Occasion] = ("open",)
    ) -> None:
        self.name = name
        self.plan = plan
        self.record = record
        self.on = on
        self._value = name, plan, record, on
        self._hash = hash((name, record))  # FastAPI asks several times per request
        self._places: dict[int, _Place] = {}
        self.pers = pers_of(plan)
        self._asked = asked(self.pers, Signature())
        self.__signature__ = asking(Signature(), self._asked)

    async def __call__(self, **found: object) -> None:
        """Ask the breaker whether the endpoint may run."""
        exchange = present(self)
        if found:
            note(exchange, self._asked, found)
        endpoint: object = exchange.scope.get("endpoint")
        place = self._places.get(id(endpoint))
        if place is None:
            place = self.place(endpoint)
        try:
            place.guarded.enter(exchange, access_checked=False)
        except CallRejectedError:
            if place.access_checked(exchange.scope):
                exchange.guarded = True
            raise
        if place.guarded.answers_failures:
            exchange.checks = place.access_checked

    def __eq__(self, other: object) -> bool:
        if isinstance(other, params.Depends):
            other = other.dependency
        return isinstance(other, Entry) and other._value == self._value

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        plan = "" if self.plan is None else f", plan={self.plan!r}"
        record = "" if self.record is None else f", record={self.record!r}"
        on = "" if self.on == ("open",) else f", on={self.on!r}"
        return f"guard({self.name!r}{plan}{record}{on})"

    def guarded(self) -> Guarded:
        """Make the guard of one endpoint."""
        return Guarded(self.name, self.plan, record=self.record, faults=FAULTS, on=self.on)

    def place(self, endpoint: object) -> _Place:
        """Return this guard's place before an endpoint: whose outcome counts is learned for each."""
        return self._places.setdefault(id(endpoint), _Place(endpoint, self.guarded()))


class _Place:
    """A guard before one endpoint.

    Args:
        endpoint: Kept, so that its id stays its own.
        guarded: The guard.
    """

    __slots__ = ("_befores", "_endpoint", "guarded")

    def __init__(self, endpoint: object, guarded: Guarded) -> None:
        self._endpoint = endpoint
        self.guarded = guarded
        self._befores: list[_Before] = []

    def stands_after(self, before: _Before) -> None:
        """Note what stands before the guard on one of the endpoint's routes."""
        self._befores.append(before)

    def access_checked(self, scope: ASGIScope) -> bool:
        """Tell whether all dependencies before the guard were met, on whichever route this is.

        FastAPI goes on to the next dependency when the input of one was invalid, and answers 422 at the end.
        """
        return bool(self._befores) and all(before and _were_met(before, scope) for before in self._befores)


def before(entry: Entry, dependant: Any) -> _Before:
    """Return the dependencies before a guard that let it answer in full, if no security scheme comes after it."""
    listed: list[Any] = dependant.dependencies
    index = next((index for index, part in enumerate(listed) if part.call == entry), 0)
    if any(_is_security(part) for later in listed[index + 1 :] for part in tree(later)):
        return ()
    # Guards and breakers, which check nothing, are what FastAPI calls for themselves.
    return tuple(part for part in listed[:index] if not isinstance(part.call, Entry | params.Depends))


def tree(dependant: Any) -> Iterator[Any]:
    """Go through a FastAPI dependant and all that it depends on."""
    if dependant is not None:
        yield dependant
        for inner in dependant.dependencies:
            yield from tree(inner)


def early_guards(dependant: Any) -> list[Entry]:
    """Return the guards among a route's dependencies, in order."""
    return [part.call for part in tree(dependant) if isinstance(part.call, Entry)]


def unsolved(guard: Guarded, where: str, dependant: Any, fix: str) -> list[Problem]:
    """Find what names the partitions of a guard's plan and is no dependency: nothing would ever be kept.

    Args:
        guard: Bound, around an endpoint.
        where: How problems name its place.
        dependant: FastAPI's, of the endpoint's route; `None` for a route of Starlette's own.
        fix: What to do about it.
    """
    if dependant is None:
        return []
    solved = {part.call for part in tree(dependant) if (part.name or "").startswith(PREFIX)}
    return [Problem(f"{where}{guard!r}.plan", f"per={per!r}", fix) for per in guard.pers if per not in solved]


def _is_security(part: Any) -> bool:
    return bool(part.own_oauth_scopes) or isinstance(inspect.unwrap(part.call), SecurityBase)


def _were_met(before: _Before, scope: ASGIScope) -> bool:
    overrides: dict[Any, object] = getattr(scope.get("app"), "dependency_overrides", {})
    return all(part.call in overrides or _was_met(part, scope) for part in before)


def _was_met(dependant: Any, scope: ASGIScope) -> bool:
    connection = HTTPConnection(scope)
    received = (
        (dependant.path_params, connection.path_params),
        (dependant.query_params, connection.query_params),
        (dependant.header_params, connection.headers),
        (dependant.cookie_params, connection.cookies),
    )
    if dependant.body_params or any(request_params_to_args(fields, given)[1] for fields, given in received):
        return False  # a body was read already, and nobody here can tell how it was
    return _were_met(tuple(dependant.dependencies), scope)
