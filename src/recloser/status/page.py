"""The page: the fleet as a table, worst first, which is whole without JavaScript and live with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from recloser.status.actions import Outcome
from recloser.status.forms import NO_DEFAULT, on_chosen
from recloser.status.frame import View, whole
from recloser.status.live import changes_of, head, row, sections
from recloser.status.markup import Entry, link, text
from recloser.status.query import SHOWN, Query
from recloser.status.sampler import Rates


def overview(view: View, document: Mapping[str, Any], query: Query, rates: Rates) -> str:
    """Make the page of all breakers."""
    page = document["page"]
    body = (
        f"{head(document)}{_filters(view, query)}"
        f'<form method="post" id="bulk">{NO_DEFAULT}{_table(view, document["breakers"], rates, document)}'
        f"{_pages(view, query, page)}{on_chosen(view)}</form>"
        f"{''.join(sections(document).values())}"
        '<dialog id="drawer" aria-label="Breaker"><button type="button" class="close">Close</button>'
        '<div class="content"></div></dialog>'
    )
    return whole(view, f"Circuit breakers: {document['namespace']}", body)


def error(view: View, title: str, told: str, name: str = "") -> str:
    """Make the page of an error.

    Args:
        view: For whom.
        title: In two or three words.
        told: What was wrong and what to do.
        name: Of the breaker that was to be acted on.
    """
    back = f'<p><a href="{link(view.base, "")}">All breakers</a></p>'
    if name:
        back = f'<p><a href="{link(view.base, "b", name)}">{text(name)} as it is now</a></p>{back}'
    return whole(view, title, f'<p class="notice" role="alert">{text(told)}</p>{back}')


def outcomes(view: View, results: Sequence[Outcome]) -> str:
    """Make the page of what came of an action on several breakers."""
    items = "".join(
        f'<li class="{"done" if result.status == 200 else "failed"}">{text(result.text)}</li>'
        for result in results
    )
    return whole(
        view,
        "Result",
        f'<ul role="status">{items}</ul><p><a href="{link(view.base, "")}">All breakers</a></p>',
    )


def _filters(view: View, query: Query) -> str:
    options = "".join(
        f'<option value="{text(shown)}"{" selected" if shown == query.show else ""}>{text(shown.replace("_", " "))}</option>'
        for shown in SHOWN
    )
    return (
        f'<form method="get" action="{link(view.base, "")}" role="search" id="filter">'
        f'<label>Search <input type="search" name="search" value="{text(query.search)}" maxlength="200"></label>'
        f'<label>Show <select name="show"><option value="">all</option>{options}</select></label>'
        "<button>Filter</button></form>"
    )


def _table(view: View, entries: Sequence[Entry], rates: Rates, document: Mapping[str, Any]) -> str:
    choose = '<td class="choose"></td>' if view.tokens else ""
    may_choose = bool(view.tokens)
    rows = "".join(
        row(entry, view.base, rates, changes_of(document, entry["name"]), may_choose=may_choose)
        for entry in entries
    )
    columns = ("Breaker", "State", "Why", "Window", "Last minute", "Next", "Workers")
    heads = "".join(f'<th scope="col">{column}</th>' for column in columns)
    empty = "" if entries else '<p class="quiet" id="none">No breaker matches.</p>'
    return (
        '<table id="breakers"><caption class="hidden">Breakers, worst first</caption>'
        f"<thead><tr>{choose}{heads}</tr></thead><tbody>{rows}</tbody></table>{empty}"
    )


def _pages(view: View, query: Query, page: Mapping[str, Any]) -> str:
    if page["next"] is None and not page["offset"]:
        return ""
    links = ""
    for label, offset in (("Better ones", page["next"]), ("Worst ones", 0 if page["offset"] else None)):
        if offset is not None:
            parameters = f"?offset={offset}&limit={query.limit}&show={query.show}"
            links += f'<a href="{link(view.base, "")}{text(parameters)}">{label}</a> '
    return f'<nav aria-label="Pages">{links}</nav>'
