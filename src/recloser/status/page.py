"""The page: the fleet as a table, worst first, which is whole without JavaScript and live with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple, cast

from recloser.status import markup
from recloser.status.actions import LABELS, Outcome
from recloser.status.markup import Entry, link, text
from recloser.status.query import SHOWN, Query
from recloser.status.sampler import Rates
from recloser.steering import Action

# Enter in a field must not press the first button: a form's default button that is disabled does nothing.
_NO_DEFAULT: Final = "<button disabled hidden></button>"


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


def overview(view: View, document: Mapping[str, Any], query: Query, rates: Rates) -> str:
    """Make the page of all breakers."""
    page = document["page"]
    body = (
        f"{head(document)}{_filters(view, query)}"
        f'<form method="post" id="bulk">{_NO_DEFAULT}{_table(view, document["breakers"], rates, document)}'
        f"{_pages(view, query, page)}{_bulk(view)}</form>"
        f"{''.join(sections(document).values())}"
        '<dialog id="drawer" aria-label="Breaker"><button type="button" class="close">Close</button>'
        '<div class="content"></div></dialog>'
    )
    return _whole(view, f"Circuit breakers: {document['namespace']}", body)


def one(view: View, document: Mapping[str, Any], *, done: str = "", part: bool = False) -> str:
    """Make the page of one breaker.

    Args:
        view: For whom.
        document: Of the breaker.
        done: What has just been done.
        part: Only what a drawer shows.
    """
    entry = document["breaker"]
    notice = f'<p class="notice" role="status">{text(done)}</p>' if done else ""
    body = f"{notice}{_facts(entry)}{_actions(view, entry)}{_probes(entry)}"
    body += _timeline(entry["transitions"], "Timeline") + _beliefs(entry) + _policy(entry)
    if part:
        return f"<h2>{text(entry['name'])}</h2>{body}"
    back = f'<p><a href="{link(view.base, "")}">All breakers</a></p>'
    return _whole(view, entry["name"], f"{back}{head(document)}{body}")


def error(view: View, title: str, told: str) -> str:
    """Make the page of an error."""
    back = f'<p><a href="{link(view.base, "")}">All breakers</a></p>'
    return _whole(view, title, f'<p class="notice" role="alert">{text(told)}</p>{back}')


def outcomes(view: View, results: Sequence[Outcome]) -> str:
    """Make the page of what came of an action on several breakers."""
    items = "".join(
        f'<li class="{"done" if result.status == 200 else "failed"}">{text(result.text)}</li>'
        for result in results
    )
    return _whole(
        view,
        "Result",
        f'<ul role="status">{items}</ul><p><a href="{link(view.base, "")}">All breakers</a></p>',
    )


def row(entry: Entry, base: str, rates: Rates, changes: Sequence[float], *, may_choose: bool) -> str:
    """Make a table's row of one breaker."""
    name = text(entry["name"])
    choose = ""
    if may_choose:
        choose = (
            f'<td class="choose"><input type="checkbox" name="breaker" value="{name} {text(entry["epoch"])}" '
            f'aria-label="Choose {name}"></td>'
        )
    return (
        f'<tr data-name="{name}" data-severity="{entry["severity"]}">{choose}'
        f'<th scope="row"><a href="{link(base, "b", entry["name"])}">{name}</a></th>'
        f'<td data-label="State">{markup.badge(entry)} {markup.since(entry)}</td>'
        f'<td data-label="Why">{markup.why(entry)}{markup.trouble(entry)}</td>'
        f'<td data-label="Window">{markup.window(entry)}</td>'
        f'<td data-label="Last minute">{markup.sparkline(rates.history(entry["name"]), changes)}{markup.rates(entry)}</td>'
        f'<td data-label="Next">{markup.countdown(entry)}</td>'
        f'<td data-label="Workers">{markup.agreement(entry)}</td></tr>'
    )


def head(document: Mapping[str, Any]) -> str:
    """Make the banner: how fleet and store are."""
    store, counts = document["store"], document.get("counts")
    told: list[str] = []
    if store["connection"] in ("down", "starting", "closed"):
        told.append(
            f"Store {store['address']}: {store['connection']} ({store['error'] or 'no answer yet'}). "
            "This is what one worker knows; the others may be cut off too, and each decides alone."
        )
    elif document["scope"] == "process" and store["connection"] == "up":
        told.append(f"Store {store['address']} did not answer in time. This is what one worker knows.")
    late = [worker for worker in document.get("workers", ()) if worker["late"]]
    if late:
        total = len(document["workers"])
        told.append(f"{len(late)} of {total} workers cut off from the store, or gone.")
    banner = "".join(f'<p class="banner" role="alert">{text(line)}</p>' for line in told)
    if counts is None:
        return f'<div id="head">{banner}</div>'
    trouble = counts["open"] + counts["half_open"]
    whose = "one process without a store" if store["connection"] == "none" else f"store {store['address']}"
    workers = f"{len(document['workers'])} worker{'s' * (len(document['workers']) != 1)}"
    summary = (
        f"<strong>{counts['open']} open</strong>, {counts['half_open']} half-open, {counts['closed']} closed; "
        f"{workers}; {text(whose)}"
    )
    queues = "".join(
        f'<span class="queue">{text(markup.queue_of(each))}</span>' for each in document["queues"]
    )
    return (
        f'<div id="head">{banner}<p class="summary{" trouble" if trouble else ""}">{summary} '
        f'<span class="quiet">as of <time datetime="{text(document["at"])}">{_clock(document["at"])}</time>'
        f"</span>{queues}</p></div>"
    )


def sections(document: Mapping[str, Any]) -> dict[str, str]:
    """Make what stands below the table, by the ids of its elements."""
    changes = _timeline(document["transitions"], "Latest changes")
    return {
        "workers": _workers(document),
        "changes": f'<section id="changes">{changes}</section>',
    }


def changes_of(document: Mapping[str, Any], name: str) -> list[float]:
    """Return when a breaker's last transitions were (seconds of the wall clock)."""
    return [
        datetime.fromisoformat(each["at"]).timestamp()
        for each in document["transitions"]
        if each["breaker"] == name
    ]


def _whole(view: View, title: str, body: str) -> str:
    static = link(view.base, "static")
    live = "events" if view.is_live else "poll"
    if not view.has_actions:
        note = "<p>Read only: no <code>authorize</code> is configured, so there are no actions.</p>"
    elif not view.tokens:
        note = f"<p>{text(view.reader)} may look, not act.</p>"
    else:
        note = f"<p>Acting as {text(view.reader)}.</p>"
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="color-scheme" content="light dark"><title>{text(title)}</title>'
        f'<link rel="stylesheet" href="{static}/page.css"><link rel="icon" href="{static}/icon.svg">'
        f'<script src="{static}/page.js" defer></script></head>'
        f'<body data-base="{link(view.base)}" data-live="{live}"><a class="skip" href="#main">Skip to content</a>'
        f'<header><h1>{text(title)}</h1><span id="link" class="quiet" role="status"></span></header>'
        f'<main id="main" tabindex="-1">{body}</main><footer>{note}</footer>'
        '<div id="told" class="toast" role="status" aria-live="polite"></div></body></html>'
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


def _buttons(view: View, *pieces: str) -> str:
    return "".join(
        f'<button class="act" formaction="{link(view.base, *pieces, action)}" name="token" value="{text(token)}" '
        f'title="{text(LABELS[action][1])}">{text(LABELS[action][0])}</button>'
        for action, token in view.tokens.items()
    )


def _wish() -> str:
    return (
        '<label>Reason <input name="reason" required maxlength="200" autocomplete="off"></label>'
        '<label>For (empty: until ended) <input name="for" placeholder="such as 10m, 2h" size="18" autocomplete="off" '
        r'pattern="\s*[0-9]+(\.[0-9]+)?\s?(s|sec|m|min|h|d)?\s*"></label>'
    )


def _bulk(view: View) -> str:
    if not view.tokens:
        return ""
    return (
        '<fieldset class="bulk"><legend>Act on the chosen breakers</legend>'
        f'{_wish()}<div class="buttons">{_buttons(view, "bulk")}</div></fieldset>'
    )


def _actions(view: View, entry: Entry) -> str:
    if not view.tokens:
        return ""
    return (
        f'<form method="post" class="actions">{_NO_DEFAULT}<fieldset><legend>Act on {text(entry["name"])}</legend>'
        f'<input type="hidden" name="epoch" value="{text(entry["epoch"])}">{_wish()}'
        f'<div class="buttons">{_buttons(view, "b", entry["name"])}</div></fieldset></form>'
    )


def _facts(entry: Entry) -> str:
    mode, totals = entry["mode"], entry["totals"]
    facts = {
        "State": f"{markup.badge(entry)} {markup.since(entry)}",
        "Why": markup.why(entry),
        "Next": markup.countdown(entry),
        "Mode": text(mode["mode"].replace("_", " "))
        + (f" by {text(mode['by'])}: {text(mode['reason'])}" if mode["by"] else ""),
        "Last error": f"<code>{text(entry['last_error'])}</code>" if entry["last_error"] else "",
        "Window": markup.window(entry),
        "Last minute": markup.sparkline(
            entry["history"],
            [datetime.fromisoformat(each["at"]).timestamp() for each in entry["transitions"]],
        )
        + markup.rates(entry),
        "Since the workers began": text(", ".join(f"{number} {what}" for what, number in totals.items())),
        "Workers": markup.agreement(entry),
        "Opened again": text(f"{entry['reopenings']}, without a close that lasted")
        if entry["reopenings"]
        else "",
    }
    rows = "".join(f"<dt>{label}</dt><dd>{value}</dd>" for label, value in facts.items() if value)
    return f"<dl>{rows}</dl>"


def _probes(entry: Entry) -> str:
    leases = entry["probes"]["leases"]
    if not leases:
        return ""
    rows = "".join(
        f"<li>{text(lease.get('pid', lease['worker']))} {text(lease.get('host', ''))}: "
        f"{'in flight' if lease['used'] else 'waiting for a call'}, {lease['age']:.1f} s old, "
        f"{lease['remaining']:.1f} s left</li>"
        for lease in leases
    )
    return f"<h3>Probes</h3><ul>{rows}</ul>"


def _timeline(transitions: Sequence[Mapping[str, Any]], title: str) -> str:
    items = ""
    for each in transitions:
        modes = "" if each["old_mode"] == each["new_mode"] else f", mode {each['new_mode'].replace('_', ' ')}"
        process = f' <span class="quiet">through {text(each["process"])}</span>' if each["process"] else ""
        items += (
            f'<li><time datetime="{text(each["at"])}">{_clock(each["at"])}</time> <b>{text(each["breaker"])}</b> '
            f'<span class="state {text(each["new"])}">{text(each["new"].replace("_", "-"))}</span>{text(modes)}: '
            f"{text(_cause(each['cause']))}{process}</li>"
        )
    if not items:
        return ""
    return f'<section class="timeline"><h3>{title}</h3><ol>{items}</ol></section>'


def _cause(cause: Mapping[str, Any]) -> str:
    if cause["by"]:
        return f"{'reset ' if cause['rule'] == 'reset' else ''}by {cause['by']}: {cause['why']}"
    told: str = cause["text"]
    return told


def _beliefs(entry: Entry) -> str:
    rows = "".join(
        f'<tr><th scope="row">{belief["pid"]} on {text(belief["host"])}</th>'
        f"<td>{text(belief['state'].replace('_', '-'))}</td><td>{text(belief['mode'].replace('_', ' '))}</td>"
        f"<td>{belief['calls']}</td><td>{belief['failures']}</td><td>{belief['rejected']}</td>"
        f"<td>{text(markup.duration(belief['heard']))} ago</td></tr>"
        for belief in entry["beliefs"]
    )
    heads = "".join(
        f'<th scope="col">{column}</th>'
        for column in ("Worker", "State", "Mode", "Calls", "Failures", "Rejected", "Heard")
    )
    table = f'<div class="wide" tabindex="0" role="region" aria-label="Workers"><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'
    return f"<details><summary>What each worker believes</summary>{table}</details>"


def _policy(entry: Entry) -> str:
    if entry["policy"] is None:
        return "<p>The policy is known to other workers only.</p>"
    rows = "".join(
        f'<tr><th scope="row">{text(knob)}</th><td>{text(_shown(known["value"]))}</td><td>{text(known["from"])}</td></tr>'
        for knob, known in entry["policy"].items()
    )
    heads = '<tr><th scope="col">Policy</th><th scope="col">Value</th><th scope="col">From</th></tr>'
    table = f'<div class="wide" tabindex="0" role="region" aria-label="Policy"><table><thead>{heads}</thead><tbody>{rows}</tbody></table></div>'
    return f"<details><summary>Policy, and where each value comes from</summary>{table}</details>"


def _workers(document: Mapping[str, Any]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{worker["pid"]} on {text(worker["host"])}{" (answers this)" if worker["me"] else ""}</th>'
        f"<td>{text(worker['version'])}</td><td>{text(_clock(worker['started']))}</td>"
        f"<td>{_heard(document, worker)}</td>"
        f"<td>{text(', '.join(worker['troubled']) or 'all closed')}</td></tr>"
        for worker in document["workers"]
    )
    heads = "".join(
        f'<th scope="col">{column}</th>' for column in ("Worker", "Version", "Since", "Heard", "Not closed")
    )
    return f'<section id="workers"><h3>Workers</h3><div class="wide" tabindex="0" role="region" aria-label="Workers"><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div></section>'


def _heard(document: Mapping[str, Any], worker: Mapping[str, Any]) -> str:
    if not worker["late"]:
        return "in time"
    last = datetime.fromisoformat(document["at"]) - timedelta(seconds=worker["heard"])
    silent = markup.clock(last.isoformat(timespec="milliseconds"), worker["heard"], "since")
    return f'<strong class="warn">silent for {silent}</strong>'


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, cast("list[object]", value))) or "nothing"
    return "off" if value is None else str(value)


def _clock(moment: str) -> str:
    return text(moment.replace("T", " ").partition(".")[0] + " UTC")
