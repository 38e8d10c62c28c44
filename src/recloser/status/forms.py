"""The forms by which an operator acts."""

from __future__ import annotations

from typing import Final

from recloser.status.actions import LABELS
from recloser.status.frame import View
from recloser.status.markup import Entry, link, text

# Enter in a field must not press the first button: a form's default button that is disabled does nothing.
NO_DEFAULT: Final = "<button disabled hidden></button>"


def on_chosen(view: View) -> str:
    """Make the form for breakers that are ticked."""
    if not view.tokens:
        return ""
    return (
        '<p class="quiet hint">Choose breakers to act on several at once.</p>'
        '<fieldset class="bulk"><legend>Act on the chosen breakers</legend>'
        f'{_wish()}<div class="buttons">{_buttons(view, "bulk")}</div></fieldset>'
    )


def on_one(view: View, entry: Entry) -> str:
    """Make the form for one breaker, as it is seen."""
    if not view.tokens:
        return ""
    return (
        f'<form method="post" class="actions">{NO_DEFAULT}<fieldset><legend>Act on {text(entry["name"])}</legend>'
        f'<input type="hidden" name="epoch" value="{text(entry["epoch"])}">{_wish()}'
        f'<div class="buttons">{_buttons(view, "b", entry["name"])}</div></fieldset></form>'
    )


def _wish() -> str:
    return (
        '<div class="wish"><label>Reason <input name="reason" required maxlength="200" autocomplete="off"></label>'
        '<label>For how long <input name="for" list="durations" placeholder="until somebody ends it" '
        r'pattern="\s*[0-9]+(\.[0-9]+)?\s?(s|sec|m|min|h|d)?\s*" title="such as 90s, 10m, 2h or 1d" '
        'autocomplete="off"></label></div>'
    )


def _buttons(view: View, *pieces: str) -> str:
    return "".join(
        f'<button class="act {action}" formaction="{link(view.base, *pieces, action)}" name="token" '
        f'value="{text(token)}"><b>{text(LABELS[action][0])}</b> <small>{text(LABELS[action][1])}</small></button>'
        for action, token in view.tokens.items()
    )
