"""The holder: what one request knows of its guards, from before the application runs to the end of its answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final, TypeAlias

from recloser.core.driver import Driver, Recorder
from recloser.core.errors import FailedResultError
from recloser.core.outcome import Outcome
from recloser.core.permit import Permit
from recloser.core.retry_after import parse
from recloser.core.scope import Scope
from recloser.http.failure import Trouble
from recloser.http.fault import Faults, of_status
from recloser.http.keeping import Keeping, Per
from recloser.http.plan import Plan
from recloser.http.responder import Responder

# A breaker that a request has met, with the plan of the guard that named it.
Met: TypeAlias = tuple[str, Plan | None]

_NONE: Final[Mapping[Per, str]] = MappingProxyType({})


class Terms:
    """What a guard asks of a breaker, as it was found in one application.

    Attributes:
        driver: Of the breaker.
        met: The breaker's name and the route's plan.
        replays: For whom plans want responses to be kept, to serve them again.
        answers_failures: Whether a plan answers failures that this breaker counts.
        faults: How exceptions are judged.
        times: Calls are timed.
        ticks: The recorder is all that a success needs: nothing depends on when it was.
        judges_results: The policy has something to say of what the endpoint returns.
        inner_counts: The endpoint uses the breaker itself: those calls count, the guard only refuses early.
            `None`: not seen yet.
    """

    __slots__ = (
        "answers_failures",
        "driver",
        "faults",
        "inner_counts",
        "judges_results",
        "met",
        "replays",
        "ticks",
        "times",
    )

    def __init__(
        self,
        driver: Driver,
        met: Met,
        *,
        replays: frozenset[Keeping],
        answers_failures: bool,
        faults: Faults,
        inner_counts: bool | None,
    ) -> None:
        self.driver = driver
        self.met = met
        self.replays = replays
        self.answers_failures = answers_failures
        self.faults = faults
        self.inner_counts = inner_counts
        policy = driver.policy
        self.judges_results = policy.failure_if is not None
        self.times = policy.times_calls
        self.ticks = not self.times and not (policy.judges_rates and policy.window_seconds is not None)


class Hold:
    """A guard's admission, until the request has told how it went.

    Args:
        terms: Of the guard.
        recorder: What admitted it while closed, or `None`.
        permit: What admitted it otherwise.

    Attributes:
        used_inside: An inner call of the same breaker had an outcome.
    """

    __slots__ = ("_answered", "_permit", "_recorder", "_started", "terms", "used_inside")

    def __init__(self, terms: Terms, recorder: Recorder | None, permit: Permit | None = None) -> None:
        self.terms = terms
        self._recorder = recorder
        self._permit = permit
        self._answered: float | None = None
        self._started = terms.driver.clock() if terms.times else 0.0
        self.used_inside = False

    @property
    def permit(self) -> Permit:
        """The permit, made when it is needed: a success while closed does without."""
        if self._permit is None:
            assert self._recorder is not None  # noqa: S101 - one of the two is there
            self._permit = Permit(self.terms.driver, self._recorder, self._started, self._answered)
        return self._permit

    def yields(self) -> bool:
        """Tell whether the endpoint's own outcome is not to count, since inner ones do; learn it for ever."""
        terms = self.terms
        if self.used_inside and terms.inner_counts is None:
            terms.inner_counts = True
        return terms.inner_counts is True

    def answered(self) -> None:
        """The answer begins: what is slow is decided now."""
        if self._permit is not None:
            self._permit.answered()
        elif self.terms.times and self._answered is None:
            self._answered = self.terms.driver.clock()

    def succeed(self) -> None:
        """The endpoint has answered well. In most requests this is the end."""
        terms, recorder = self.terms, self._recorder
        if (self.used_inside or terms.inner_counts) and self.yields():
            self.permit.ignore()
        elif recorder is None or self._permit is not None:
            self.permit.success()
        elif terms.ticks:
            recorder()
        else:
            terms.driver.succeeded_while_closed(recorder, self._started, self._answered)

    def fail(self, retry_after: str | None) -> None:
        """The endpoint has answered that it failed.

        Args:
            retry_after: The answer's `Retry-After`.
        """
        if self.yields():
            self.permit.ignore()
        else:
            self.permit.failure(retry_after=parse(retry_after, self.terms.driver.wall_clock))

    def settle(self, error: BaseException | None) -> None:
        """The endpoint raised; without an error, nothing can be said about the dependency."""
        if error is None or self.yields():
            self.permit.ignore()
        else:
            self.terms.faults.settle(self.permit, error)


class Holder(Scope):
    """One request's scope, with its guards.

    Args:
        responder: Of the application that answers the request.

    Attributes:
        met: The breakers met, outermost first; `None` until there is one.
        holds: Admissions that still wait for a verdict.
        keeps: For whom plans would serve this response again.
        guarded: A guard let the endpoint run, or refused it: what the route checks before has been checked.
        replaced: The answer is recloser's own.
        disowned: The endpoint returned what `failure_if` counts as a failure.
        partitions: Who asks, by what found it out.
    """

    __slots__ = ("disowned", "guarded", "holds", "keeps", "met", "partitions", "replaced", "responder")

    met: list[Met] | None
    holds: list[Hold]
    keeps: frozenset[Keeping]

    def __init__(self, responder: Responder) -> None:
        Scope.__init__(self)  # every request pays for `super()`
        self.responder = responder
        self.replaced = False
        self.met = None
        self.partitions = _NONE

    def identified(self, per: Per, name: str) -> None:
        """Note who asks.

        Args:
            per: Has found it out.
            name: Of the partition, `""` if it is not known.
        """
        self.partitions = {**self.partitions, per: name}

    def meet(self, met: Met, replays: frozenset[Keeping]) -> None:
        """Note that the request depends on a breaker.

        Args:
            met: Its name, and the plan of the guard that names it.
            replays: For whom a plan would serve this response again.
        """
        if self.met is None:
            self.holds = []
            self.keeps = replays
            self.guarded = self.disowned = False
            self.met = [met]
        else:
            self.met.append(met)
            self.keeps |= replays

    def begin(self, terms: Terms, recorder: Recorder, guarded: bool) -> Hold:
        """Admit by the first guard of a request, while its circuit is closed.

        Args:
            terms: Of the guard.
            recorder: What admits.
            guarded: What the route checks before has been checked.
        """
        hold = Hold(terms, recorder)
        self.met = [terms.met]
        self.holds = [hold]
        self.keeps = terms.replays
        self.guarded = guarded
        self.disowned = False
        return hold

    def note_inner(self, driver: Driver, outcome: Outcome) -> None:  # noqa: ARG002 - any outcome will do
        """Remember that a guard's breaker is used inside."""
        if self.met is not None:
            for hold in self.holds:
                if hold.terms.driver is driver:
                    hold.used_inside = True

    def plan_for(self, error: Trouble) -> Plan:
        """Choose the plan that answers a refusal or a failure.

        Where none of the route's guards was reached, it came from a dependency before them: access may not have been
        checked, so that only public responses may be served. The same holds for a guard that refused early, also by the
        breaker's own plan; where no guard stands, that answers for the breaker's calls wherever they are made.

        Returns:
            The plan of the guard of this breaker, of any guard, of the breaker itself, or the default.
        """
        given: list[tuple[str, Plan]] = [
            (breaker, plan) for breaker, plan in (*(self.met or ()), *self.route()) if plan is not None
        ]
        own = [plan for breaker, plan in given if breaker == error.breaker]
        plan = own[0] if own else given[0][1] if given else self.responder.plan_of(error.breaker)
        is_checked = not given if self.met is None else self.guarded
        return plan if is_checked else plan.public()

    def route(self) -> Iterable[Met]:
        """Return the breakers and plans of the route's guards, reached or not, outermost first."""
        return ()

    def counting(self) -> Iterable[str]:
        """Return the breakers that counted a failure, and the guards' that will when a bad answer is at its end."""
        if self.met is None:
            return sorted(self.failed)
        counting = {hold.terms.met[0] for hold in self.holds if not hold.yields()} | self.failed
        met = dict.fromkeys(name for name, _ in self.met if name in counting)
        return (*met, *sorted(counting - met.keys()))

    def ended(self, status: int, retry_after: str | None = None) -> None:
        """The answer is whole: settle what is held.

        Args:
            status: Of the answer.
            retry_after: Of the answer, as written.
        """
        holds, self.holds = self.holds, []
        if status < 400 and not self.replaced:
            for hold in holds:
                hold.succeed()
        elif of_status(status) is Outcome.FAILURE and not self.replaced:
            for hold in holds:
                hold.fail(retry_after)
        else:
            for hold in holds:
                hold.settle(None)

    def broke(self, error: BaseException | None) -> None:
        """The answer was not finished: settle what is held by the error; without one the client went away."""
        holds, self.holds = self.holds, []
        for hold in holds:
            hold.settle(error)

    def raised(self, hold: Hold, error: BaseException) -> None:
        """The guarded endpoint raised: settle its guard's permit, whatever is made of the error later."""
        if hold in self.holds:
            self.holds.remove(hold)
            hold.settle(error)

    def returned(self, hold: Hold, result: object) -> None:
        """The endpoint returned: a result that `failure_if` counts is a failure, whatever its status will be."""
        if hold.yields() or hold not in self.holds:
            return
        if hold.terms.driver.judge.of_result(result) is Outcome.FAILURE:
            self.disowned = True
            self.holds.remove(hold)
            hold.permit.failure(FailedResultError(result))
