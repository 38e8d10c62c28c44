"""The parts of the page that are renewed while somebody looks: its head, its rows, and what stands below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from recloser.core.state import State
from recloser.status import markup
from recloser.status.markup import Entry, link, text
from recloser.status.sampler import Rates

WORST_FIRST: Final = (State.OPEN, State.HALF_OPEN, State.CLOSED)


def row(entry: Entry, base: str, rates: Rates, changes: Sequence[float], *, may_choose: bool) -> str:
    """Make a table's row of one breaker."""
    name = text(entry["name"])
    choose = ""
    if may_choose:
        choose = (
            f'<td class="choose"><input type="checkbox" name="breaker" value="{name} {text(entry["epoch"])}" '
            f'aria-label="Choose {name}"></td>'
        )
    cells = {
        "State": f"{markup.badge(entry)} {markup.since(entry)}",
        "Why": markup.why(entry) + markup.trouble(entry),
        "Window": markup.window(entry),
        "Last minute": markup.sparkline(rates.history(entry["name"]), changes) + markup.rates(entry),
        "Next": markup.countdown(entry),
        "Workers": markup.agreement(entry),
    }
    shown = "".join(
        f'<td data-label="{label}">{f"<div>{told}</div>" if told else ""}</td>'
        for label, told in cells.items()
    )
    return (
        f'<tr data-name="{name}" data-severity="{entry["severity"]}">{choose}'
        f'<th scope="row"><a href="{link(base, "b", entry["name"])}">{name}</a></th>{shown}</tr>'
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
    told = [_count(counts[state], state.prose, f"?show={state}", state) for state in WORST_FIRST]
    if counts["disagreeing"]:
        told.append(_count(counts["disagreeing"], "disagreeing", "?show=disagreeing", "disagreeing"))
    workers = len(document["workers"])
    told.append(_count(workers, f"worker{'s' * (workers != 1)}", "#workers", ""))
    whose = "one process without a store" if store["connection"] == "none" else f"store {store['address']}"
    queues = "".join(f"<p>{text(markup.queue_of(each))}</p>" for each in document["queues"])
    return (
        f'<div id="head">{banner}<div class="summary"><ul class="counts">{"".join(told)}</ul>'
        f'<p class="quiet">{text(whose)}, as of {_clock(document["at"], document["at"])} UTC</p>{queues}</div></div>'
    )


def _count(number: int, what: str, where: str, kind: str) -> str:
    shown = f"{kind} none" if not number else kind
    return f'<li class="{shown}"><a href="{where}"><b>{number}</b> {text(what)}</a></li>'


def sections(document: Mapping[str, Any]) -> dict[str, str]:
    """Make what stands below the table, by the ids of its elements."""
    changes = timeline(document["transitions"], "Latest changes", document["at"])
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


def timeline(transitions: Sequence[Mapping[str, Any]], title: str, at: str, *, of_one: bool = False) -> str:
    """Make a list of changes, newest first.

    Args:
        transitions: The changes.
        title: Of the list.
        at: When the document was made.
        of_one: They are all of one breaker, which need not be named.
    """
    items = ""
    for each in transitions:
        name = "" if of_one else f"<b>{text(each['breaker'])}</b> "
        modes = ""
        if each["old_mode"] != each["new_mode"]:
            modes = f' <span class="mode">{text(each["new_mode"].replace("_", " "))}</span>'
        process = f" <small>{text(each['process'])}</small>" if each["process"] else ""
        items += (
            f"<li>{_clock(each['at'], at)} <div>{name}"
            f'<span class="state {text(each["new"])}">{text(each["new"].replace("_", "-"))}</span>{modes} '
            f"{text(_cause(each['cause']))}{process}</div></li>"
        )
    if not items:
        return ""
    return f'<section class="timeline"><h3>{title} <small>UTC</small></h3><ol>{items}</ol></section>'


def _cause(cause: Mapping[str, Any]) -> str:
    if cause["by"]:
        return f"{'reset ' if cause['rule'] == 'reset' else ''}by {cause['by']}: {cause['why']}"
    told: str = cause["text"]
    return told


def _workers(document: Mapping[str, Any]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{worker["pid"]} on {text(worker["host"])}{" (answers this)" if worker["me"] else ""}</th>'
        f"<td>{text(worker['version'])}</td><td>{_clock(worker['started'], document['at'])}</td>"
        f"<td>{_heard(document, worker)}</td>"
        f"<td>{text(', '.join(worker['troubled']) or 'all closed')}</td></tr>"
        for worker in document["workers"]
    )
    heads = "".join(
        f'<th scope="col">{column}</th>'
        for column in ("Worker", "Version", "Since, UTC", "Heard", "Not closed")
    )
    return f'<section id="workers"><h3>Workers</h3><div class="wide" tabindex="0" role="region" aria-label="Workers"><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div></section>'


def _heard(document: Mapping[str, Any], worker: Mapping[str, Any]) -> str:
    if not worker["late"]:
        return "in time"
    last = datetime.fromisoformat(document["at"]) - timedelta(seconds=worker["heard"])
    silent = markup.clock(last.isoformat(timespec="milliseconds"), worker["heard"])
    return f'<strong class="warn">silent for {silent}</strong>'


def _clock(moment: str, at: str) -> str:
    """Show a moment: its time alone on the day of the document."""
    day, _, rest = moment.partition("T")
    time = rest.partition(".")[0]
    shown = time if at.startswith(day) else f"{day} {time}"
    return f'<time datetime="{text(moment)}" title="{text(day)} {text(time)} UTC">{text(shown)}</time>'
