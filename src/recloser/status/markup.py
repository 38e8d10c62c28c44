"""The pieces that pages are made of. Whatever is put into markup is escaped here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise
from typing import Any, Final
from urllib.parse import quote

from recloser.status.redaction import plain

Entry = Mapping[str, Any]
PROBE_DUE: Final = "with the next call"

_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
_BARS: Final = 30
_BAR_HEIGHT: Final = 22
_MARK_HEIGHT: Final = 4  # of a transition, above the bars
_GAUGE_WIDTH: Final = 120
_ERROR: Final = 100  # characters of an error in a table; its own page has the rest


def text(value: object) -> str:
    """Escape a value, for markup and for attributes."""
    return escape(str(value), quote=True)


def link(base: str, *pieces: str) -> str:
    """Write a path below the endpoint, as an attribute holds it."""
    return text("/".join([quote(base), *(quote(piece, safe="") for piece in pieces)]))


def duration(seconds: float) -> str:
    """Tell a duration in its two largest units."""
    left = max(0, int(seconds))
    for (size, unit), (smaller, its_unit) in pairwise(_UNITS):
        if left >= size:
            rest = left % size // smaller
            return f"{left // size} {unit} {rest} {its_unit}" if rest else f"{left // size} {unit}"
    return f"{left} s"


def queue_of(queue: Mapping[str, Any]) -> str:
    """Tell how full a queue is, in a line of plain text."""
    named = f"queue {queue['name']} ({', '.join(queue['breakers'])})"
    depth = queue["depth"]
    if depth is None:
        return f"{named}: cannot be read"
    oldest = f", the oldest for {duration(depth['oldest'])}" if depth["queued"] + depth["running"] else ""
    return (
        f"{named}: {depth['queued']} waiting, {depth['running']} running{oldest}; "
        f"{depth['done']} done, {depth['failed']} given up"
    )


def badge(entry: Entry) -> str:
    """Show state and mode: in words, never by colour alone."""
    state, mode = entry["state"], entry["mode"]["mode"]
    told = [f'<span class="state {text(state)}">{text(state.replace("_", "-"))}</span>']
    if mode != "auto":
        told.append(f'<span class="mode">{text(mode.replace("_", " "))}</span>')
    # A forced state need not be told twice.
    return " ".join(told[-1:] if mode.startswith("forced") else told)


def since(entry: Entry) -> str:
    """Show for how long the state has lasted."""
    if entry["since"] is None:
        return ""
    return clock(entry["since"], entry["elapsed"])


def clock(moment: str, seconds: float) -> str:
    """Show a duration since a moment, which the page counts on."""
    return f'<time datetime="{text(moment)}" data-since>{text(duration(seconds))}</time>'


def timer(moment: str, seconds: float, over: str) -> str:
    """Show a time left until a moment, which the page counts down, and then what is said when it is over."""
    return f'<time datetime="{text(moment)}" data-over="{text(over)}">{text(time_left(seconds, over))}</time>'


def time_left(seconds: float, over: str = PROBE_DUE) -> str:
    """Tell in how long something is, or what is said when it is due."""
    return f"in {duration(seconds)}" if seconds >= 1 else over


def countdown(entry: Entry) -> str:
    """Show when the next probe is due, or how probes are doing."""
    probes = entry["probes"]
    if entry["state"] == "half_open":
        needed = "" if probes["needed"] is None else f" of {probes['needed']}"
        return f"{probes['successes']}{needed} good, {probes['in_flight']} in flight"
    if entry["due"] is not None and entry["mode"]["mode"] in ("auto", "shadow"):
        return f"probe {timer(entry['due'], entry['retry_in'], PROBE_DUE)}"
    until = entry["mode"]["until"]
    if until is not None:
        return f"mode ends {timer(until, entry['mode']['remaining'], 'now')}"
    return ""


def why(entry: Entry) -> str:
    """Show the cause, and the operator behind it."""
    mode, cause = entry["mode"], entry["cause"]
    if mode["by"] and mode["mode"] != "auto":
        return f"{text(mode['by'])}: {text(mode['reason'])}"
    if cause is None:
        return ""
    return text(cause["text"]) if entry["severity"] else f'<span class="quiet">{text(cause["text"])}</span>'


def trouble(entry: Entry) -> str:
    """Show what keeps a circuit from closing: how often it opened again, and the last error."""
    if entry["severity"] < 4:
        return ""
    times = entry["reopenings"]
    told = [f"opened again {times} time{'s' * (times != 1)}"] if times else []
    told += [plain(entry["last_error"], _ERROR)] if entry["last_error"] else []
    return "".join(f"<small>{text(line)}</small>" for line in told)


def window(entry: Entry) -> str:
    """Show counts against their thresholds: a gauge, and the same in words."""
    held = entry["window"]
    told: list[str] = []
    if held["failure_rate_threshold"] is not None:
        rate = "" if held["failure_rate"] is None else f"{held['failure_rate']:.0%} of "
        told.append(f"{rate}{held['calls']} calls failed, limit {held['failure_rate_threshold']:.0%}")
    if held["slow_rate_threshold"] is not None:
        rate = "" if held["slow_rate"] is None else f"{held['slow_rate']:.0%} of "
        told.append(f"{rate}{held['calls']} calls slow, limit {held['slow_rate_threshold']:.0%}")
    if held["failure_threshold"] is not None:
        told.append(f"{held['consecutive']} in a row, limit {held['failure_threshold']}")
    if not told:
        return '<span class="quiet">no rule known here</span>'
    width = round(held["pressure"] * _GAUGE_WIDTH)
    gauge = (
        f'<svg class="gauge" viewBox="0 0 {_GAUGE_WIDTH} 6" width="{_GAUGE_WIDTH}" height="6" aria-hidden="true">'
        f'<rect class="track" width="{_GAUGE_WIDTH}" height="6" rx="3"/>'
        f'<rect class="fill{" near" if held["pressure"] >= 0.7 else ""}" width="{width}" height="6" rx="3"/></svg>'
    )
    return f"{gauge}<small>{text('; '.join(told))}</small>"


def rates(entry: Entry) -> str:
    """Show what happens per second."""
    now = entry["rates"]
    if now is None:
        return ""
    told = [f"{now['calls']:.1f}\N{NO-BREAK SPACE}calls/s"]
    told += [
        f"{now[what]:.1f}\N{NO-BREAK SPACE}{what}/s"
        for what in ("failures", "rejected", "degraded")
        if now[what]
    ]
    return f"<small>{text(', '.join(told))}</small>"


def sparkline(history: Sequence[Mapping[str, Any]], transitions: Sequence[float] = ()) -> str:
    """Draw the outcomes of the last minute as bars, with a mark at each transition.

    Args:
        history: What was counted between samples, oldest first.
        transitions: When there were transitions (seconds of the wall clock).
    """
    if not history:
        return ""
    step = max(1, -(-len(history) // _BARS))
    groups = [history[start : start + step] for start in range(0, len(history), step)]
    sums = [
        tuple(sum(each[what] for each in group) for what in ("calls", "failures", "rejected"))
        for group in groups
    ]
    most = max((calls + rejected for calls, _, rejected in sums), default=0) or 1
    start = (_BARS - len(groups)) * 4  # the present stands at the right
    bottom = _MARK_HEIGHT + _BAR_HEIGHT
    bars = [f'<rect class="base" x="0" y="{bottom}" width="{_BARS * 4}" height="1"/>']
    for place, (calls, failures, rejected) in enumerate(sums):
        floor = float(bottom)
        for kind, number in (("good", calls - failures), ("bad", failures), ("refused", rejected)):
            height = round(number / most * _BAR_HEIGHT, 1)
            if height:
                floor -= height
                bars.append(
                    f'<rect class="{kind}" x="{start + place * 4}" y="{floor:.1f}" width="3" height="{height}"/>'
                )
    first, last = history[0]["at"], history[-1]["at"]
    for at in transitions:
        if first <= at <= last and last > first:
            x = round(start + (at - first) / (last - first) * (len(groups) * 4 - 4), 1)
            bars.append(f'<rect class="change" x="{x}" y="0" width="3" height="{_MARK_HEIGHT - 1}"/>')
    calls, failures, rejected = (sum(column) for column in zip(*sums, strict=True))
    label = f"Last {round(last - first)} s: {calls} calls, {failures} failed, {rejected} rejected"
    width, height = _BARS * 4, bottom + 1
    return (
        f'<svg class="spark" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-label="{text(label)}">{"".join(bars)}</svg>'
    )


def agreement(entry: Entry) -> str:
    """Show how many workers agree."""
    agreed = entry["agreement"]
    if not agreed["workers"]:
        return '<span class="quiet">none</span>'
    told = text(agreement_text(agreed))
    return f'<strong class="warn">{told}</strong>' if agreed["differ"] else told


def agreement_text(agreed: Mapping[str, Any]) -> str:
    """Tell how many workers agree. Those that were not heard since a change are no disagreement."""
    workers, agree, pending = agreed["workers"], agreed["agree"], agreed["pending"]
    differ = workers - agree - pending
    if not differ:
        return f"{agree} of {workers} {'so far' if pending else 'agree'}"
    unheard = f", {pending} not heard yet" if pending else ""
    return f"{agree} of {workers} agree{unheard}, {differ} differ"
