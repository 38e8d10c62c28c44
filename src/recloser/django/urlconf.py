"""The views that a project's URLs lead to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from django.urls import URLPattern, URLResolver, get_resolver


class Found(NamedTuple):
    """One URL pattern.

    Attributes:
        name: With its namespaces, as `reverse` takes it; `""` without a name.
        path: The whole pattern, as `ResolverMatch.route` has it.
        view: What it leads to.
    """

    name: str
    path: str
    view: object


def views() -> Iterator[Found]:
    """Go through all URL patterns of the project."""
    yield from _below(get_resolver().url_patterns, (), "")


def _below(
    patterns: Sequence[URLPattern | URLResolver], namespaces: tuple[str, ...], prefix: str
) -> Iterator[Found]:
    for pattern in patterns:
        path = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            inner = (*namespaces, pattern.namespace) if pattern.namespace else namespaces
            yield from _below(pattern.url_patterns, inner, path)
        else:
            name = ":".join((*namespaces, pattern.name)) if pattern.name else ""
            yield Found(name, path, pattern.callback)
