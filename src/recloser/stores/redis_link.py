"""One connection to a Redis or Valkey, and its errors as ours: scripts by their digest, redirects followed."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Generator
from contextlib import contextmanager, suppress
from functools import cache
from importlib import resources
from typing import Any, Final, NamedTuple, Protocol, cast

from recloser.stores.protocol import StoreError
from recloser.stores.redis_url import Location

try:
    from redis import connection as connections
    from redis.backoff import NoBackoff
    from redis.exceptions import MovedError, NoScriptError, RedisError, ResponseError
    from redis.exceptions import TimeoutError as RedisTimeout
    from redis.retry import Retry
    from redis.sentinel import Sentinel
except ModuleNotFoundError as missing:
    raise ImportError(
        'a Redis or Valkey store needs redis-py: pip install "recloser[redis]"', name="redis"
    ) from missing

REDIRECTS: Final = 3


class RefusedError(StoreError):
    """The server answered with an error, as where a script met what it cannot read."""


class _Connection(Protocol):
    """What we use of redis-py's connections, which declare few types."""

    def connect(self) -> None: ...
    def disconnect(self) -> None: ...
    def can_read(self, timeout: float) -> bool: ...
    def send_command(self, *command: Any) -> None: ...
    def read_response(self, **options: Any) -> Any: ...


class Script(NamedTuple):
    """A Lua script: its text, and the digest that servers know it by."""

    text: bytes
    digest: str


@cache
def script(name: str) -> Script:
    """Return one of our scripts, with what it stands on."""
    folder = resources.files("recloser.stores") / "lua"
    files = ("entry", "rules", name) if name == "exchange" else ("entry", name)
    text = b"\n".join((folder / f"{file}.lua").read_bytes() for file in files)
    return Script(text, hashlib.sha1(text, usedforsecurity=False).hexdigest())


class RedisLink:
    """A connection that is opened anew when it was lost, never of itself.

    Args:
        location: Where to connect, and how.
    """

    def __init__(self, location: Location) -> None:
        self._location = location
        self._connection: _Connection | None = None

    @property
    def is_open(self) -> bool:
        """Whether there is a connection, as far as is known."""
        return self._connection is not None

    def open(self) -> None:
        """Connect to the first place that lets us in.

        Raises:
            StoreError: None does.
        """
        location = self._location
        with self.errors():
            hosts = (_master(location),) if location.service else location.hosts or (("", 0),)
            for last, (host, port) in enumerate(hosts, 1 - len(hosts)):
                try:
                    self._open_at(host, port)
                except RedisError:
                    if not last:
                        raise
                else:
                    return

    def run(self, name: str, keys: list[str], arguments: list[Any]) -> Any:
        """Run one of our scripts, following a cluster's redirects.

        Raises:
            StoreError: It did not work.
        """
        code = script(name)
        with self.errors():
            for _ in range(REDIRECTS):
                try:
                    try:
                        return self._call("EVALSHA", code.digest, len(keys), *keys, *arguments)
                    except NoScriptError:
                        return self._call("EVAL", code.text, len(keys), *keys, *arguments)
                except MovedError as elsewhere:  # the whole namespace is one slot, and lives there
                    self._redirect(elsewhere)
            raise StoreError(f"{self._location.address}: redirected {REDIRECTS} times, and not served")

    def subscribe(self, channel: str) -> None:
        """Have this connection receive a channel's messages.

        Raises:
            StoreError: We may not, or the connection is lost.
        """
        with self.errors():
            connection = self._alive()
            connection.send_command("SUBSCRIBE", channel)
            connection.read_response(push_request=True)

    def received(self) -> list[Any]:
        """Return the messages that have arrived; does not wait.

        Raises:
            StoreError: The connection is lost.
        """
        messages: list[Any] = []
        with self.errors():
            connection = self._alive()
            # Also takes what lies in the parser's or TLS's buffer, where `select` does not see it.
            while connection.can_read(0):
                try:
                    message = connection.read_response(
                        timeout=0, disconnect_on_error=False, push_request=True
                    )
                except RedisTimeout:
                    break  # the rest of it is on its way
                messages.append(message)
        return messages

    def fileno(self) -> int | None:
        """Return the socket's file descriptor."""
        sock = _socket(self._connection)
        return None if sock is None or sock.fileno() < 0 else sock.fileno()

    def close(self) -> None:
        """Disconnect."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(RedisError, OSError):
                connection.disconnect()

    def abandon(self) -> None:
        """Let go of another process's connection without a word to the server."""
        connection, self._connection = self._connection, None
        sock = _socket(connection)
        if sock is not None:
            with suppress(OSError):
                os.close(sock.detach())

    @contextmanager
    def errors(self) -> Generator[None]:
        """Make whatever redis-py raises a `StoreError`, which ends the connection."""
        try:
            yield
        except StoreError:
            self.close()
            raise
        except (RedisError, OSError, ValueError) as error:
            self.close()
            text = self._location.redacted(str(error)) or "nothing further is known"
            # Not chained: redis-py's frames hold the password.
            kind = RefusedError if isinstance(error, ResponseError) else StoreError
            raise kind(f"{self._location.address}: {type(error).__name__}: {text}") from None
        except BaseException:
            self.close()
            raise

    def _alive(self) -> _Connection:
        if self._connection is None:
            raise StoreError(f"{self._location.address}: not connected")
        return self._connection

    def _call(self, *command: Any) -> Any:
        connection = self._alive()
        connection.send_command(*command)
        return connection.read_response()

    def _open_at(self, host: str, port: int) -> None:
        location = self._location
        options: dict[str, Any] = {**location.options, "protocol": 3, "driver_info": None}
        made: Any
        if location.path:
            made, options = connections.UnixDomainSocketConnection, {**options, "path": location.path}
        else:
            made = connections.SSLConnection if location.is_encrypted else connections.Connection
            options = {**options, "host": host, "port": port}
        connection = cast("_Connection", made(**options))
        connection.connect()
        self.close()
        self._connection = connection

    def _redirect(self, elsewhere: MovedError) -> None:
        _, place = str(elsewhere).rsplit(" ", 1)
        host, _, port = place.rpartition(":")
        self._open_at(host or str(getattr(self._alive(), "host", "")), int(port))


def _socket(connection: _Connection | None) -> socket.socket | None:
    found: socket.socket | None = getattr(connection, "_sock", None)
    return found


def _master(location: Location) -> tuple[str, int]:
    """Ask the sentinels who serves."""
    options = {**location.sentinel_options, "retry": Retry(NoBackoff(), 0), "protocol": 3}
    sentinel = cast("Any", Sentinel)(
        location.hosts, sentinel_kwargs={**options, "ssl": location.is_encrypted}
    )
    try:
        host, port = sentinel.discover_master(location.service)
        return str(host), int(port)
    finally:
        sentinel.close()
