"""Registry: the named breakers of one application, from one declaration."""

from __future__ import annotations

import os
import time
import weakref
from _thread import RLock  # `threading` only wraps it
from collections.abc import Callable, ItemsView, Iterator, Mapping, ValuesView
from itertools import count
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Final, Self, TypedDict, Unpack

from recloser.config import Declaration, from_mapping, from_toml
from recloser.config.origins import canonical
from recloser.core import fork
from recloser.core.breaker import CircuitBreaker
from recloser.core.errors import RecloserError
from recloser.core.events import Listener
from recloser.core.policy import Policy, nearest
from recloser.core.state import Epoch, Mode, State
from recloser.degradations import Degradations

if TYPE_CHECKING:
    from datetime import datetime

    from recloser.stores.health import Health
    from recloser.stores.hub import Hub
    from recloser.stores.protocol import Store
    from recloser.stores.view import FleetView

MAX_ORIGINS: Final = 1024


class Sources(TypedDict, total=False):
    """Where breakers get time and chance from, for tests."""

    clock: Callable[[], float]
    wall_clock: Callable[[], float]
    random: Callable[[], float]


class UnknownBreakerError(RecloserError, KeyError):
    """No breaker has this name. Nothing was created.

    Attributes:
        name: What was asked for.
        hint: The nearest name there is, put as a question; `""` if none is near.
    """

    def __init__(self, name: str, hint: str = "") -> None:
        super().__init__(name, hint)
        self.name = name
        self.hint = hint

    @property
    def told(self) -> str:
        """The same as a sentence for operators, who declare nothing."""
        return f"No breaker is named {self.name}{self.hint}."

    def __str__(self) -> str:
        return f"no breaker is named {self.name!r}{self.hint}; declare it, or correct the name"


class Registry(Mapping[str, CircuitBreaker]):
    """The breakers of one application: all that are declared, and one for each other origin that is asked for.

    A mapping from names to breakers in declared order, then those made per origin, whose names are `host:port`.
    Looking up a name never creates a breaker.

    At most 1024 breakers are kept per origin. The next one takes the place of the least recently used one that
    is closed and under no operator's mode; only if there is none such, of the least recently used one. A breaker
    that lost its place and is still held by somebody comes back as the same one.

    Safe for any mix of threads, event loops and forks.

    With a store, its breakers share their state with all workers that have the same store and namespace. A background
    thread, started by the first call in each process, does all that needs the store; no call ever waits for it.

    Args:
        declaration: A `Declaration`; or a mapping, read as by `from_mapping`.
        store: Where the fleet meets, instead of the declared one.
        **sources: The breakers' `clock`, `wall_clock` and `random`, as of `CircuitBreaker`.

    Attributes:
        declaration: What the breakers were made from.
        declared: The declared breakers alone, by name.
        degraded: Counts the degraded answers that this process gave, by breaker and strategy.

    Raises:
        ConfigurationError: Lists everything that is wrong; nothing was created.
    """

    def __init__(
        self,
        declaration: Declaration | Mapping[str, object],
        *,
        store: Store | None = None,
        **sources: Unpack[Sources],
    ) -> None:
        if not isinstance(declaration, Declaration):
            declaration = from_mapping(declaration)
        self.declaration = declaration
        self._sources = sources
        self._hub = _hub(declaration, store, sources)
        self.degraded = Degradations()
        if self._hub is not None:
            self._hub.report_degraded(self.degraded.counts)
        self._lock = _Lock()
        self._listeners: dict[object, Listener] = {}
        self._uses = count(1)
        made = {name: self._made(name, own.policy) for name, own in declaration.breakers.items()}
        self._declared = slots = {name: _Slot(breaker) for name, breaker in made.items()}
        self._per_origin: dict[str, _Slot] = {}
        self._by_origin = {
            origin: slots[name] for name, own in declaration.breakers.items() for origin in own.origins
        }
        self._displaced: weakref.WeakValueDictionary[str, CircuitBreaker] = weakref.WeakValueDictionary()
        self.declared: Mapping[str, CircuitBreaker] = MappingProxyType(made)

    @classmethod
    def from_mapping(
        cls,
        mapping: Mapping[str, object],
        path: str = "RECLOSER",
        environ: Mapping[str, str] = os.environ,
        **sources: Unpack[Sources],
    ) -> Self:
        """Make the breakers of a mapping with upper-case sections.

        Args:
            mapping: Sections to settings.
            path: The mapping's name in error messages.
            environ: Its `RECLOSER_…` variables override single values.
            **sources: As of the class.

        Raises:
            ConfigurationError: Lists everything that is wrong; nothing was created.
        """
        return cls(from_mapping(mapping, path, environ), **sources)

    @classmethod
    def from_toml(
        cls,
        path: str | os.PathLike[str],
        environ: Mapping[str, str] = os.environ,
        **sources: Unpack[Sources],
    ) -> Self:
        """Make the breakers of a TOML file; of a `pyproject.toml`, those of its table `[tool.recloser]`.

        Args and Raises: as of `from_mapping`.
        """
        return cls(from_toml(path, environ), **sources)

    # -- breakers ------------------------------------------------------------------------------------------

    def __getitem__(self, name: str) -> CircuitBreaker:
        slot = self._declared.get(name) or self._per_origin.get(name)
        if slot is None:
            raise UnknownBreakerError(name, nearest(str(name), self._snapshot()))
        return slot.breaker

    def for_origin(self, origin: str) -> CircuitBreaker:
        """Find the breaker of an origin, or make one with the declared defaults.

        A declared breaker guards the origins that it lists, and the one it is named after.

        Args:
            origin: `host:port`, in lower case and ASCII, IPv6 addresses in brackets (see `config.host_port`).

        Raises:
            ValueError: It is not `host:port`.
        """
        slot = self._by_origin.get(origin)
        if slot is None:
            slot = self._found(canonical(origin))
        slot.used = next(self._uses)
        return slot.breaker

    def _found(self, origin: str) -> _Slot:
        with self._lock.of_this_process:
            if origin in self._by_origin:
                return self._by_origin[origin]
            slot = self._declared.get(origin)
            if slot is None:
                breaker = self._displaced.get(origin) or self._made(origin, self.declaration.defaults.policy)
                slot = _Slot(breaker)
                for token, listener in self._listeners.items():
                    slot.silence[token] = breaker.add_listener(listener)
                if len(self._per_origin) >= MAX_ORIGINS:
                    self._displace()
                # A finaliser in this very section may have been here already: the first one stays.
                slot = self._per_origin.setdefault(origin, slot)
            return self._by_origin.setdefault(origin, slot)

    def _displace(self) -> None:
        by_use = sorted(self._per_origin.values(), key=lambda slot: slot.used)
        slot = next((slot for slot in by_use if slot.at_rest), by_use[0])
        origin = slot.breaker.name
        self._displaced[origin] = slot.breaker
        del self._by_origin[origin], self._per_origin[origin]
        for silence in slot.silence.values():
            silence()

    def _made(self, name: str, policy: Policy) -> CircuitBreaker:
        breaker = CircuitBreaker(name, policy, lead=self._hub, **self._sources)
        if self._hub is not None:
            self._hub.link(breaker)
        return breaker

    # -- the fleet -----------------------------------------------------------------------------------------

    @property
    def store_health(self) -> Health:
        """Whether the store is reached, since when it is not, and why."""
        if self._hub is None:
            from recloser.stores.health import Connection, Health  # noqa: PLC0415 - most processes have no store

            return Health(connection=Connection.NONE)
        return self._hub.health

    def ready(self, timeout: float = 1.0) -> bool:
        """Wait until the fleet's state is known here, for jobs that make one call and end. Without a store it is.

        Args:
            timeout: Seconds.

        Returns:
            Whether it is.
        """
        return self._hub is None or self._hub.ready(timeout)

    def fleet(self, timeout: float = 2.0) -> FleetView | None:
        """Read all that the store knows of the fleet, and of this process the present; `None` without a store.

        This does wait for the store.

        Args:
            timeout: Seconds.

        Raises:
            StoreError: The store is lost, or did not answer in time.
        """
        return None if self._hub is None else self._hub.view(timeout)

    def steer(
        self,
        name: str,
        action: str,
        *,
        by: str,
        reason: str,
        until: datetime | float | None = None,
        expected: Epoch | None = None,
    ) -> bool:
        """Let an operator act on a breaker: in the whole fleet where the store is up, which is waited for.

        Args:
            name: The breaker's; with a store, also one that only other workers have.
            action: `"force_open"`, `"force_closed"`, `"shadow"`, `"auto"` or `"reset"`.
            by: Who decides.
            reason: Why.
            until: When a mode ends: an aware `datetime`, or seconds of the wall clock.
            expected: The epoch that the operator saw; `None`: whatever it is.

        Returns:
            Whether it was done in the whole fleet; else here, and the fleet hears of it as soon as it can.

        Raises:
            UnknownBreakerError: There is none of this name here, nor a fleet to ask.
            ConflictError: The breaker's epoch is another one; nothing was done.
            StoreError: The store was lost meanwhile.
            ValueError: There is no such action, or `until` is naive, past, or given where nothing can end.
        """
        from recloser.steering import Order, steer  # noqa: PLC0415 - for operators only

        order = Order.of(name, action, by, reason, until, self._sources.get("wall_clock", time.time))
        in_fleet = self.store_health.connection == "up"
        return steer(order, None if in_fleet and name not in self else self[name], self._hub, expected)

    # -- listeners, and its life ---------------------------------------------------------------------------

    def add_listener(self, listener: Listener) -> Callable[[], None]:
        """Send every event of every breaker, present and future, to `listener`; the function returned ends that."""
        token = object()
        with self._lock.of_this_process:
            self._listeners[token] = listener
            for slot in self._slots():
                slot.silence[token] = slot.breaker.add_listener(listener)
        return lambda: self._remove(token)

    def _remove(self, token: object) -> None:
        with self._lock.of_this_process:
            self._listeners.pop(token, None)
            for slot in self._slots():
                if token in slot.silence:
                    slot.silence.pop(token)()

    def open(self) -> None:
        """Join the fleet again after `close`. A new registry is open; on an open one this does nothing."""
        if self._hub is not None:
            self._hub.reopen()

    def close(self) -> None:
        """Leave the fleet, whoever else is using this; the breakers go on alone, listeners hear of them. Repeatable."""
        if self._hub is not None:
            self._hub.close()

    def __enter__(self) -> Self:
        if self._hub is not None:
            self._hub.enter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._hub is not None:
            self._hub.leave()

    # -- a mapping with an identity: two registries are never equal --------------------------------------------

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def __contains__(self, name: object) -> bool:
        return name in self._declared or name in self._per_origin

    def __iter__(self) -> Iterator[str]:
        return iter(self._snapshot())

    def __len__(self) -> int:
        return len(self._declared) + len(self._per_origin)

    def items(self) -> ItemsView[str, CircuitBreaker]:
        """Names and breakers of this moment."""
        return self._snapshot().items()

    def values(self) -> ValuesView[CircuitBreaker]:
        """The breakers of this moment."""
        return self._snapshot().values()

    def __repr__(self) -> str:
        return f"<Registry of {self.declaration.path}: {', '.join(self._declared)}>"

    def _slots(self) -> list[_Slot]:
        return [*self._declared.values(), *self._per_origin.values()]

    def _snapshot(self) -> dict[str, CircuitBreaker]:
        with self._lock.of_this_process:
            return {slot.breaker.name: slot.breaker for slot in self._slots()}


def _hub(declaration: Declaration, store: Store | None, sources: Sources) -> Hub | None:
    if store is None and declaration.store is None:
        return None
    from recloser.stores.hub import Hub  # noqa: PLC0415 - most processes have no store
    from recloser.stores.opening import open_store  # noqa: PLC0415

    if store is None and declaration.store is not None:
        store = open_store(declaration.store, declaration.namespace)
    assert store is not None  # noqa: S101 - one of the two is given
    return Hub(store, **sources)


class _Slot:
    """A breaker, the number of its last use, and how to silence the registry's listeners on it."""

    __slots__ = ("breaker", "silence", "used")

    def __init__(self, breaker: CircuitBreaker) -> None:
        self.breaker = breaker
        self.used = 0
        self.silence: dict[object, Callable[[], None]] = {}

    @property
    def at_rest(self) -> bool:
        """Whether nothing but counts is lost with the breaker."""
        return self.breaker.state is State.CLOSED and self.breaker.mode.mode is Mode.AUTO


class _Lock:
    """A lock that a forked child finds free: what it guards is whole between any two steps."""

    def __init__(self) -> None:
        self.of_this_process = RLock()
        fork.watch(self)

    def before_fork(self) -> None:
        """Do not wait: who holds this lock may wait for a breaker that is still already."""

    def after_fork_in_parent(self) -> None:
        """Go on."""

    def after_fork_in_child(self) -> None:
        """Begin with a free lock."""
        self.of_this_process = RLock()
