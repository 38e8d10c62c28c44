"""The same documents as plain text, for terminals and `curl`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recloser.status.markup import agreement_text, duration, queue_of, time_left


def overview(document: Mapping[str, Any]) -> str:
    """Tell all breakers, a line each, worst first."""
    entries = document["breakers"]
    width = max((len(entry["name"]) for entry in entries), default=0)
    lines = [*heading(document), ""]
    lines += [f"{entry['name']:<{width}}  {line_of(entry)}" for entry in entries]
    more = document["page"]["matching"] - document["page"]["offset"] - len(entries)
    if more > 0:
        lines.append(f"and {more} more")
    return "\n".join(lines) + "\n"


def one(document: Mapping[str, Any]) -> str:
    """Tell one breaker."""
    entry = document["breaker"]
    lines = [f"{entry['name']}  {line_of(entry)}"]
    if entry["last_error"]:
        lines.append(f"  last error: {entry['last_error']}")
    lines += [
        f"  {each['at']}  {each['old']} -> {each['new']}  {each['cause']['text']}"
        for each in entry["transitions"]
    ]
    return "\n".join(lines) + "\n"


def heading(document: Mapping[str, Any]) -> list[str]:
    """Tell how fleet and store are, and how full the queues."""
    return [summary(document), *(queue_of(each) for each in document["queues"])]


def summary(document: Mapping[str, Any]) -> str:
    """Tell how fleet and store are, in a line."""
    counts, store = document["counts"], document["store"]
    workers = len(document["workers"])
    told = f"{document['namespace']}: {counts['open']} open, {counts['half_open']} half-open, {counts['closed']} closed"
    told += (
        f"; {workers} worker{'s' * (workers != 1)}; store {store['address'] or 'none'}: {store['connection']}"
    )
    return f"{told} ({store['error']})" if store["error"] else told


def line_of(entry: Mapping[str, Any]) -> str:
    """Tell one breaker in a line, without its name."""
    mode, agreed = entry["mode"], entry["agreement"]
    told = [f"{entry['state'].replace('_', '-'):<9}"]
    if entry["since"] is not None:
        told.append(f"for {duration(entry['elapsed'])}")
    if mode["mode"] != "auto":
        end = "" if mode["remaining"] is None else f", {duration(mode['remaining'])} left"
        told.append(f"{mode['mode'].replace('_', ' ')} by {mode['by']} ({mode['reason']}{end})")
    elif entry["cause"] is not None and entry["severity"]:
        told.append(entry["cause"]["text"])
    if entry["retry_in"] is not None and mode["mode"] in ("auto", "shadow"):
        told.append(f"probe {time_left(entry['retry_in'])}")
    if agreed["differ"]:
        told.append(f"workers: {agreement_text(agreed)}")
    return "  ".join(told)
