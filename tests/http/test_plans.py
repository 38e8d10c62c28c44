"""Plans and strategies: who answers, in which order, and which plans can never answer."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

import anyio
import anyio.lowlevel
import pytest

from http_tools import Clock, cache, refusal, request, response
from recloser import ConfigurationError, Problem
from recloser.http import plans
from recloser.http.declared import read_breaker_plan, read_plan
from recloser.http.plan import Plan
from recloser.http.strategy import Means, Strategy

GET = frozenset({"GET", "HEAD"})
POST = frozenset({"POST"})


def answered(plan: Plan, asked=None):
    async def ask():
        return await plan.answer(asked or request(), refusal())

    return anyio.run(ask)


def stocked() -> Means:
    store = cache(Clock())
    store.keep(request(), response(b"kept"))
    return Means(cache=store)


@dataclass(frozen=True)
class Computed(Strategy):
    """A strategy of a user's own: awaits what it answers with."""

    name: ClassVar[str] = "computed"

    async def answer(self, request, error):
        await anyio.lowlevel.checkpoint()
        return response(f"{request.path} without {error.breaker}".encode())


@dataclass(frozen=True)
class Broken(Strategy):
    name: ClassVar[str] = "broken"

    def answer(self, request, error):
        raise LookupError("a bug")


# -- order -------------------------------------------------------------------------------------------------


def test_the_first_that_can_answer_does():
    """In order; what has nothing to say is passed over."""
    plan = Plan([plans.stale(60), plans.json({"quantity": None}), plans.json("never")])
    assert answered(plan.prepared(stocked())).response.body == b"kept"
    assert answered(plan).response.body == b'{"quantity":null}'
    assert answered(plan).strategy.name == "json"


def test_unavailable_stands_last_by_itself():
    """An empty plan, and one of which nobody can answer, give 503."""
    assert answered(Plan()).response.status == 503
    assert answered(Plan([plans.stale(60)])).response.status == 503
    assert answered(Plan([plans.unavailable()])).strategy.name == "unavailable"


def test_a_strategy_may_be_async():
    """What it returns is awaited."""
    assert answered(Plan([Computed()])).response.body == b"/page without inventory"


def test_a_strategy_that_raises_is_logged_and_the_next_is_asked(caplog):
    """With its traceback and the breaker's name."""
    with caplog.at_level(logging.ERROR, "recloser"):
        assert answered(Plan([Broken(), plans.json(1)])).response.body == b"1"
    assert "breaker 'inventory': the strategy broken raised; asking the next" in caplog.text
    assert "LookupError: a bug" in caplog.text


def test_before_access_is_checked_only_public_responses_answer():
    """Everything else in the plan waits until the route has run its checks."""
    plan = Plan([plans.json("secret"), plans.stale(60), Computed()])
    assert answered(plan.public()).response.status == 503
    assert answered(plan.prepared(stocked()).public()).response.body == b"kept"


def test_plans_compare_by_value():
    """So do the guards that carry them."""
    assert Plan([plans.stale(60), plans.json({})]) == Plan([plans.stale(60), plans.json({})])
    assert len({Plan([plans.stale(60)]), Plan([plans.stale(60)]), Plan([plans.stale(61)])}) == 2
    assert Plan([plans.stale(60)]).prepared(stocked()) == Plan([plans.stale(60)])
    assert (
        repr(Plan([plans.stale(60)]))
        == "Plan((Stale(seconds=60.0, per=None, shared=False, statuses=frozenset({200})),))"
    )


# -- strategies --------------------------------------------------------------------------------------------


def test_stale_answers_get_and_head_only():
    """A HEAD from the kept GET; nothing else, and no ranges."""
    plan = Plan([plans.stale(timedelta(minutes=1))]).prepared(stocked())
    assert answered(plan, request("HEAD")).strategy.name == "stale"
    assert answered(plan, request("POST")).strategy.name == "unavailable"
    assert answered(plan, request(range="bytes=0-1")).strategy.name == "unavailable"


@pytest.mark.parametrize(
    ("method", "strategy", "is_answered"),
    [
        ("GET", plans.json({}), True),
        ("HEAD", plans.json({}), True),
        ("OPTIONS", plans.json({}), True),
        ("POST", plans.json({}), False),
        ("DELETE", plans.json({}, status=202), False),
        ("POST", plans.json({}, status=409), True),
        ("POST", plans.json({}, status=202, unsafe=True), True),
    ],
)
def test_success_is_not_claimed_for_what_was_not_done(method, strategy, is_answered):
    """RFC 9110 §9.2.1: unsafe methods get no 2xx, unless the author insists."""
    assert (answered(Plan([strategy]), request(method)).strategy.name == "json") is is_answered


def test_json_is_written_once_and_says_what_it_is():
    """UTF-8, compact; with `Retry-After` where the status asks for one (RFC 9110 §15.6.4)."""
    answer = answered(Plan([plans.json({"name": "Käse"}, status=503)])).response
    assert json.loads(answer.body) == {"name": "Käse"}
    assert answer.header("content-type") == "application/json"
    assert answer.header("content-length") == str(len(answer.body))
    assert int(answer.header("retry-after") or 0) >= 12
    assert answered(Plan([plans.json(1)])).response.header("retry-after") is None


@pytest.mark.parametrize(
    ("make", "problems"),
    [
        (lambda: plans.stale(0), [("stale", "0", "must be a positive number of seconds (or a timedelta)")]),
        (
            lambda: plans.stale("1h"),
            [("stale", "'1h'", "must be a positive number of seconds (or a timedelta)")],
        ),
        (
            lambda: plans.stale(True),
            [("stale", "True", "must be a positive number of seconds (or a timedelta)")],
        ),
        (
            lambda: plans.stale(float("inf")),
            [("stale", "inf", "must be a positive number of seconds (or a timedelta)")],
        ),
        (
            lambda: plans.json({1, 2}, status=204, unsafe="yes"),
            [
                ("json", "{1, 2}", "must be a JSON value (Object of type set is not JSON serializable)"),
                ("status", "204", "must be an HTTP status of 200..599 whose response has a body"),
                ("unsafe", "'yes'", "must be true or false"),
            ],
        ),
        (
            lambda: plans.json({}, status="200"),
            [("status", "'200'", "must be an HTTP status of 200..599 whose response has a body")],
        ),
    ],
)
def test_wrong_arguments_are_all_named(make, problems):
    """Each with its value and its fix."""
    with pytest.raises(ConfigurationError) as raised:
        make()
    assert [tuple(problem) for problem in raised.value.problems] == problems


def test_a_number_that_json_has_not_is_wrong():
    """RFC 8259 §6."""
    with pytest.raises(ConfigurationError, match="must be a JSON value"):
        plans.json(float("nan"))


# -- plans that can never answer -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strategies", "methods", "problems"),
    [
        ([plans.stale(60), plans.json({}), plans.unavailable()], GET, []),
        ([plans.stale(60)], {"GET", "POST"}, []),
        (
            [plans.stale(60)],
            POST,
            [("p[0]", "stale", "can never answer: responses are kept for GET routes only")],
        ),
        (
            [plans.json({})],
            {"POST", "PUT"},
            [
                (
                    "p[0]",
                    "json",
                    (
                        "can never answer: POST, PUT would seem to have succeeded; "
                        "give it a status of 300 or more, or unsafe=True"
                    ),
                )
            ],
        ),
        ([plans.json({}, status=503)], POST, []),
        ([plans.json({}, unsafe=True)], POST, []),
        (
            [plans.unavailable(), plans.json({})],
            GET,
            [("p[1]", "json", "can never answer: unavailable, which stands before it, always does")],
        ),
        (
            [plans.json({}), plans.stale(60)],
            GET,
            [("p[1]", "stale", "can never answer: json, which stands before it, always does")],
        ),
        ([plans.json({}), plans.json({}, status=503)], {"GET", "POST"}, []),
        ([Computed(), plans.json({})], GET, []),
    ],
)
def test_a_step_that_can_never_answer_is_found(strategies, methods, problems):
    """With its place in the plan and the reason."""
    assert Plan(strategies).problems("p", methods) == [Problem(*problem) for problem in problems]


# -- raw form ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("unavailable", [plans.unavailable()]),
        ([], []),
        (["unavailable"], [plans.unavailable()]),
        ([{"unavailable": None}], [plans.unavailable()]),
        ([{"unavailable": True}], [plans.unavailable()]),
        (
            [{"stale": 600}, {"json": {"quantity": None}}],
            [plans.stale(600), plans.json({"quantity": None})],
        ),
        (({"json": 1, "status": 202, "unsafe": True},), [plans.json(1, status=202, unsafe=True)]),
        ([plans.stale(5), {"json": None}], [plans.stale(5), plans.json(None)]),
        (Plan([plans.stale(5)]), [plans.stale(5)]),
    ],
)
def test_a_plan_may_be_written_as_data(form, expected):
    """Names, one-strategy mappings and strategies mix."""
    assert read_plan(form, "p") == (Plan(expected), [])


@pytest.mark.parametrize(
    ("form", "problems"),
    [
        (
            "stael",
            [
                (
                    "p[0]",
                    "{'stael': None}",
                    "must name exactly one of stale, json, response, compute, defer, template, unavailable (did you mean 'stale'?)",
                )
            ],
        ),
        (5, [("p", "5", "must be a list of strategies, such as [{'stale': 600}, {'json': {}}]")]),
        (b"x", [("p", "b'x'", "must be a list of strategies, such as [{'stale': 600}, {'json': {}}]")]),
        ([5], [("p[0]", "5", "must be a strategy, such as {'stale': 600}")]),
        (
            [{}],
            [
                (
                    "p[0]",
                    "{}",
                    "must name exactly one of stale, json, response, compute, defer, template, unavailable",
                )
            ],
        ),
        (
            [{"stale": 600, "json": {}}],
            [
                (
                    "p[0]",
                    "{'stale': 600, 'json': {}}",
                    "must name exactly one of stale, json, response, compute, defer, template, unavailable",
                )
            ],
        ),
        (
            [{"stale": -1}, {"json": {}, "statsu": 1, "x": 2}, {"unavailable": 5}],
            [
                ("p[0].stale", "-1", "must be a positive number of seconds (or a timedelta)"),
                ("p[1].statsu", "1", "is no option of json (did you mean 'status'?)"),
                ("p[1].x", "2", "is no option of json"),
                ("p[2].unavailable", "5", "takes no value: write 'unavailable'"),
            ],
        ),
    ],
)
def test_everything_wrong_with_a_written_plan_is_found_at_once(form, problems):
    """Each with its path, its value and its fix."""
    assert read_plan(form, "p")[1] == [Problem(*problem) for problem in problems]


@pytest.mark.parametrize(
    ("steps", "problems"),
    [
        (({"stale": 600},), []),
        (({"stale": 600}, {"unavailable": True}), []),
        (
            ({"json": {}},),
            [
                (
                    "plan[0]",
                    "json",
                    "must be stale or unavailable on a breaker: any other answer belongs to a route's plan",
                )
            ],
        ),
        (
            ({"unavailable": True}, {"stale": 600}),
            [("plan[1]", "stale", "can never answer: unavailable, which stands before it, always does")],
        ),
        (({"stale": 0},), [("plan[0].stale", "0", "must be a positive number of seconds (or a timedelta)")]),
    ],
)
def test_a_breakers_own_plan_holds_stale_and_unavailable_only(steps, problems):
    """A fixed body belongs to a route."""
    from recloser.config.declaration import PlanDeclaration

    assert read_breaker_plan(PlanDeclaration(steps, "plan"))[1] == [Problem(*problem) for problem in problems]
