"""What `settings.RECLOSER` makes: the registry, the answers and the guarded routes, built at first use."""

from __future__ import annotations

from threading import RLock
from typing import Any, Final, NamedTuple, cast

from django.conf import settings

from recloser.config import Declaration
from recloser.core.errors import ConfigurationError, Problem
from recloser.django import signals
from recloser.django.answers import in_thread
from recloser.django.faults import FAULTS
from recloser.django.routes import ANY_METHOD, Routes
from recloser.django.shared_cache import SharedResponses
from recloser.django.templates import render
from recloser.http.cache import ResponseCache
from recloser.http.kept import DEFAULT_MAX_BODY, Cache
from recloser.http.responder import Responder
from recloser.http.routed import read_routes
from recloser.metrics.logging import log_events
from recloser.registry import Registry

SETTING: Final = "RECLOSER"


class Installation(NamedTuple):
    """All that one version of the settings makes.

    Attributes:
        registry: The breakers.
        responder: What is answered while they are open.
        routes: What `ROUTES` guards.
    """

    registry: Registry
    responder: Responder
    routes: Routes


_lock: Final = RLock()
_installed: Installation | None = None


def installation() -> Installation:
    """Return what the settings make, built on the first call.

    Raises:
        ConfigurationError: Lists all that is wrong with `RECLOSER`.
    """
    found = _installed
    return found if found is not None else _install()


def _install() -> Installation:
    global _installed  # noqa: PLW0603 - Django's settings are global, and so is what they make
    with _lock:
        if _installed is None:
            registry = build_registry()
            registry.add_listener(signals.forward)
            log_events(registry)
            _installed = build(registry)
            registry.__enter__()  # for as long as these settings last, whatever ASGI application shares it
        return _installed


def build_registry() -> Registry:
    """Make the breakers.

    Raises:
        ConfigurationError: Lists all that is wrong with them.
    """
    declared: Any = getattr(settings, SETTING, None)
    if declared is None:
        fix = 'must be a mapping such as {"BREAKERS": {"payments": {}}} in the settings'
        raise ConfigurationError([Problem(SETTING, "nothing", fix)])
    return Registry.from_mapping(declared, path=SETTING)


def build(registry: Registry) -> Installation:
    """Make the answers and routes of a registry.

    Raises:
        ConfigurationError: Lists all that is wrong with the plans and the cache.
    """
    declaration = registry.declaration
    routes, problems = read_routes(declaration)
    problems += [problem for route in routes for problem in route.problems(ANY_METHOD)]
    cache, wrong = _cache(declaration)
    problems += wrong
    expose = settings.DEBUG if declaration.expose is None else declaration.expose
    try:
        responder = Responder(
            registry,
            expose=expose,
            cache=ResponseCache() if wrong else cache,
            in_thread=in_thread,
            render=render,
            faults=FAULTS,
        )
    except ConfigurationError as error:
        raise ConfigurationError([*error.problems, *problems]) from None
    if problems:
        raise ConfigurationError(problems)
    for route in routes:
        for breaker, plan, _ in route.plans:
            responder.expect(breaker, plan or responder.plan_of(breaker))
    return Installation(registry, responder, Routes(routes))


def on_setting_changed(*, setting: str, **_: object) -> None:
    """Forget what an overridden setting made: tests override settings."""
    global _installed  # noqa: PLW0603
    with _lock:
        if _installed is not None and setting == SETTING:
            _installed.registry.close()
            _installed = None
        elif _installed is not None and setting in {"CACHES", "DEBUG"}:
            # The circuits stay as they are.
            _installed = build(_installed.registry)


def _cache(declaration: Declaration) -> tuple[Cache | None, list[Problem]]:
    # Only Django knows aliases; what else a declaration says of the cache is understood everywhere.
    alias = declaration.cache.get("alias")
    if alias is None:
        return None, []
    if alias not in settings.CACHES:
        known = ", ".join(settings.CACHES)
        fix = f"must be an alias of CACHES ({known})"
        return None, [Problem(declaration.places["cache.alias"], repr(alias), fix)]
    max_body = cast("int", declaration.cache.get("max_body", DEFAULT_MAX_BODY))
    return SharedResponses(str(alias), namespace=declaration.namespace, max_body=max_body), []
