"""Where the command line looks and acts: at the store itself, or through an application's admin endpoint."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol, cast
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit
from urllib.request import Request, urlopen

from recloser.core.errors import RecloserError
from recloser.registry import Registry, UnknownBreakerError
from recloser.status.actions import Outcome, Wish, carry_out, read_wish
from recloser.status.query import Query
from recloser.status.redaction import plain
from recloser.status.sampler import Sampler
from recloser.status.snapshot import Document, detail, document
from recloser.steering import Action
from recloser.stores.health import Connection

SECONDS: Final = 5.0  # that a command waits for an answer
LARGEST: Final = 16_000_000  # bytes of an answer


class SourceError(RecloserError):
    """What is looked at does not answer."""


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
        self._registry = Registry({"STORE": url, "NAMESPACE": namespace})
        if not self._registry.ready(SECONDS) or self._registry.store_health.connection is not Connection.UP:
            health = self._registry.store_health
            self._registry.close()
            raise SourceError(str(health))
        self._sampler = Sampler(self._registry)

    def overview(self) -> Document:
        """Read all breakers."""
        sight, rates = self._sampler.take()
        return document(sight, Query(limit=1_000_000), rates)

    def act(
        self, action: Action, names: Sequence[str], reason: str, seconds: str, by: str
    ) -> Sequence[Outcome]:
        """Act on breakers as they are now."""
        sight, _ = self._sampler.take(fresh=True)
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

    def close(self) -> None:
        """Leave the fleet."""
        self._registry.close()


class UrlSource:
    """Looks through an admin endpoint.

    Args:
        url: Of the endpoint, such as `https://shop.example/breakers`.
        headers: To send; without `Authorization`, the variable `RECLOSER_TOKEN` makes one.

    Raises:
        SourceError: It is no HTTP URL.
    """

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc:
            raise SourceError("--url must begin with http:// or https://")
        self._url = url.rstrip("/")
        self._headers = {"Accept": "application/json", **headers}
        token = os.environ.get("RECLOSER_TOKEN")
        if token and not any(name.lower() == "authorization" for name in headers):
            self._headers["Authorization"] = f"Bearer {token}"

    def overview(self) -> Document:
        """Read all breakers."""
        status, told = self._ask("/?limit=500")
        if status != 200:
            raise SourceError(_problem(told, status))
        return told

    def act(
        self, action: Action, names: Sequence[str], reason: str, seconds: str, by: str
    ) -> Sequence[Outcome]:
        """Act on breakers as they are now; who acts, the endpoint knows."""
        del by
        outcomes: list[Outcome] = []
        for name in names:
            path = f"/b/{quote(name, safe='')}"
            status, told = self._ask(path)
            if status == 200:
                body = {"reason": reason, "for": seconds, "epoch": told["breaker"]["epoch"]}
                status, told = self._ask(f"{path}/{action}", json.dumps(body).encode())
            text = told.get("text", "Done.") if status == 200 else _problem(told, status)
            outcomes.append(Outcome(plain(name, 80), status, plain(str(text)), str(told.get("scope", ""))))
        return outcomes

    def close(self) -> None:
        """Nothing is held."""

    def _ask(self, path: str, body: bytes | None = None) -> tuple[int, Document]:
        headers = dict(self._headers)
        if body is not None:
            headers["Content-Type"] = "application/json"
        request = Request(self._url + path, body, headers)  # noqa: S310 - the scheme was checked
        try:
            with urlopen(request, timeout=SECONDS) as answer:  # noqa: S310
                return answer.status, _read(answer.read(LARGEST))
        except HTTPError as refused:
            with refused:
                return refused.code, _read(refused.read(LARGEST))
        except (URLError, OSError, ValueError) as error:
            raise SourceError(f"{plain(self._url)}: {plain(str(error))}") from error


def _read(body: bytes) -> Document:
    try:
        told: object = json.loads(body)
    except ValueError:
        return {}
    return cast("Document", told) if isinstance(told, dict) else {}


def _problem(told: Mapping[str, Any], status: int) -> str:
    return plain(str(told.get("detail") or f"HTTP {status}"))
