"""`ROUTES`: guards on views that are named by their URL's name or path."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from django.urls import ResolverMatch

from recloser.django.faults import FAULTS
from recloser.http.guarded import Guarded
from recloser.http.routed import Route, names

ANY_METHOD: Final = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})


class Routes:
    """Finds the guards of a request by what its URL resolved to.

    A name with its namespaces (`shop:product`) stands for itself; an entry that begins with `/` is a path as
    `path()` writes it (`/products/<int:id>/`), in which `*` stands for anything (`/api/*`).
    """

    def __init__(self, routes: tuple[Route, ...]) -> None:
        self._routes = routes
        self._found: dict[tuple[str, str], tuple[Guarded, ...]] = {}

    def __len__(self) -> int:
        return len(self._routes)

    def __iter__(self) -> Iterator[Route]:
        return iter(self._routes)

    def find(self, match: ResolverMatch) -> tuple[Guarded, ...]:
        """Return the guards of a view, in the order of `ROUTES`."""
        key = match.view_name, match.route or ""
        guards = self._found.get(key)
        if guards is None:
            named = [route for route in self._routes if names(route.declared.name, *key)]
            # Each view has its own: whose outcome counts is learnt per view.
            found = tuple(guard for route in named for guard in route.guards(FAULTS))
            guards = self._found.setdefault(key, found)
        return guards
