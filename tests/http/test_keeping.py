"""`plans.stale(per=..., shared=...)`: its arguments, in code and as data."""

from __future__ import annotations

import pytest

from recloser import ConfigurationError
from recloser.http import plans
from recloser.http.declared import pers_of, read_plan
from recloser.http.keeping import Keeping, ask
from recloser.http.plan import Plan


def who(request: object) -> str:
    return "ann"


async def who_later(request: object) -> str:
    return "ann"


@pytest.mark.parametrize(
    ("arguments", "path", "fix"),
    [
        ({"seconds": 0}, "stale", "must be a positive number of seconds"),
        ({"seconds": 5, "per": "shop:who"}, "per", "must be a function"),
        ({"seconds": 5, "per": []}, "per", "must be a function"),
        ({"seconds": 5, "shared": 1}, "shared", "must be true or false"),
        ({"seconds": 5, "shared": True, "per": who}, "shared", "must be left out beside per"),
    ],
)
def test_wrong_arguments_are_told(arguments, path, fix):
    """Each by its name, with the fix."""
    with pytest.raises(ConfigurationError) as caught:
        plans.stale(**arguments)
    [problem] = caught.value.problems
    assert problem.path == path
    assert problem.fix.startswith(fix)


@pytest.mark.parametrize(
    ("step", "strategy"),
    [
        ({"stale": 600}, plans.stale(600)),
        ({"stale": {"seconds": 600}}, plans.stale(600)),
        ({"stale": {"seconds": 600, "shared": True}}, plans.stale(600, shared=True)),
        ({"stale": {"seconds": 600, "per": who, "shared": False}}, plans.stale(600, per=who)),
        ({"stale": {"seconds": 600, "per": f"{__name__}:who"}}, plans.stale(600, per=who)),
    ],
)
def test_as_data(step, strategy):
    """Seconds alone, or all arguments by name; a function by its own name."""
    plan, problems = read_plan([step], "plan")
    assert problems == []
    assert plan == Plan([strategy])


@pytest.mark.parametrize(
    ("options", "path", "fix"),
    [
        ({}, "plan[0].stale.seconds", "must be a positive number of seconds"),
        ({"seconds": "5"}, "plan[0].stale.seconds", "must be a positive number of seconds"),
        ({"seconds": 5, "pre": "a:b"}, "plan[0].stale.pre", "is no option of stale (did you mean 'per'?)"),
        ({"seconds": 5, "per": "nowhere:who"}, "plan[0].stale.per", "must name something importable"),
        ({"seconds": 5, "per": "builtins:copyright.__doc__"}, "plan[0].stale.per", "must be a function"),
        ({"seconds": 5, "shared": "yes"}, "plan[0].stale.shared", "must be true or false"),
    ],
)
def test_wrong_data_is_told_with_its_path(options, path, fix):
    """As everywhere in a declaration."""
    _, [problem] = read_plan([{"stale": options}], "plan")
    assert problem.path == path
    assert problem.fix.startswith(fix)


def test_a_plan_says_for_whom_it_keeps():
    """What may be served before access was checked is public."""
    plan = Plan([plans.stale(60, per=who), plans.stale(5), plans.stale(9, shared=True), plans.json({})])
    assert plan.replays == {Keeping(who, False, 60), Keeping(None, False, 5), Keeping(None, True, 9)}
    assert plan.public() == Plan([plans.stale(5), plans.stale(9, shared=True)])


def test_what_names_partitions_is_found_in_every_form():
    """Wrong steps are for others to tell."""
    declared = {"stale": {"seconds": 5, "per": f"{__name__}:who"}}
    wrong = {"stale": {"seconds": 5, "per": "nowhere:who"}}
    assert pers_of(Plan([plans.stale(5, per=who)])) == (who,)
    assert pers_of([declared, wrong, {"stale": 5}, "unavailable", plans.stale(7, per=who)]) == (who,)
    assert pers_of(None) == pers_of("unavailable") == ()


def test_a_function_that_raises_or_waits_knows_nobody(caplog):
    """Where there is nothing to wait with, an error says so."""
    assert ask(who, None) == "str:ann"
    assert ask(lambda request: request.missing, None) == ""
    assert ask(who_later, None) == ""
    assert "got a coroutine" in caplog.text
