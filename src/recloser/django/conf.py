"""What `settings.RECLOSER` makes: the registry, the answers and the guarded routes, built at first use."""

from __future__ import annotations

from collections.abc import Mapping
from threading import RLock
from typing import Final, NamedTuple, cast

from django.conf import settings

from recloser.core.errors import ConfigurationError, Problem
from recloser.django import signals
from recloser.django.answers import in_thread
from recloser.django.faults import FAULTS
from recloser.django.routes import Routes, read_routes
from recloser.django.shared_cache import SharedResponses
from recloser.django.templates import render
from recloser.http.cache import ResponseCache
from recloser.http.responder import Responder
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
            _installed = build(registry)
        return _installed


def build_registry() -> Registry:
    """Make the breakers.

    Raises:
        ConfigurationError: Lists all that is wrong with them.
    """
    declared: object = getattr(settings, SETTING, None)
    if declared is None:
        fix = 'must be a mapping such as {"BREAKERS": {"payments": {}}} in the settings'
        raise ConfigurationError([Problem(SETTING, "nothing", fix)])
    return Registry.from_mapping(_without_own(declared), path=SETTING)


def build(registry: Registry) -> Installation:
    """Make the answers and routes of a registry.

    Raises:
        ConfigurationError: Lists all that is wrong with the plans, the cache and `EXPOSE`.
    """
    routes, problems = read_routes(registry.declaration)
    own = _own(getattr(settings, SETTING, None))
    problems += own.problems
    try:
        responder = Responder(
            registry, expose=own.expose, cache=own.cache, in_thread=in_thread, render=render, faults=FAULTS
        )
    except ConfigurationError as error:
        raise ConfigurationError([*error.problems, *problems]) from None
    if problems:
        raise ConfigurationError(problems)
    return Installation(registry, responder, routes)


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


class _Own(NamedTuple):
    expose: bool
    cache: ResponseCache | None
    problems: list[Problem]


def _own(declared: object) -> _Own:
    # What only Django's spelling of a declaration has: EXPOSE, and a cache by its alias.
    problems: list[Problem] = []
    mapping = _mapping(declared)
    expose: object = mapping.get("EXPOSE", settings.DEBUG)
    if not isinstance(expose, bool):
        problems.append(Problem(f'{SETTING}["EXPOSE"]', repr(expose), "must be True or False"))
    section = _mapping(mapping.get("CACHE"))
    cache: ResponseCache | None = None
    if "alias" in section:
        alias = section["alias"]
        path = f'{SETTING}["CACHE"]["alias"]'
        if not isinstance(alias, str) or alias not in settings.CACHES:
            known = ", ".join(settings.CACHES)
            problems.append(Problem(path, repr(alias), f"must be an alias of CACHES ({known})"))
        elif "max_bytes" in section:
            problems.append(
                Problem(path, repr(alias), "must stand alone: max_bytes bounds recloser's own cache")
            )
        else:
            cache = SharedResponses(alias)
    return _Own(expose is True, cache, problems)


def _without_own(declared: object) -> Mapping[str, object]:
    if not isinstance(declared, Mapping):
        return cast("Mapping[str, object]", declared)  # `Registry` says what is wrong with it
    mapping = {key: value for key, value in _mapping(cast("object", declared)).items() if key != "EXPOSE"}
    section = mapping.get("CACHE")
    if isinstance(section, Mapping):
        inner = _mapping(cast("object", section))
        mapping["CACHE"] = {key: value for key, value in inner.items() if key != "alias"}
    return mapping


def _mapping(value: object) -> Mapping[str, object]:
    return cast("Mapping[str, object]", value) if isinstance(value, Mapping) else {}
