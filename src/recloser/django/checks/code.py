"""E004, W007, W010: guards, and the breakers that they, `breaker()`, caches and mail backends name."""

from __future__ import annotations

from django.core.checks import CheckMessage, Error, Warning  # noqa: A004 - Django's name

from recloser.django.checks.above import Above, guards_above_checks
from recloser.django.checks.backends import named
from recloser.django.checks.installed import installed
from recloser.django.checks.routes import without_plan
from recloser.django.guards import guards_in_code
from recloser.django.layers import name_of
from recloser.django.lazy import NAMES_ASKED_FOR
from recloser.django.routes import ANY_METHOD
from recloser.django.urlconf import views
from recloser.http.guarded import Guarded, unknown
from recloser.http.responder import Responder


def check_code(**_: object) -> list[CheckMessage]:
    """Report guards with unknown breakers or impossible plans, and names that others were given in vain."""
    found = installed()
    if found is None:
        return []
    responder, breakers = found.responder, found.registry.declaration.breakers
    problems = [
        unknown(responder, place, name)
        for place, name in [*named(), *NAMES_ASKED_FOR.items()]
        if not (isinstance(name, str) and name in breakers)
    ]
    messages: list[CheckMessage] = []
    # Guards are known once the modules of the views are imported.
    above = [found for view in views() for found in guards_above_checks(view.view)]
    for guard in guards_in_code():
        guarded = guard.guarded()
        wrong = guarded.bind(responder, f"{guard.place}: ", ANY_METHOD)
        problems += wrong
        if guard.above is not None:
            above.append(Above(guarded, guard.place, guard.above))
        if not wrong and guard.plan is None and breakers[guard.name].plan is None:
            messages.append(without_plan(f"{guard.place}: {guard!r}"))
    messages += [_too_high(found) for found in above if _is_curtailed(found.guarded, responder)]
    for problem in problems:
        text = f"{problem.path} is wrong: got {problem.value}."
        messages.append(Error(text, hint=f"It {problem.fix}.", id="recloser.E004"))
    return [message for index, message in enumerate(messages) if message not in messages[:index]]


def _is_curtailed(guarded: Guarded, responder: Responder) -> bool:
    _, plan = ("", None) if guarded.bind(responder) else guarded.met(responder)
    return plan is not None and bool(plan.late())


def _too_high(found: Above) -> Warning:
    return Warning(
        f"{found.place}: {found.guarded!r} stands above {name_of(found.stranger)}, which may check access: while the "
        "circuit is open, only public steps of its plan answer.",
        hint="Put the guard right above the view's own function, below all else that may refuse a request.",
        id="recloser.W010",
    )
