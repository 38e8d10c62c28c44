"""Logs: a record for each transition and each operator's action, and a summary of refusals now and then.

Records go to the logger `recloser.events`. Their `extra` fields stand for themselves, so that a formatter for JSON or
structlog's `ExtraAdder` tells a story without parsing the text.
"""

from __future__ import annotations

import logging
from _thread import RLock
from collections import Counter, OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final
from weakref import WeakSet

from recloser.core import fork, living
from recloser.core.events import CallRejected, Event, ModeChanged, Rule, StateChanged
from recloser.core.state import Override, State
from recloser.registry import Registry

LOGGER: Final = "recloser.events"
SUMMARY_SECONDS: Final = 60.0
LONGEST: Final = 500
MAX_BREAKERS: Final = 4096


def log_events(registry: Registry) -> Callable[[], None]:
    """Log what happens to a registry's breakers, at WARNING when a circuit opens or refuses, else at INFO.

    Refusals do not get a line each, but at most one summary per breaker and minute, and one when its state changes.
    `recloser.fastapi.install` and `recloser.django` do this for their registries; doing it again changes nothing.

    Args:
        registry: Whose breakers are logged.

    Returns:
        A function that ends it, if this call began it.
    """
    if registry in _logged:
        return lambda: None
    _logged.add(registry)
    silence = registry.add_listener(EventLog(logging.getLogger(LOGGER)))

    def end() -> None:
        _logged.discard(registry)
        silence()

    return end


_logged: Final[WeakSet[Registry]] = WeakSet()


class EventLog:
    """A listener that logs what it hears. Text from outside is cut, and cannot break a line or forge one.

    Args:
        logger: Where records go.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._begin()
        fork.watch(self)
        living.memories.add(self)

    def _begin(self) -> None:
        self._lock = RLock()
        self._refused: OrderedDict[tuple[str, bool], _Refused] = OrderedDict()

    def before_fork(self) -> None:
        """Do not wait: the child counts anew."""

    def after_fork_in_parent(self) -> None:
        """Go on."""

    def after_fork_in_child(self) -> None:
        """Begin with a free lock; what was refused before the fork is the parent's to tell."""
        self._begin()

    def __call__(self, event: Event) -> None:
        """Log one event, or count it."""
        if isinstance(event, CallRejected):
            self._count(event)
        elif isinstance(event, StateChanged):
            for shadow in (False, True):
                self._summarise(event, shadow=shadow)
                with self._lock:  # what this record tells needs no summary at once
                    self._refused_by(event.breaker, shadow, event.at).since = event.at
            self._log_transition(event)
        elif isinstance(event, ModeChanged):
            self._log_mode(event)

    def forget(self) -> None:
        """Tell nothing of what was refused so far."""
        with self._lock:
            self._refused.clear()

    def _count(self, event: CallRejected) -> None:
        with self._lock:
            refused = self._refused_by(event.breaker, event.shadow, event.at - SUMMARY_SECONDS)
            refused.reasons[event.reason] += 1
            due = not 0 <= event.at - refused.since < SUMMARY_SECONDS  # a test's clock may have been ahead
        if due:
            self._summarise(event, shadow=event.shadow)

    def _refused_by(self, breaker: str, shadow: bool, since: float) -> _Refused:
        refused = self._refused.get((breaker, shadow))
        if refused is None:
            refused = self._refused[breaker, shadow] = _Refused(since)
            if len(self._refused) > MAX_BREAKERS:
                self._refused.popitem(last=False)
        return refused

    def _summarise(self, event: Event, *, shadow: bool) -> None:
        with self._lock:
            refused = self._refused.get((event.breaker, shadow))
            if refused is None or not refused.reasons:
                return
            reasons, refused.reasons = refused.reasons, Counter()
            refused.since = event.at
        total = reasons.total()
        parts = ", ".join(f"{number} {reason}" for reason, number in sorted(reasons.items()))
        self._log(
            logging.WARNING,
            f"circuit {event.breaker!r} {'would have refused' if shadow else 'refused'} {total} "
            f"call{'s' * (total != 1)} ({parts})",
            event.breaker,
            change="would_reject" if shadow else "rejected",
            calls=total,
            reasons={str(reason): number for reason, number in reasons.items()},  # not as an enum's repr
        )

    def _log_transition(self, event: StateChanged) -> None:
        last = f"; last failure: {event.last_failure}" if event.last_failure else ""
        again = f"; next probe in {event.retry_after:.1f} s" if event.retry_after else ""
        by_hand = event.cause.rule in (Rule.RESET, Rule.MODE)
        self._log(
            logging.WARNING if event.new is State.OPEN else logging.INFO,
            f"circuit {event.breaker!r} is {event.new.prose}, was {event.old.prose}: {event.cause}"
            f"{last if event.new is State.OPEN else ''}{again}",
            event.breaker,
            change="reset" if event.cause.rule is Rule.RESET else "state",
            old_state=str(event.old),
            new_state=str(event.new),
            rule=str(event.cause.rule),
            cause=str(event.cause),
            last_failure=event.last_failure,
            retry_after=round(event.retry_after, 3),
            **({"by": event.cause.by, "why": event.cause.why} if by_hand else {}),
        )

    def _log_mode(self, event: ModeChanged) -> None:
        until = _until(event.new)
        self._log(
            logging.WARNING,
            f"circuit {event.breaker!r} is set to {event.new.mode}, was {event.old.mode}"
            f"{f', by {event.new.by}' if event.new.by else ''}{f': {event.new.why}' if event.new.why else ''}"
            f"{f' (until {until})' if until else ''}",
            event.breaker,
            change="mode",
            old_mode=str(event.old.mode),
            new_mode=str(event.new.mode),
            by=event.new.by,
            why=event.new.why,
            until=until,
        )

    def _log(self, level: int, text: str, breaker: str, **fields: object) -> None:
        told = {"breaker": breaker, **fields}
        clean = {key: one_line(value) if isinstance(value, str) else value for key, value in told.items()}
        self._logger.log(level, "%s", one_line(text), extra=clean)


class _Refused:
    """Refusals that no record has told yet, and when the last one did (monotonic seconds)."""

    __slots__ = ("reasons", "since")

    def __init__(self, since: float) -> None:
        self.since = since
        self.reasons: Counter[str] = Counter()


def one_line(text: str) -> str:
    """Cut a text, and replace what is not printable: line breaks, control and formatting characters."""
    if len(text) > LONGEST:
        text = text[: LONGEST - 1] + "\N{HORIZONTAL ELLIPSIS}"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _until(mode: Override) -> str:
    return "" if mode.until is None else datetime.fromtimestamp(mode.until, UTC).isoformat(timespec="seconds")
