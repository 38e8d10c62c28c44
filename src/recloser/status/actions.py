"""Actions: what an operator's request asks to be done, and what came of it."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from recloser.core.state import Epoch
from recloser.registry import Registry, UnknownBreakerError
from recloser.status.entry import epoch_from_text, epoch_text
from recloser.status.markup import duration
from recloser.status.messages import RefusedError
from recloser.status.redaction import plain
from recloser.steering import Action, ConflictError
from recloser.stores.protocol import StoreError

LONGEST_REASON: Final = 200
LONGEST_NAME: Final = 300
LONGEST_FOR: Final = 366 * 86_400.0  # seconds
MOST_AT_ONCE: Final = 500

_DURATION: Final = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)\s?(s|sec|m|min|h|d)?", re.ASCII)
_UNITS: Final = {"": 1, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}

LABELS: Final = {
    Action.FORCE_OPEN: ("Force open", "refuse every call"),
    Action.FORCE_CLOSED: ("Force closed", "admit and count every call, never trip"),
    Action.SHADOW: ("Shadow", "decide and report, never refuse"),
    Action.AUTO: ("Automatic", "return to normal"),
    Action.RESET: ("Reset", "close, forget counts and backoff, keep the mode"),
}


class Wish(NamedTuple):
    """What is to be done.

    Attributes:
        action: What.
        reason: Why.
        seconds: For how long; `None`: until somebody ends it.
        targets: The breakers, and the epoch of each as the operator saw it.
    """

    action: Action
    reason: str
    seconds: float | None
    targets: Sequence[tuple[str, Epoch]]


class Outcome(NamedTuple):
    """What came of a wish for one breaker.

    Attributes:
        name: The breaker's.
        status: As of HTTP: 200 done, 404 unknown, 409 changed meanwhile, 503 the store was lost.
        text: In a sentence.
        scope: `"fleet"`, `"process"`, or `""` where nothing was done.
        epoch: The present one after a conflict, else `""`.
    """

    name: str
    status: int
    text: str
    scope: str = ""
    epoch: str = ""

    def described(self) -> dict[str, Any]:
        """Describe it as JSON."""
        return self._asdict()


def read_action(text: str) -> Action:
    """Read an action's name.

    Raises:
        RefusedError: There is none such.
    """
    if text not in list(Action):
        raise RefusedError(404, "Not found", f"There is no such action. Known: {', '.join(Action)}.")
    return Action(text)


def read_wish(action: Action, form: Mapping[str, Sequence[str]], name: str | None = None) -> Wish:
    """Read what is to be done.

    Args:
        action: What.
        form: `reason`, `for`, and `epoch`; without a name, `breaker`s, each with a space and its epoch behind.
        name: The one breaker.

    Raises:
        RefusedError: Something is missing or wrong; says what.
    """
    reason = plain(_one(form, "reason"), LONGEST_REASON + 1)
    if not reason:
        raise RefusedError(
            400, "Reason required", "Say why, for everybody who looks and for the audit trail."
        )
    if len(reason) > LONGEST_REASON:
        raise RefusedError(400, "Bad request", f"The reason must have at most {LONGEST_REASON} characters.")
    seconds = duration_of(_one(form, "for"))
    if seconds is not None and not action.may_end:
        seconds = None  # one form serves all actions
    if name is not None:
        chosen = [(name, _one(form, "epoch"))]
    else:
        chosen = [(each.partition(" ")[0], each.partition(" ")[2]) for each in form.get("breaker", ())]
    if not chosen:
        raise RefusedError(400, "Bad request", "Choose at least one breaker.")
    if len(chosen) > MOST_AT_ONCE:
        raise RefusedError(400, "Bad request", f"Choose at most {MOST_AT_ONCE} breakers.")
    try:
        targets = [(each, epoch_from_text(text)) for each, text in chosen]
    except ValueError as error:
        raise RefusedError(400, "Bad request", f"{error}.") from None
    return Wish(action, reason, seconds, targets)


def duration_of(text: str) -> float | None:
    """Read a duration such as `90`, `10m` or `2h` (seconds without a unit); `None` for none.

    Raises:
        RefusedError: It is none.
    """
    if not text.strip():
        return None
    found = _DURATION.fullmatch(text.strip().lower())
    seconds = float(found[1]) * _UNITS[found[2] or ""] if found else math.nan
    if not 0 < seconds <= LONGEST_FOR:
        raise RefusedError(
            400, "Bad request", "for must be a duration such as 90s, 10m, 2h or 1d, at most a year."
        )
    return seconds


def carry_out(registry: Registry, wish: Wish, actor: str) -> list[Outcome]:
    """Do what is to be done, breaker by breaker. Waits for the store.

    Args:
        registry: The breakers.
        wish: What is to be done.
        actor: Who decided.
    """
    until = None if wish.seconds is None else time.time() + wish.seconds
    outcomes: list[Outcome] = []
    for name, epoch in wish.targets:
        lost = next((outcome for outcome in outcomes if outcome.status == 503), None)
        if lost is not None:  # do not wait for the store once more for each of them
            outcomes.append(lost._replace(name=name))
            continue
        outcomes.append(_one_of(registry, wish, name, epoch, actor, until))
    return outcomes


def _one_of(  # noqa: PLR0917
    registry: Registry, wish: Wish, name: str, epoch: Epoch, actor: str, until: float | None
) -> Outcome:
    label = LABELS[wish.action][0]
    shown = plain(name, 80)
    try:
        if not _exists(registry, name):
            return Outcome(shown, 404, f"No breaker is named {shown}.")
        reached = registry.steer(name, wish.action, by=actor, reason=wish.reason, until=until, expected=epoch)
    except UnknownBreakerError:
        return Outcome(shown, 404, f"No breaker is named {shown}.")
    except ConflictError as conflict:
        text = f"Not done, {conflict.name} has changed: it is {_told(conflict)}."
        return Outcome(shown, 409, text, epoch=epoch_text(conflict.epoch))
    except StoreError as lost:
        return Outcome(shown, 503, f"Not known to be done: {plain(str(lost))}.")
    where = "in the whole fleet" if reached else "in this process alone"
    return Outcome(shown, 200, f"{label}: {shown}, {where}{_end(wish)}.", "fleet" if reached else "process")


def _end(wish: Wish) -> str:
    if not wish.action.may_end:
        return ""
    return ", until somebody ends it" if wish.seconds is None else f", for {duration(wish.seconds)}"


def _exists(registry: Registry, name: str) -> bool:
    if len(name) > LONGEST_NAME:
        return False
    if name in registry:
        return True
    fleet = registry.fleet(1.0)
    return fleet is not None and (
        name in fleet.breakers or any(name in heard.worker.beliefs for heard in fleet.workers)
    )


def _told(conflict: ConflictError) -> str:
    mode = conflict.override
    told = f"{conflict.state.prose}, mode {mode.mode.replace('_', ' ')}"
    return f"{told} set by {plain(mode.by)} ({plain(mode.why)})" if mode.by else told


def _one(form: Mapping[str, Sequence[str]], name: str) -> str:
    values = form.get(name, ())
    if len(values) > 1:
        raise RefusedError(400, "Bad request", f"{name} must be given once.")
    return values[0] if values else ""
