"""Which guards of a class stand above what may check access."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from recloser.django.guards import Guard
from recloser.django.layers import inside, listed, stranger, stranger_listed
from recloser.django.views import behind_of
from recloser.http.guarded import Guarded, guards_of


class Above(NamedTuple):
    """A guard that stands above what may check access.

    Attributes:
        guarded: The guard.
        place: The method that it is on.
        stranger: What may check access.
    """

    guarded: Guarded
    place: str
    stranger: object


def guards_above_checks(view: object) -> Iterator[Above]:
    """Find such guards on the handlers of the class behind a view."""
    behind, _ = behind_of(view, "")
    methods: list[str] = getattr(behind, "http_method_names", [])
    for _, name in (behind_of(view, method) for method in methods):
        layer: object = getattr(behind, name, None)
        place = f"{getattr(behind, '__module__', '')}.{getattr(behind, '__qualname__', '')}.{name}"
        guards = guards_of(getattr(behind, "dispatch", None))
        while layer is not None:
            yield from (Above(guarded, place, found) for guarded in guards if (found := stranger(layer)))
            inner = inside(layer)
            yield from _in_a_list(layer, inner, place)
            guards = guards_of(layer)[: len(guards_of(layer)) - len(guards_of(inner))]
            layer = inner


def _in_a_list(layer: object, inner: object, place: str) -> Iterator[Above]:
    # `method_decorator([...])` shows each of them a method of its own, and the last one's guards.
    decorators = listed(layer)
    for index, decorate in enumerate(decorators):
        found = stranger_listed(decorators[index + 1 :]) or stranger(inner)
        if isinstance(decorate, Guard) and found:
            yield Above(decorate.guarded(), place, found)
