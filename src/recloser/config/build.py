"""From tables to a Declaration, or to every problem at once."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from recloser.config import vocabulary
from recloser.config.declaration import BreakerDeclaration, Declaration, PolicyDeclaration, RouteDeclaration
from recloser.config.layers import judge, merged, tell
from recloser.config.origins import origin_of
from recloser.config.places import Entry, Table, Written
from recloser.config.plans import on_of, plan_of, plans_of
from recloser.config.profiles import Profiles
from recloser.config.reading import is_list, is_mapping
from recloser.config.report import Report
from recloser.config.top import cache_of, expose_of, namespace_of, secret_of, store_of
from recloser.config.values import checked
from recloser.core.errors import Problem


def build(written: Written, report: Report) -> Declaration:
    """Check everything that is written.

    Raises:
        ConfigurationError: Lists every problem, also those reported before.
    """
    store = store_of(written.top.get("store"), report)
    namespace = namespace_of(written.top.get("namespace"), report)
    breakers = _Breakers(written, report)
    declared = {name: breakers.declare(name, table) for name, table in written.breakers.items()}
    routes = {name: _route(name, table, written.breakers, report) for name, table in written.routes.items()}
    cache = cache_of(written.cache, report)
    expose = expose_of(written.top.get("expose"), report)
    secret = secret_of(written.top.get("secret"), report)
    report.conclude()
    entries = {key: written.top.get(key) for key in vocabulary.TOP}
    entries |= {f"cache.{key}": written.cache.get(key) for key in cache}
    return Declaration(
        path=str(written.top.place),
        store=store,
        namespace=namespace,
        defaults=breakers.defaults,
        breakers=MappingProxyType(declared),
        routes=MappingProxyType(routes),
        cache=cache,
        expose=expose,
        secret=secret,
        provenance=MappingProxyType({key: _source(entry) for key, entry in entries.items()}),
        places=MappingProxyType({key: str(entry.place) for key, entry in entries.items() if entry}),
    )


class _Breakers:
    def __init__(self, written: Written, report: Report) -> None:
        self._names = written.breakers
        self._report = report
        self._base = checked(written.defaults, report)
        self._profiles = Profiles(
            {name: checked(table, report) for name, table in written.profiles.items()}, report
        )
        self._owners: dict[str, str] = {}
        self._told: list[Problem] = []
        self.defaults = self._policy([], self._base)

    def declare(self, name: str, table: Table) -> BreakerDeclaration:
        table = checked(table, self._report)
        profiles, whole = self._profiles.under(table)
        found = self._policy([*profiles, table], table) if whole else self.defaults
        origins = self._origins(name, table.get("origins"))
        on = on_of(table.get("on"), table.get("plan"), self._report)
        plan = plan_of(table.get("plan"), self._report, on)
        own = {key: _source(table.get(key)) for key in ("origins", "plan", "on")}
        return BreakerDeclaration(
            name=name,
            policy=found.policy,
            provenance=MappingProxyType({**found.provenance, **own}),
            origins=origins,
            plan=plan,
        )

    def _policy(self, layers: list[Table], owner: Table) -> PolicyDeclaration:
        knobs = merged([self._base, *layers])
        found, problems = judge(knobs)
        # What is impossible in the defaults already is told once, not again for each breaker.
        tell([problem for problem in problems if problem not in self._told], knobs, owner, self._report)
        if owner is self._base:
            self._told = problems
        return found

    def _origins(self, name: str, entry: Entry | None) -> tuple[str, ...]:
        if entry is None:
            return ()
        if not is_list(entry.value):
            self._report.wrong(
                entry.place, entry.value, "must be a list of origins such as 'https://api.example'"
            )
            return ()
        found: list[str] = []
        for index, url in enumerate(entry.value):
            place = entry.place.at(index)
            try:
                origin = origin_of(url)
            except ValueError as error:
                self._report.wrong(place, url, str(error))
                continue
            owner = origin if origin in self._names else self._owners.setdefault(origin, name)
            if owner != name:
                self._report.wrong(place, url, f"must belong to one breaker; {origin} is that of {owner!r}")
            found.append(origin)
        return tuple(dict.fromkeys(found))


def _route(name: str, table: Table, declared: Mapping[str, object], report: Report) -> RouteDeclaration:
    breakers = _route_breakers(table, declared, report)
    plan = table.get("plan")
    on = on_of(table.get("on"), plan, report)
    one = plan_of(plan, report, on) if plan is not None and not is_mapping(plan.value) else None
    return RouteDeclaration(
        name=name,
        breakers=breakers,
        plan=one,
        plans=plans_of(plan, breakers, report, on),
        record=_record(table.get("record"), report),
        provenance=MappingProxyType({key: _source(table.get(key)) for key in vocabulary.ROUTE}),
        path=str(table.place),
    )


def _route_breakers(table: Table, declared: Mapping[str, object], report: Report) -> tuple[str, ...]:
    entry = table.get("breakers")
    if entry is None:
        report.note(Problem(str(table.place.at("breakers")), "nothing", "must list the names of breakers"))
        return ()
    if not is_list(entry.value) or not entry.value:
        report.wrong(entry.place, entry.value, "must list the names of breakers")
        return ()
    names: dict[str, None] = {}
    for index, name in enumerate(entry.value):
        if isinstance(name, str) and name in declared:
            names[name] = None
        else:
            report.unknown(entry.place.at(index), "is no declared breaker", name, declared, name)
    return tuple(names)


def _record(entry: Entry | None, report: Report) -> bool | None:
    if entry is None or entry.value is None:
        return None
    if isinstance(entry.value, bool):
        return entry.value
    report.wrong(entry.place, entry.value, "must be true or false")
    return None


def _source(entry: Entry | None) -> str:
    return "default" if entry is None else entry.source
