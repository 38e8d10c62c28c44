"""The end of the demo: the same traffic with and without breakers, side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from recloser.demo.drive import Drive
from recloser.demo.screen import milliseconds
from recloser.demo.script import Phase
from recloser.demo.tally import Answer, Tally, percent

REMARK: Final = (
    "With breakers, only these still waited: the calls under way when a circuit tripped, and then one probe per "
    "worker, the queue's too, and open period. Of those, only checkouts failed: the other routes' plans answer failures too."
)
REMARK_OF_A_FLEET: Final = (
    "With breakers, only these still waited: the calls under way when a circuit tripped, and then one probe per "
    "open period of the fleet, or per worker while there was no store. Of those, only checkouts failed, and "
    "whatever the killed worker was about to answer."
)


def comparison(guarded: Drive, bare: Drive) -> Group:
    """Compare two drives.

    Args:
        guarded: The drive with breakers.
        bare: The same drive with every breaker in shadow mode.
    """
    table = Table("", title="The same traffic", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("with breakers", justify="right")
    table.add_column("without", justify="right")
    for heading, phase in (("during the outage", Phase.OUTAGE), ("over the whole drive", None)):
        table.add_row(Text(heading, "bold"))
        for label, measure in MEASURES.items():
            table.add_row(f"  {label}", *(measure(drive.tally.of(phase=phase)) for drive in (guarded, bare)))
    table.add_row(Text("calls to the services while sick", "bold"), *map(_reached_sick, (guarded, bare)))
    orders = _told("Orders that were put off", guarded.orders.findings)
    if not guarded.findings:
        return Group(table, *orders, "", REMARK)
    return Group(table, *orders, *_told("The fleet", guarded.findings), "", REMARK_OF_A_FLEET)


def _told(title: str, findings: list[str]) -> list[Text]:
    return [Text(title, "bold"), *(Text(f"  {line}") for line in findings)]


def _percent(*answers: Answer) -> Callable[[Tally], str]:
    return lambda tally: percent(tally.share(*answers))


def _latency(share: float) -> Callable[[Tally], str]:
    return lambda tally: milliseconds(tally.latency(share))


def _reached_sick(drive: Drive) -> str:
    return str(drive.all_reached_sick)


MEASURES: Final[Mapping[str, Callable[[Tally], str]]] = MappingProxyType(
    {
        "requests": lambda tally: str(len(tally)),
        "answered with 200": _percent(Answer.FRESH, Answer.STALE, Answer.STATIC),
        "put off, with where to look (202)": _percent(Answer.QUEUED),
        "refused at once, with Retry-After": _percent(Answer.REFUSED),
        "errors": _percent(Answer.ERROR),
        "p50 latency": _latency(0.50),
        "p95 latency": _latency(0.95),
        "p99 latency": _latency(0.99),
    }
)
