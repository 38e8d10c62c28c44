"""One breaker: in the page's drawer, or as a page of its own."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast

from recloser.status import markup
from recloser.status.forms import on_one
from recloser.status.frame import View, whole
from recloser.status.live import head, timeline
from recloser.status.markup import Entry, link, text


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
    body = f"{_facts(entry)}{on_one(view, entry)}{_probes(entry)}"
    body += timeline(entry["transitions"], "Timeline", document["at"], of_one=True)
    body += _beliefs(entry) + _policy(entry)
    if part:
        return f"<h2>{text(entry['name'])}</h2>{body}"
    back = f'<p><a href="{link(view.base, "")}">All breakers</a></p>'
    content = f'<div class="content" data-at="{text(document["at"])}">{body}</div>'
    return whole(view, entry["name"], f"{back}{head(document)}{notice}{content}")


def _facts(entry: Entry) -> str:
    mode, cause = entry["mode"], entry["cause"]
    changes = [datetime.fromisoformat(each["at"]).timestamp() for each in entry["transitions"]]
    counted = {what: number for what, number in entry["totals"].items() if number or what == "calls"}
    is_hidden = (
        cause is not None and cause["rule"] != "mode" and mode["mode"] != "auto"
    )  # by who set the mode
    facts = {
        "State": f"{markup.badge(entry)} {markup.since(entry)}",
        "Why": markup.why(entry),
        "Before that": text(cause["text"]) if cause is not None and is_hidden else "",
        "Next": markup.countdown(entry),
        "Last error": f"<code>{text(entry['last_error'])}</code>" if entry["last_error"] else "",
        "Opened again": text(f"{entry['reopenings']} times without a close that lasted")
        if entry["reopenings"]
        else "",
        "Window": markup.window(entry),
        "Last minute": markup.sparkline(entry["history"], changes) + markup.rates(entry),
        "Workers": markup.agreement(entry),
        "In all": text(", ".join(f"{number} {what}" for what, number in counted.items())),
    }
    rows = "".join(f"<dt>{label}</dt><dd>{value}</dd>" for label, value in facts.items() if value)
    return f"<dl>{rows}</dl>"


def _probes(entry: Entry) -> str:
    leases = entry["probes"]["leases"]
    if not leases:
        return ""
    rows = "".join(f"<li>{_lease(lease)}</li>" for lease in leases)
    return f'<section class="probes"><h3>Probes</h3><ul>{rows}</ul></section>'


def _lease(lease: Mapping[str, Any]) -> str:
    process = f"{lease['pid']} on {lease['host']}" if "pid" in lease else lease["worker"]
    at_work = "in flight" if lease["used"] else "waiting for a call"
    return text(f"{process}: {at_work}, {lease['age']:.1f} s old, {lease['remaining']:.1f} s left")


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


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, cast("list[object]", value))) or "nothing"
    return "off" if value is None else str(value)
