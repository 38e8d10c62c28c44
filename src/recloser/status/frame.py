"""What all pages stand in, and for whom they are made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from recloser.status.markup import link, text
from recloser.steering import Action

DURATIONS: Final = ("5m", "15m", "1h", "4h", "1d")


class View(NamedTuple):
    """For whom a page is made.

    Attributes:
        base: The endpoint's path.
        reader: Who looks; `""`: anybody.
        tokens: For each action that he may take; empty: none.
        has_actions: There is an `authorize`, so that actions exist at all.
        is_live: The server can push changes; else the page asks for them.
    """

    base: str
    reader: str
    tokens: Mapping[Action, str]
    has_actions: bool
    is_live: bool


def whole(view: View, title: str, body: str) -> str:
    """Make a page."""
    static = link(view.base, "static")
    live = "events" if view.is_live else "poll"
    if not view.has_actions:
        note = "<p>Read only: no <code>authorize</code> is configured, so there are no actions.</p>"
    elif not view.tokens:
        note = f"<p>{text(view.reader)} may look, not act.</p>"
    else:
        note = f"<p>Acting as {text(view.reader)}.</p>"
    durations = "".join(f'<option value="{each}"></option>' for each in DURATIONS)
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="color-scheme" content="light dark"><title>{text(title)}</title>'
        f'<link rel="stylesheet" href="{static}/page.css"><link rel="icon" href="{static}/icon.svg">'
        f'<script src="{static}/page.js" defer></script></head>'
        f'<body data-base="{link(view.base)}" data-live="{live}"><a class="skip" href="#main">Skip to content</a>'
        f'<header><h1>{text(title)}</h1><span id="link" class="quiet" role="status"></span></header>'
        f'<main id="main" tabindex="-1">{body}</main><footer>{note}</footer>'
        f'<datalist id="durations">{durations}</datalist>'
        '<div id="told" class="toast" role="status" aria-live="polite"></div></body></html>'
    )
