"""E004, W007, W010: guards, and the breakers that they, `breaker()`, caches and mail backends name."""

from __future__ import annotations

from django.core.checks import CheckMessage, Error, Warning  # noqa: A004 - Django's name

from recloser.django.checks.backends import named
from recloser.django.checks.installed import installed
from recloser.django.checks.routes import without_plan
from recloser.django.guards import Guard, guards_in_code
from recloser.django.layers import name_of
from recloser.django.lazy import NAMES_ASKED_FOR
from recloser.django.routes import ANY_METHOD
from recloser.django.urlconf import views
from recloser.http.guarded import unknown
from recloser.http.plan import Plan
from recloser.http.plans import Unavailable


def check_code(**_: object) -> list[CheckMessage]:
    """Report guards with unknown breakers or impossible plans, and names that others were given in vain."""
    found = installed()
    if found is None:
        return []
    responder, breakers = found.responder, found.registry.declaration.breakers
    asked_for = [(f"breaker({name!r})", name) for name in NAMES_ASKED_FOR]
    problems = [
        unknown(responder, place, name)
        for place, name in [*named(), *asked_for]
        if not (isinstance(name, str) and name in breakers)
    ]
    messages: list[CheckMessage] = []
    list(views())  # guards are known once the modules of the views are imported
    for guard in guards_in_code():
        guarded = guard.guarded()
        wrong = guarded.bind(responder, f"{guard.place}: ", ANY_METHOD)
        problems += wrong
        if guard.above is not None and not wrong and _is_curtailed(guarded.met(responder)[1]):
            messages.append(_too_high(guard))
        if not wrong and guard.plan is None and breakers[guard.name].plan is None:
            messages.append(without_plan(f"{guard.place}: {guard!r}"))
    for problem in problems:
        text = f"{problem.path} is wrong: got {problem.value}."
        messages.append(Error(text, hint=f"It {problem.fix}.", id="recloser.E004"))
    return [message for index, message in enumerate(messages) if message not in messages[:index]]


def _is_curtailed(plan: Plan | None) -> bool:
    if plan is None:
        return False
    early = plan.public().strategies
    return not all(step in early or isinstance(step, Unavailable) for step in plan.strategies)


def _too_high(guard: Guard) -> Warning:
    return Warning(
        f"{guard.place}: {guard!r} stands above {name_of(guard.above)}, which may check access: while the circuit is open, "
        "only public steps of its plan answer.",
        hint="Put the guard right above the view's own function, below all else that may refuse a request.",
        id="recloser.W010",
    )
