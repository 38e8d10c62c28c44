"""One way to drive a breaker through a script, whether it is the model or the real one, and however it is called.

A `Subject` is told what callers do and tells what it decided. `ModelSubject` asks the reference model;
`BreakerSubject` asks a `CircuitBreaker` through one of its entries (`ENTRIES` for calls that overlap,
`WRAPPERS` for calls that begin and end at once).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from model import Change, Counts, Decision, Model, Refused, Verdict
from recloser import CallRejectedError, CircuitBreaker, Policy
from recloser.core.events import CallRejected, Event, ModeChanged, StateChanged
from recloser.core.state import Mode, State
from ways_in import ENTRIES, WRAPPERS, Body, Boom, ByFinish, ByVerdict, Entry, Excluded, exception_of

TOTALS = ("calls", "failures", "slow", "probes", "opened", "half_opened", "closed")
MIDNIGHT = 1_700_000_000.0  # where the wall clock starts


@dataclass
class Clock:
    """The two clocks of a script: one that only goes forward, and the time of day."""

    now: float = 0.0
    wall: float = MIDNIGHT

    def advance(self, seconds: float) -> None:
        self.now += seconds
        self.wall += seconds


class Look(NamedTuple):
    """What shows from outside. `window` and `run` are told while closed, `retry_after` while open by itself."""

    state: State
    mode: Mode
    window: Counts | None
    run: int | None
    retry_after: float | None
    elapsed: float
    reopenings: int
    leases: int
    good_probes: int
    in_flight: int
    totals: dict[str, int]


class News(NamedTuple):
    """What was told since the last time."""

    changes: list[Change]
    modes: list[tuple[Mode, Mode]]
    refusals: list[Refused]


class Subject(Protocol):
    """A breaker under a script."""

    def admit(self, name: str) -> Refused | None: ...

    def answer(self, name: str) -> None: ...

    def settle(self, name: str, verdict: Verdict, retry_after: float | None = None) -> None: ...

    def forget(self, name: str) -> None: ...

    def call(self, verdict: Verdict, takes: float, retry_after: float | None = None) -> Refused | None: ...

    def set_mode(self, mode: Mode, until: float | None) -> None: ...

    def reset(self) -> None: ...

    def look(self) -> Look: ...

    def news(self) -> News: ...


class ModelSubject:
    """The reference model under a script."""

    def __init__(self, policy: Policy, random: Callable[[], float], clock: Clock):
        self.clock = clock
        self.model = Model(policy, random, clock.now)
        self.numbers: dict[str, int] = {}
        self.forgotten = 0  # they have no effect, but whether they show among the ignored is left open

    def admit(self, name: str) -> Refused | None:
        answer = self.model.admit(self.clock.now, self.clock.wall)
        if isinstance(answer, Refused):
            return answer
        self.numbers[name] = answer
        return None

    def answer(self, name: str) -> None:
        self.model.answer(self.numbers[name], self.clock.now)

    def settle(self, name: str, verdict: Verdict, retry_after: float | None = None) -> None:
        self.model.settle(self.numbers[name], verdict, self.clock.now, self.clock.wall, retry_after)

    def forget(self, name: str) -> None:
        self.settle(name, Verdict.IGNORED)
        self.model.totals["ignored"] -= 1
        self.forgotten += 1

    def call(
        self,
        verdict: Verdict,
        takes: float,
        retry_after: float | None = None,
        meanwhile: Callable[[], object] | None = None,
    ) -> Refused | None:
        call = self.model.admit(self.clock.now, self.clock.wall)
        if isinstance(call, Refused):
            return call
        self.clock.advance(takes)
        if meanwhile is not None:
            meanwhile()
        self.model.settle(call, verdict, self.clock.now, self.clock.wall, retry_after)
        return None

    def set_mode(self, mode: Mode, until: float | None) -> None:
        self.model.set_mode(mode, self.clock.now, self.clock.wall, until)

    def reset(self) -> None:
        self.model.reset(self.clock.now, self.clock.wall)

    def look(self) -> Look:
        model, now = self.model, self.clock.now
        model.end_mode(now, self.clock.wall)
        closed, forced = model.state is State.CLOSED, model.mode is Mode.FORCED_OPEN
        half_open = model.state is State.HALF_OPEN
        return Look(
            state=model.state,
            mode=model.mode,
            window=model.window(now) if closed and model.policy.judges_rates else None,
            run=model.run() if closed else None,
            retry_after=None if forced else model.open_for(now),
            elapsed=now - model.since,
            reopenings=model.reopenings,
            leases=len(model.leases(now)) if half_open else 0,
            good_probes=model.good_probes,
            in_flight=len(model.in_flight()) if model.policy.max_concurrent_calls is not None else 0,
            totals={name: number for name, number in model.totals.items() if number and name != "ignored"},
        )

    def news(self) -> News:
        model = self.model
        news = News(model.changes, model.modes, model.refusals)
        model.changes, model.modes, model.refusals = [], [], []
        return news


class BreakerSubject:
    """A real breaker under a script, called through `entry` and, for calls that end at once, through `wrapper`."""

    def __init__(
        self,
        policy: Policy,
        random: Callable[[], float],
        clock: Clock,
        *,
        entry: str = "acquire",
        wrapper: str | None = None,
    ):
        self.clock = clock
        self.entry = entry
        self.breaker = CircuitBreaker(
            "shop", policy, clock=lambda: clock.now, wall_clock=lambda: clock.wall, random=random
        )
        self.body: Body = str
        self.wrapped = {name: wrap(self.breaker, self._run_body) for name, wrap in WRAPPERS.items()}
        self.wrapper = wrapper
        self.in_flight: dict[str, Entry] = {}
        self._changes: list[Change] = []
        self._modes: list[tuple[Mode, Mode]] = []
        self._refusals: list[Refused] = []
        self.breaker.add_listener(self._hear)

    def _run_body(self, url: str) -> str:
        return self.body(url)

    def _hear(self, event: Event) -> None:
        match event:
            case StateChanged(old=old, new=new, cause=cause, retry_after=retry_after):
                why = Decision(cause.rule, cause.number, cause.total, cause.threshold)
                self._changes.append(Change(old, new, why, retry_after))
            case ModeChanged(old=before, new=after):
                self._modes.append((before.mode, after.mode))
            case CallRejected(reason=reason, retry_after=retry_after, shadow=shadow):
                self._refusals.append(Refused(reason, retry_after, shadow))
            case _:
                raise AssertionError(event)

    def _refused(self, error: CallRejectedError) -> Refused:
        assert error.breaker == self.breaker.name
        assert error.state is self.breaker.state
        return Refused(error.reason, error.retry_after, shadow=False)

    def admit(self, name: str, enter: Callable[[CircuitBreaker], Entry] | None = None) -> Refused | None:
        try:
            self.in_flight[name] = (enter or ENTRIES[self.entry])(self.breaker)
        except CallRejectedError as error:
            return self._refused(error)
        return None

    def answer(self, name: str) -> None:
        entry = self.in_flight[name]
        assert isinstance(entry, ByVerdict | ByFinish)
        entry.permit.answered()

    def settle(self, name: str, verdict: Verdict, retry_after: float | None = None) -> None:
        self.in_flight[name].settle(verdict, retry_after)

    def forget(self, name: str) -> None:
        del self.in_flight[
            name
        ]  # nothing else refers to it, so it is gone at once: no cycle keeps a place taken

    def call(
        self,
        verdict: Verdict,
        takes: float,
        retry_after: float | None = None,
        meanwhile: Callable[[], object] | None = None,
    ) -> Refused | None:
        if self.wrapper is None:
            assert meanwhile is None
            refused = self.admit("this call")
            if refused is None:
                self.clock.advance(takes)
                self.settle("this call", verdict, retry_after)
            return refused

        raised = exception_of(verdict, retry_after)

        def body(url: str) -> str:
            self.clock.advance(takes)
            if meanwhile is not None:
                meanwhile()
            if raised is not None:
                raise raised
            return url

        self.body = body
        seen: BaseException | None = None
        try:
            assert self.wrapped[self.wrapper]("/") == "/"
        except CallRejectedError as error:
            return self._refused(error)
        except (Boom, Excluded, asyncio.CancelledError) as error:
            seen = error
        assert seen is raised
        return None

    def set_mode(self, mode: Mode, until: float | None) -> None:
        match mode:
            case Mode.FORCED_OPEN:
                self.breaker.force_open(by="ann", reason="drill", until=until)
            case Mode.FORCED_CLOSED:
                self.breaker.force_closed(by="ann", reason="drill", until=until)
            case Mode.SHADOW:
                self.breaker.shadow(by="ann", reason="drill", until=until)
            case Mode.AUTO:
                self.breaker.auto(by="ann", reason="drill")

    def reset(self) -> None:
        self.breaker.reset(by="ann", reason="drill")

    def look(self) -> Look:
        snapshot = self.breaker.snapshot()
        assert snapshot.state is self.breaker.state
        assert snapshot.mode == self.breaker.mode
        closed, forced = snapshot.state is State.CLOSED, snapshot.mode.mode is Mode.FORCED_OPEN
        window = Counts(snapshot.window.calls, snapshot.window.failures, snapshot.window.slow)
        totals = Counter({name: getattr(snapshot, name) for name in TOTALS})
        totals.update(rejected=sum(snapshot.rejected.values()), shadowed=sum(snapshot.would_reject.values()))
        return Look(
            state=snapshot.state,
            mode=snapshot.mode.mode,
            window=window if closed and self.breaker.policy.judges_rates else None,
            run=snapshot.consecutive_failures if closed else None,
            retry_after=None if forced else snapshot.retry_after,
            elapsed=snapshot.elapsed,
            reopenings=snapshot.reopenings,
            leases=snapshot.probes_in_flight,
            good_probes=snapshot.probe_successes,
            in_flight=snapshot.in_flight,
            totals={name: number for name, number in totals.items() if number},
        )

    def news(self) -> News:
        news = News(self._changes, self._modes, self._refusals)
        self._changes, self._modes, self._refusals = [], [], []
        return news
