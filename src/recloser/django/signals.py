"""Signals: a circuit opened, closed, half-opened, or an operator changed its mode.

Each is sent with `sender=CircuitBreaker`, `breaker` (its name) and `event` (a `recloser.StateChanged` or
`recloser.ModeChanged`), on the thread of the call that caused it. Receivers are synchronous functions; one that
raises is logged and harms nobody.
"""

from __future__ import annotations

from typing import Final

from django.dispatch import Signal

from recloser.core.breaker import CircuitBreaker
from recloser.core.events import Event, ModeChanged, StateChanged
from recloser.core.state import State

circuit_opened = Signal()
circuit_closed = Signal()
circuit_half_opened = Signal()
mode_changed = Signal()

_OF_STATE: Final = {
    State.OPEN: circuit_opened,
    State.CLOSED: circuit_closed,
    State.HALF_OPEN: circuit_half_opened,
}


def forward(event: Event) -> None:
    """Send a registry's event as a signal."""
    if isinstance(event, StateChanged):
        signal = _OF_STATE[event.new]
    elif isinstance(event, ModeChanged):
        signal = mode_changed
    else:
        return
    signal.send_robust(CircuitBreaker, breaker=event.breaker, event=event)
