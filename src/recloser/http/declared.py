"""Plans from their raw form: `"unavailable"`, `[{"stale": 600}, {"json": {"quantity": None}}]`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple, TypeAlias, cast

from recloser.config.declaration import Occasion, PlanDeclaration
from recloser.config.imports import load
from recloser.core.errors import ConfigurationError, Problem
from recloser.core.policy import nearest
from recloser.http import plans
from recloser.http.deferring import Defer
from recloser.http.keeping import Per
from recloser.http.plan import Plan
from recloser.http.strategy import Strategy

PlanForm: TypeAlias = Plan | Sequence[Strategy | Mapping[str, object] | str] | str


def read_plan(form: object, path: str, on: tuple[Occasion, ...] = ("open",)) -> tuple[Plan, list[Problem]]:
    """Make a plan from any of its forms.

    Args:
        form: A `Plan`; a sequence of strategies, of names, and of mappings that name one strategy each; or one
            name.
        path: Where it was written.
        on: What it answers; a `Plan` says that itself.

    Returns:
        The plan, and the problems found (the plan means nothing if there are any).
    """
    if isinstance(form, Plan):
        return form, []
    if isinstance(form, str):
        form = (form,)
    if not isinstance(form, Sequence) or isinstance(form, bytes):
        fix = "must be a list of strategies, such as [{'stale': 600}, {'json': {}}]"
        return Plan(), [Problem(path, repr(form), fix)]
    strategies: list[Strategy] = []
    problems: list[Problem] = []
    for index, step in enumerate(cast("Sequence[object]", form)):
        try:
            strategies.append(_strategy(step))
        except ConfigurationError as error:
            for name, value, fix in error.problems:
                problems.append(Problem(f"{path}[{index}]{'.' if name else ''}{name}", value, fix))
    return Plan(strategies, on=on), problems


def read_breaker_plan(declared: PlanDeclaration) -> tuple[Plan, list[Problem]]:
    """Make the plan that a breaker declares for all routes.

    It holds `stale` and `unavailable` only: a fixed body belongs to a route. Arguments and result as for
    `read_plan`.
    """
    plan, problems = read_plan(declared.steps, declared.path, declared.on)
    if problems:
        return plan, problems
    for index, strategy in enumerate(plan.strategies):
        if not isinstance(strategy, plans.Stale | plans.Unavailable):
            fix = "must be stale or unavailable on a breaker: any other answer belongs to a route's plan"
            problems.append(Problem(f"{declared.path}[{index}]", strategy.name, fix))
    return plan, problems or plan.problems(declared.path, {"GET"})


def pers_of(form: PlanForm | None) -> tuple[Per, ...]:
    """Find what names the partitions of a plan, as far as that can be told: problems are for `read_plan` to tell."""
    steps: Sequence[object] = () if form is None or isinstance(form, str) else _steps(form)
    found: dict[Per, None] = {}
    for step in steps:
        with suppress(ConfigurationError):
            strategy = _strategy(step) if isinstance(step, Strategy) or _says_per(step) else None
            if strategy is not None and strategy.asks is not None:
                found[strategy.asks] = None
    return tuple(found)


def defers(form: object) -> bool:
    """Tell whether a plan puts requests off, as far as that can be told: problems are for `read_plan` to tell."""
    steps: object = form.strategies if isinstance(form, Plan) else form
    if not isinstance(steps, Sequence):
        return False
    return any(
        isinstance(step, Defer) or (isinstance(step, Mapping) and "defer" in step)
        for step in cast("Sequence[object]", steps)
    )


def _steps(form: Plan | Sequence[object]) -> Sequence[object]:
    return form.strategies if isinstance(form, Plan) else form


def _says_per(step: object) -> bool:
    if not isinstance(step, Mapping):
        return False
    values = cast("Mapping[str, object]", step)
    options = values.get("stale")
    return "per" in values or (isinstance(options, Mapping) and "per" in options)


def _strategy(step: object) -> Strategy:
    if isinstance(step, Strategy):
        return step
    if isinstance(step, str):
        step = {step: None}
    if not isinstance(step, Mapping):
        raise ConfigurationError([Problem("", repr(step), "must be a strategy, such as {'stale': 600}")])
    values = {str(key): value for key, value in cast("Mapping[object, object]", step).items()}
    named = [name for name in values if name in _MAKERS]
    if len(named) != 1:
        hint = nearest(next(iter(values), ""), _MAKERS) if not named else ""
        fix = f"must name exactly one of {', '.join(_MAKERS)}{hint}"
        raise ConfigurationError([Problem("", repr(values), fix)])
    name = named[0]
    value, maker = values.pop(name), _MAKERS[name]
    unknown = [option for option in values if option not in maker.options]
    if unknown:
        raise ConfigurationError(
            Problem(
                option,
                repr(values[option]),
                f"is no option of {name}{nearest(option, dict.fromkeys(maker.options))}",
            )
            for option in unknown
        )
    return maker.make(value, values)


def _make_stale(value: Any, _: Mapping[str, Any]) -> Strategy:
    if not isinstance(value, Mapping):
        return plans.stale(value)
    options = {str(key): option for key, option in cast("Mapping[object, Any]", value).items()}
    known: Mapping[str, None] = dict.fromkeys(("seconds", "per", "shared", "statuses"))
    problems = [
        Problem(f"stale.{name}", repr(option), f"is no option of stale{nearest(name, known)}")
        for name, option in options.items()
        if name not in known
    ]
    if "seconds" not in options:
        problems.append(Problem("stale.seconds", "nothing", "must be a positive number of seconds"))
    if isinstance(options.get("per"), str):
        found, fix = load(options["per"])
        if fix:
            problems.append(Problem("stale.per", repr(options["per"]), fix))
        options["per"] = found
    if problems:
        raise ConfigurationError(problems)
    try:
        return plans.stale(**options)
    except ConfigurationError as error:
        raise ConfigurationError(
            Problem(f"stale.{'seconds' if name == 'stale' else name}", shown, fix)
            for name, shown, fix in error.problems
        ) from None


def _make_json(value: object, options: Mapping[str, Any]) -> Strategy:
    return plans.json(value, **options)


def _make_response(value: Any, options: Mapping[str, Any]) -> Strategy:
    return plans.response(value, **options)


def _make_compute(value: Any, _: Mapping[str, Any]) -> Strategy:
    if isinstance(value, str):
        found, fix = load(value)
        if not fix and not callable(found):
            fix = plans.NO_FUNCTION
        if fix:
            raise ConfigurationError([Problem("compute", repr(value), fix)])
        value = found
    return plans.compute(value)


def _make_defer(value: Any, options: Mapping[str, Any]) -> Strategy:
    if isinstance(value, str):
        found, fix = load(value)
        if fix:
            raise ConfigurationError([Problem("defer", repr(value), fix)])
        value = found
    given = dict(options)
    if isinstance(given.get("per"), str):
        given["per"], fix = load(given["per"])
        if fix:
            raise ConfigurationError([Problem("per", repr(options["per"]), fix)])
    return plans.defer(value, **given)


def _make_template(value: Any, options: Mapping[str, Any]) -> Strategy:
    return plans.template(value, **options)


def _make_unavailable(value: object, _: Mapping[str, Any]) -> Strategy:
    if value not in (None, True, {}):
        raise ConfigurationError([Problem("unavailable", repr(value), "takes no value: write 'unavailable'")])
    return plans.unavailable()


class _Maker(NamedTuple):
    make: Callable[[Any, Mapping[str, Any]], Strategy]
    options: tuple[str, ...] = ()


_MAKERS: Final[Mapping[str, _Maker]] = {
    "stale": _Maker(_make_stale),
    "json": _Maker(_make_json, ("status", "unsafe")),
    "response": _Maker(_make_response, ("status", "headers", "media_type", "unsafe")),
    "compute": _Maker(_make_compute),
    "defer": _Maker(_make_defer, ("headers", "max_body", "per")),
    "template": _Maker(_make_template, ("status", "unsafe")),
    "unavailable": _Maker(_make_unavailable),
}
