"""A guard on one endpoint: which breaker it asks, what it answers, whose outcome counts."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Final

from recloser.config.declaration import Occasion
from recloser.config.plans import ON_ALONE_FIX, ON_FIX, occasions
from recloser.core.driver import Driver
from recloser.core.errors import ConfigurationError, Problem
from recloser.core.permit import Permit, acquire
from recloser.core.policy import nearest, shown
from recloser.http.declared import PlanForm, defers, read_plan
from recloser.http.fault import Faults
from recloser.http.holder import Hold, Holder, Met, Terms
from recloser.http.keeping import Per
from recloser.http.plan import Plan
from recloser.http.responder import Responder

GUARDS: Final = "__recloser_guards__"
ANY_METHOD: Final = frozenset({"GET", "POST"})  # of a route that nobody has told the methods of


class Guarded:
    """One guard, bound to one endpoint.

    Args:
        name: The breaker's.
        form: The route's plan; `None`: the breaker's own answers.
        record: Whether the endpoint's outcome counts; `None`: unless the breaker is also used inside.
        faults: How the endpoint's exceptions are judged.
        on: What the plan answers; a `Plan` says that itself.

    Attributes:
        answers_failures: Whether a plan answers failures of this guard's breaker; known once the guard was entered.
        pers: What tells its plan who asks; known once it is bound.
    """

    __slots__ = ("_bound", "_faults", "_form", "_on", "_record", "_terms", "answers_failures", "name", "pers")

    _terms: Terms

    def __init__(
        self,
        name: str,
        form: PlanForm | None,
        *,
        record: bool | None,
        faults: Faults,
        on: Sequence[Occasion] = ("open",),
    ) -> None:
        self.name = name
        self._form = form
        self._on = on
        self._record = record
        self._faults = faults
        self._bound: Responder | None = None
        self.answers_failures = False
        self.pers: tuple[Per, ...] = ()

    def __repr__(self) -> str:
        return f"guard({self.name!r})"

    def bind(
        self, responder: Responder, path: str = "", methods: AbstractSet[str] = ANY_METHOD
    ) -> list[Problem]:
        """Find the breaker and make the plan.

        Args:
            responder: Of the application.
            path: How problems name the route.
            methods: What the route answers to.

        Returns:
            The problems found; the guard is bound only without any.
        """
        where = f"{path}{self!r}"
        breaker = responder.registry.declared.get(self.name)
        problems = [] if breaker is not None else [unknown(responder, where, self.name)]
        plan: Plan | None = None
        on = occasions(self._on)
        if on is None:
            problems.append(Problem(f"{where}.on", repr(self._on), ON_FIX))
        elif self._form is None and on != ("open",):
            problems.append(Problem(f"{where}.on", repr(self._on), ON_ALONE_FIX))
        if self._form is not None:
            plan, wrong = read_plan(self._form, f"{where}.plan", on or ("open",))
            problems += wrong or [
                *plan.problems(f"{where}.plan", methods),
                *plan.lacks(f"{where}.plan", responder.means),
            ]
            plan = plan.prepared(responder.means)
            responder.reads_bodies |= plan.reads_body > 0
        if breaker is not None and not problems:
            answering = plan or responder.plan_of(self.name)
            responder.expect(self.name, answering)
            self._terms = Terms(
                breaker._driver,  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
                (self.name, plan),
                replays=answering.replays,
                answers_failures=answering.answers_failures,
                faults=self._faults,
                inner_counts=None if self._record is None else not self._record,
            )
            self.answers_failures = answering.answers_failures
            self.pers = answering.pers
            self._bound = responder
        return problems

    @property
    def defers(self) -> bool:
        """Whether its plan puts requests off."""
        return defers(self._form)

    @property
    def is_bound(self) -> bool:
        """Whether some application has found its breaker."""
        return self._bound is not None

    def driver(self, responder: Responder) -> Driver:
        """Return what drives the breaker, as it is for `responder`."""
        self._ensure_bound(responder)
        return self._terms.driver

    def met(self, responder: Responder) -> Met:
        """Return the breaker's name and the plan, as they are for `responder`."""
        self._ensure_bound(responder)
        return self._terms.met

    def enter(self, holder: Holder, *, access_checked: bool = True) -> Hold | None:
        """Ask the breaker whether the endpoint may run.

        Args:
            holder: Of the request.
            access_checked: What the route checks before its endpoint runs has been checked.

        Returns:
            What must be told how it went; `None` if that is told elsewhere.

        Raises:
            CircuitOpenError: The circuit does not let it run.
            BulkheadFullError: Too many calls are in flight.
        """
        if self._bound is not holder.responder:
            self._ensure_bound(holder.responder)
        terms = self._terms
        record = terms.driver.machine.recorder
        if holder.met is None and record is not None and not terms.inner_counts:
            return holder.begin(terms, record, access_checked)  # nearly every guarded request
        holder.meet(terms.met, terms.replays)
        if access_checked:
            holder.guarded = True
        if record is not None and terms.inner_counts:
            return None
        for held in holder.holds:
            if held.terms.driver is terms.driver:  # one request counts once, and the innermost sees most
                return None if terms.inner_counts else held
        permit: Permit | None = None
        if record is None:
            permit = acquire(terms.driver)
            holder.hold(permit)
        hold = Hold(terms, record, permit)
        holder.holds.append(hold)
        return hold

    def _ensure_bound(self, responder: Responder) -> None:
        if self._bound is not responder:
            problems = self.bind(responder)
            if problems:
                raise ConfigurationError(problems)


def guards_of(endpoint: object) -> tuple[Guarded, ...]:
    """Return the guards on an endpoint, outermost first."""
    guards: tuple[Guarded, ...] = getattr(endpoint, GUARDS, ())
    return guards


def unknown(responder: Responder, path: str, name: object) -> Problem:
    """Say that no breaker has this name, if it is one at all, and which one may be meant."""
    declared = responder.registry.declared
    known = ", ".join(declared) or "none"
    return Problem(path, shown(name), f"must name a declared breaker ({known}){nearest(str(name), declared)}")
