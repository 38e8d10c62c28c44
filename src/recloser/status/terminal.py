"""`recloser status`, `watch` and the actions: the fleet in a terminal."""

from __future__ import annotations

import argparse
import getpass
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Mapping
from importlib.util import find_spec
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from recloser.core.errors import RecloserError
from recloser.core.log import logger
from recloser.status import plaintext
from recloser.status.client import SourceError
from recloser.status.markup import agreement_text, duration
from recloser.status.messages import RefusedError
from recloser.status.redaction import plain
from recloser.status.sources import Source, StoreSource, UrlSource
from recloser.steering import Action

if TYPE_CHECKING:
    from rich.table import Table

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]

ACTIONS: Final = {
    "open": (Action.FORCE_OPEN, "refuse every call"),
    "close": (Action.FORCE_CLOSED, "admit and count every call, never trip"),
    "shadow": (Action.SHADOW, "decide and report, never refuse"),
    "auto": (Action.AUTO, "return to normal"),
    "reset": (Action.RESET, "close, forget counts and backoff, keep the mode"),
}
FAILED: Final = 1
NOT_CLOSED: Final = 3
CONFLICT: Final = 4
COLOURS: Final = {"open": "31", "half_open": "33", "closed": "32"}
INTERVAL: Final = 1.0  # seconds
COLUMNS: Final = {  # what `watch` shows, and in how wide a terminal
    "breaker": 0,
    "state": 0,
    "since": 60,
    "why": 0,
    "calls/s": 90,
    "rejected/s": 90,
    "workers": 75,
}


def add_commands(commands: Commands) -> None:
    """Declare the commands of a fleet."""
    status = commands.add_parser(
        "status", help="show every breaker, worst first; exit status 3 if one is not closed"
    )
    status.set_defaults(run=_status)
    watch = commands.add_parser("watch", help="the same, live")
    watch.set_defaults(run=_watch)
    for name, (action, effect) in ACTIONS.items():
        acting = commands.add_parser(name, help=f"{effect}; exit status 4 if it has changed meanwhile")
        acting.add_argument("names", nargs="+", metavar="NAME", help="of a breaker")
        acting.add_argument("--reason", required=True, help="why, for everybody who looks")
        acting.add_argument("--by", default="", help="who, with --store; by default the user of this machine")
        if action.may_end:
            acting.add_argument(
                "--for", dest="seconds", default="", metavar="10m", help="end it after so long"
            )
        acting.set_defaults(run=_act, action=action)
        _add_source(acting)
    for reading in (status, watch):
        _add_source(reading)


def _add_source(command: argparse.ArgumentParser) -> None:
    where = command.add_mutually_exclusive_group(required=True)
    where.add_argument("--store", metavar="URL", help="the fleet's store, as declared")
    where.add_argument("--url", help="of an application's admin endpoint")
    command.add_argument(
        "--namespace", default="recloser", help="of the store, as declared (default: %(default)s)"
    )
    command.add_argument(
        "--header",
        action="append",
        default=[],
        metavar="NAME:VALUE",
        help="to send with --url; or set RECLOSER_TOKEN for a bearer token",
    )
    command.add_argument("--json", action="store_true", help="write JSON")


def _source(options: argparse.Namespace) -> Source:
    logger().addHandler(logging.NullHandler())  # what is seen and done is told here
    if options.store:
        try:
            return StoreSource(options.store, options.namespace)
        except ImportError as missing:
            raise SourceError(str(missing)) from missing
    headers: dict[str, str] = {}
    for text in options.header:
        name, colon, value = text.partition(":")
        if not colon or not name.strip():
            raise SourceError("--header must be NAME:VALUE")
        headers[name.strip()] = value.strip()
    return UrlSource(options.url, headers)


def _status(options: argparse.Namespace) -> int:
    try:
        source = _source(options)
        try:
            told = source.overview()
        finally:
            source.close()
    except RecloserError as error:
        return _complain(str(error))
    if options.json:
        print(json.dumps(told, indent=2))  # noqa: T201 - the command's output
    else:
        print("\n".join(_lines(told)))  # noqa: T201
    counts = told["counts"]
    return NOT_CLOSED if counts["open"] or counts["half_open"] else 0


def _act(options: argparse.Namespace) -> int:
    by = plain(options.by or _user(), 150)
    try:
        source = _source(options)
        try:
            seconds: str = getattr(options, "seconds", "")
            outcomes = source.act(options.action, options.names, options.reason, seconds, by)
        finally:
            source.close()
    except RefusedError as refused:
        return _complain(refused.text)
    except RecloserError as error:
        return _complain(str(error))
    if options.json:
        print(json.dumps([outcome.described() for outcome in outcomes], indent=2))  # noqa: T201
    else:
        for outcome in outcomes:
            stream = sys.stdout if outcome.status == 200 else sys.stderr
            print(outcome.text, file=stream)
    statuses = {outcome.status for outcome in outcomes}
    if statuses == {200}:
        return 0
    return CONFLICT if 409 in statuses else FAILED


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's users need no names
        return f"uid {os.getuid()}"


def _watch(options: argparse.Namespace) -> int:
    if find_spec("rich") is None:
        return _complain('watch needs rich: pip install "recloser[cli]"')
    if not sys.stdout.isatty():
        return _complain("watch needs a terminal; status is for pipes and files")
    from rich.console import Console, Group  # noqa: PLC0415 - only watching needs its extra
    from rich.live import Live  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    try:
        source = _source(options)
    except RecloserError as error:
        return _complain(str(error))
    ended: list[int] = []

    def end(number: int, frame: FrameType | None) -> None:
        ended.append(number)  # a finaliser that it hits swallows the exception
        signal.default_int_handler(number, frame)

    signal.signal(signal.SIGINT, end)
    try:
        console = Console()
        with Live(Text("looking…"), console=console, auto_refresh=False, screen=True) as live:
            while not ended:
                try:
                    told = source.overview()
                    heading = (Text(plain(line, 1000)) for line in plaintext.heading(told))
                    shown = Group(*heading, _table(told, console.width))
                    live.update(shown, refresh=True)
                except RecloserError as error:
                    live.update(Text(str(error), style="red"), refresh=True)
                time.sleep(INTERVAL)
    except KeyboardInterrupt:
        pass
    finally:
        source.close()
    return 0


def _table(told: Mapping[str, Any], width: int) -> Table:
    from rich.table import Column, Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    styles = {"open": "bold red", "half_open": "yellow", "closed": "green"}
    shown = [heading for heading, room in COLUMNS.items() if width >= room]
    # In a narrow terminal no name is cut: it may differ from another in its last letter.
    table = Table(*(Column(heading, overflow="fold") for heading in shown), expand=True)
    for entry in told["breakers"]:
        rates: dict[str, float] = entry["rates"] or {}
        mode = entry["mode"]
        state = entry["state"].replace("_", "-")
        if mode["mode"] != "auto":
            state += f" ({mode['mode'].replace('_', ' ')})"
        cause = entry["cause"]["text"] if entry["cause"] is not None and entry["severity"] else ""
        why = f"{mode['by']}: {mode['reason']}" if mode["mode"] != "auto" else cause
        cells = {
            "breaker": Text(plain(entry["name"])),
            "state": Text(plain(state), style=styles.get(entry["state"], "")),
            "since": Text(duration(entry["elapsed"]) if entry["since"] else ""),
            "why": Text(plain(why)),
            "calls/s": Text(f"{rates['calls']:.1f}" if rates else ""),
            "rejected/s": Text(f"{rates['rejected']:.1f}" if rates else ""),
            "workers": Text(agreement_text(entry["agreement"])),
        }
        table.add_row(*(cells[heading] for heading in shown))
    return table


def _lines(told: Mapping[str, Any]) -> list[str]:
    # Nothing from elsewhere may move the cursor.
    entries = told["breakers"]
    width = max((len(entry["name"]) for entry in entries), default=0)
    colours = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    lines = [*(plain(line, 1000) for line in plaintext.heading(told)), ""]
    for entry in entries:
        name, line = plain(entry["name"]), plaintext.line_of(entry)
        line = "".join(each if each.isprintable() else " " for each in line)
        colour = COLOURS.get(entry["state"])
        shown = f"\x1b[{colour}m{line}\x1b[0m" if colours and colour else line
        lines.append(f"{name:<{width}}  {shown}".rstrip())
    return lines


def _complain(text: str) -> int:
    print(f"recloser: {text}", file=sys.stderr)  # noqa: T201 - the command's output
    return FAILED
