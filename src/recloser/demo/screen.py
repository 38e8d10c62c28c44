"""How a drive is shown: live on a terminal, as lines where there is none."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Final, Protocol, Self

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from recloser.demo.drive import WELL, Drive
from recloser.demo.script import OUTAGE, SERVICES, Phase
from recloser.demo.stage import WORKERS
from recloser.demo.tally import Answer
from recloser.demo.traffic import ROUTES

PHASE_STYLE: Final = {Phase.HEALTHY: "green", Phase.OUTAGE: "bold red", Phase.RECOVERY: "yellow"}
STATE_STYLE: Final = {"closed": "green", "open": "bold red", "half-open": "yellow", "off": "dim"}
LINE_SECONDS: Final = 1.0
LATEST_NEWS: Final = 6


class Screen(AbstractContextManager["Screen"], Protocol):
    """Shows one drive."""

    def show(self, drive: Drive) -> None:
        """Show how the drive stands now."""
        ...


def screen_for(console: Console) -> Screen:
    """The live screen on a terminal, lines elsewhere."""
    return LiveScreen(console) if console.is_terminal else LineScreen(console)


class LiveScreen(AbstractContextManager["LiveScreen"]):
    """Two tables that stay in place: the breakers in each worker, and what visitors get."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, auto_refresh=False)

    def show(self, drive: Drive) -> None:
        """Redraw."""
        news = Text("\n".join(drive.board.news[-LATEST_NEWS:]), style="dim")
        self._live.update(
            Group(headline(drive), breakers(drive), *store(drive), visits(drive), news), refresh=True
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._live.stop()


class LineScreen(AbstractContextManager["LineScreen"]):
    """A line a second, and one for each transition."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._due = 0.0
        self._phase: Phase | None = None
        self._told = 0

    def show(self, drive: Drive) -> None:
        """Print what is new."""
        if drive.phase is not self._phase:
            self._phase = drive.phase
            sick = ", ".join(f"{service}: {condition}" for service, condition in OUTAGE.items())
            self._print(headline(drive).append(f"   {sick}" if drive.phase is Phase.OUTAGE else ""))
        for line in drive.board.news[self._told :]:
            self._print(Text(f"  {line}"))
        self._told = len(drive.board.news)
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + LINE_SECONDS
            counts = ", ".join(f"{drive.tally.answers[answer]} {answer}" for answer in Answer)
            self._print(
                Text(
                    f"  {drive.phase}: {len(drive.tally)} requests ({counts}); "
                    f"{drive.all_reached_sick} reached a sick service; {latencies(drive, ' ')}"
                )
            )

    def _print(self, text: Text) -> None:
        self._console.print(text, soft_wrap=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return None


def headline(drive: Drive) -> Text:
    """The drive's title, its phase, and how long that still takes."""
    return Text.assemble(
        (drive.title, "bold"),
        "   ",
        (str(drive.phase).upper(), PHASE_STYLE[drive.phase]),
        f"   {drive.seconds_left:.0f} s left",
    )


def breakers(drive: Drive) -> Table:
    """Each service, and what each worker's breaker believes of it."""
    table = Table("breaker", "service", box=box.SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    workers = drive.board.workers[:WORKERS]
    for number, _ in enumerate(workers, start=1):
        table.add_column(f"worker {number}", min_width=14)
    table.add_column("reached sick", justify="right")
    for service in SERVICES:
        condition = drive.services[service]["condition"] if service in drive.services else ""
        table.add_row(
            service,
            Text(condition, "green" if condition == WELL else "bold red"),
            *(belief(drive, worker, service) for worker in workers),
            str(drive.reached_sick(service)),
        )
    return table


def store(drive: Drive) -> list[Text]:
    """How the workers stand with their store, where they have one."""
    standing = drive.board.store
    return [Text(f"store: {standing}", "green" if standing == "up" else "bold red")] if standing else []


def belief(drive: Drive, worker: int, service: str) -> Text:
    """A breaker's state in one worker; while open, when it probes."""
    state, due = drive.board.beliefs.get((worker, service), ("", 0.0))
    text = Text(state, STATE_STYLE.get(state, ""))
    if state == "open":
        text.append(f", {max(0.0, due - time.monotonic()):.1f} s", "dim")
    return text


def visits(drive: Drive) -> Table:
    """What visitors got on each route, and how fast in this phase."""
    table = Table("route", box=box.SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in ("visits", *Answer):
        table.add_column(heading, justify="right")
    for heading in ("p50", "p99"):
        table.add_column(heading, justify="right", min_width=6)
    for route in ROUTES:
        tally = drive.tally.of(route=route)
        now = tally.of(phase=drive.phase)
        table.add_row(
            route,
            str(len(tally)),
            *(Text(str(tally.answers[answer] or "-"), answer_style(answer)) for answer in Answer),
            milliseconds(now.latency(0.50)),
            milliseconds(now.latency(0.99)),
        )
    return table


def answer_style(answer: Answer) -> str:
    """Red for errors, yellow for degraded answers."""
    if answer is Answer.ERROR:
        return "bold red"
    return "yellow" if answer.degraded else ""


def latencies(drive: Drive, between: str) -> str:
    """The median and the 99th percentile of this phase."""
    now = drive.tally.of(phase=drive.phase)
    return f"p50 {milliseconds(now.latency(0.50))}{between}p99 {milliseconds(now.latency(0.99))}"


def milliseconds(seconds: float) -> str:
    """A latency as people read it."""
    return f"{seconds * 1000:.0f} ms"
