"""Where the command line looks and acts: at the store itself, or through an application's admin endpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol
from urllib.parse import quote

from recloser.core.errors import ConfigurationError
from recloser.registry import Registry, UnknownBreakerError
from recloser.status.actions import Outcome, Wish, carry_out, read_wish
from recloser.status.client import SECONDS, Client, SourceError
from recloser.status.query import Query
from recloser.status.redaction import plain
from recloser.status.sampler import Rates, Sampler
from recloser.status.sight import Sight
from recloser.status.snapshot import Document, detail, document
from recloser.steering import Action
from recloser.stores.health import Connection
from recloser.stores.opening import path_of

_AS_DECLARED: Final = "--store and --namespace must be as declared, and a worker must have begun"


class Source(Protocol):
    """Where to look and to act."""

    def overview(self) -> Document:
        """Read all breakers."""
        ...

    def act(
        self, action: Action, names: Sequence[str], reason: str, seconds: str, by: str
    ) -> Sequence[Outcome]:
        """Act on breakers as they are now."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class StoreSource:
    """Looks at a fleet's store.

    Args:
        url: As declared.
        namespace: As declared.

    Raises:
        SourceError: It does not answer.
    """

    def __init__(self, url: str, namespace: str) -> None:
        try:
            self._registry = Registry({"STORE": url, "NAMESPACE": namespace})
        except ConfigurationError as error:
            told = str(error).replace('RECLOSER["STORE"]', "--store")
            raise SourceError(told.replace('RECLOSER["NAMESPACE"]', "--namespace")) from None
        path = path_of(url, namespace)
        if path is not None and not path.exists():  # looking makes none
            raise SourceError(f"{path} does not exist: {_AS_DECLARED}")
        if not self._registry.ready(SECONDS) or self._registry.store_health.connection is not Connection.UP:
            health = self._registry.store_health
            self._registry.close()
            raise SourceError(str(health))
        self._sampler = Sampler(self._registry)

    def overview(self) -> Document:
        """Read all breakers."""
        sight, rates = self._look()
        return document(sight, Query(limit=1_000_000), rates)

    def act(
        self, action: Action, names: Sequence[str], reason: str, seconds: str, by: str
    ) -> Sequence[Outcome]:
        """Act on breakers as they are now."""
        sight, _ = self._look()
        outcomes: list[Outcome] = []
        for name in names:
            try:
                epoch: str = detail(sight, name)["breaker"]["epoch"]
            except UnknownBreakerError as unknown:
                outcomes.append(Outcome(plain(name, 80), 404, unknown.told))
                continue
            wish: Wish = read_wish(action, {"reason": [reason], "for": [seconds], "epoch": [epoch]}, name)
            outcomes += carry_out(self._registry, wish, by)
        return outcomes

    def _look(self) -> tuple[Sight, Rates]:
        sight, rates = self._sampler.take(fresh=True)
        if sight.fleet is None:  # this process has no breakers of its own to tell of
            raise SourceError(f"store {sight.health.address}: {sight.error}")
        if not sight.fleet.breakers and not sight.fleet.workers:
            raise SourceError(f"store {sight.health.address}: nobody has a breaker there: {_AS_DECLARED}")
        return sight, rates

    def close(self) -> None:
        """Leave the fleet."""
        self._registry.close()


class UrlSource:
    """Looks through an admin endpoint; arguments and errors as of `Client`."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        self._client = Client(url, headers)

    def overview(self) -> Document:
        """Read all breakers."""
        status, told = self._client.ask("/?limit=500")
        if status != 200:
            raise SourceError(f"{self._client.shown}: {_problem(told, status)}")
        return told

    def act(
        self, action: Action, names: Sequence[str], reason: str, seconds: str, by: str
    ) -> Sequence[Outcome]:
        """Act on breakers as they are now; who acts, the endpoint knows."""
        del by
        outcomes: list[Outcome] = []
        for name in names:
            path = f"/b/{quote(name, safe='')}"
            status, told = self._client.ask(path)
            if status == 200:
                body = {"reason": reason, "for": seconds, "epoch": told["breaker"]["epoch"]}
                token = told.get("control", {}).get("tokens", {}).get(action, "")
                status, told = self._client.ask(f"{path}/{action}", json.dumps(body).encode(), token)
            text = told.get("text", "Done.") if status == 200 else _problem(told, status)
            outcomes.append(Outcome(plain(name, 80), status, plain(str(text)), str(told.get("scope", ""))))
        return outcomes

    def close(self) -> None:
        """Nothing is held."""


def _problem(told: Mapping[str, Any], status: int) -> str:
    if status == 404 and "title" not in told:  # no problem document of ours
        return "HTTP 404, there is no recloser endpoint: --url is that of the status page"
    return plain(str(told.get("detail") or f"HTTP {status}"))
