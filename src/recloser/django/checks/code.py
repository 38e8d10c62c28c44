"""E004, W007: the breakers that guards, `breaker()`, caches and mail backends name."""

from __future__ import annotations

from django.core.checks import CheckMessage, Error

from recloser.django.checks.backends import named
from recloser.django.checks.installed import installed
from recloser.django.checks.routes import without_plan
from recloser.django.guards import guards_in_code
from recloser.django.lazy import NAMES_ASKED_FOR
from recloser.django.routes import ANY_METHOD
from recloser.django.urlconf import views
from recloser.http.guarded import unknown


def check_code(**_: object) -> list[CheckMessage]:
    """Report guards with unknown breakers or impossible plans, and names that others were given in vain."""
    found = installed()
    if found is None:
        return []
    responder, breakers = found.responder, found.registry.declaration.breakers
    asked_for = [(f"breaker({name!r})", name) for name in NAMES_ASKED_FOR]
    problems = [
        unknown(responder, place, name) for place, name in [*named(), *asked_for] if name not in breakers
    ]
    messages: list[CheckMessage] = []
    list(views())  # guards are known once the modules of the views are imported
    for guard in guards_in_code():
        wrong = guard.guarded().bind(responder, f"{guard.place}: ", ANY_METHOD)
        problems += wrong
        if not wrong and guard.plan is None and breakers[guard.name].plan is None:
            messages.append(without_plan(f"{guard.place}: {guard!r}"))
    for problem in problems:
        text = f"{problem.path} is wrong: got {problem.value}."
        messages.append(Error(text, hint=f"It {problem.fix}.", id="recloser.E004"))
    return [message for index, message in enumerate(messages) if message not in messages[:index]]
