"""Where a Redis or Valkey is: its URL taken apart, without ever showing what is secret in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl, quote, unquote, urlsplit

TIMEOUT: Final = 0.25  # seconds to connect in, and to answer in
_PORT: Final = 6379
_SENTINEL_PORT: Final = 26379
_SCHEMES: Final = (
    "redis",
    "rediss",
    "unix",
    "redis+sentinel",
    "rediss+sentinel",
    "redis+cluster",
    "rediss+cluster",
)
_NUMBERS: Final = {"db": int, "socket_timeout": float, "socket_connect_timeout": float}
_TEXTS: Final = (
    "username",
    "password",
    "ssl_ca_certs",
    "ssl_ca_path",
    "ssl_certfile",
    "ssl_keyfile",
    "ssl_password",
    "ssl_cert_reqs",
)
_OF_SENTINELS: Final = ("sentinel_username", "sentinel_password")
_SECRETS: Final = ("password", "ssl_password", "sentinel_password")


@dataclass(frozen=True, slots=True)
class Location:
    """Where to connect, and how.

    Attributes:
        address: The URL without credentials and options.
        hosts: To try in turn: servers, nodes of a cluster, or sentinels.
        path: Of a unix socket, `""` if it is none.
        service: That the sentinels look after, `""` if there are none.
        is_encrypted: TLS is spoken.
        options: For redis-py's connections.
        sentinel_options: For those to sentinels.
        secrets: What no text may show.
    """

    address: str
    hosts: tuple[tuple[str, int], ...] = ()
    path: str = ""
    service: str = ""
    is_encrypted: bool = False
    options: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)
    sentinel_options: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)

    def redacted(self, text: str) -> str:
        """Return a text without our secrets."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text


def locate(url: str) -> Location:
    """Take a URL apart.

    Args:
        url: `redis://`, `rediss://` or `unix://`, `redis+sentinel://host:port,host:port/service/db` or
            `redis+cluster://host:port,host:port`; the last two with `rediss+` for TLS.

    Raises:
        ValueError: It is none that can be used; the text does not repeat it.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in _SCHEMES:
        raise ValueError(f"a Redis URL begins with one of {', '.join(f'{name}://' for name in _SCHEMES)}")
    rest, _, query = rest.partition("?")
    authority, slash, path = rest.partition("/")
    credentials, _, hosts = authority.rpartition("@")
    given = _options(query) | _credentials(credentials)
    secrets = tuple(str(given[name]) for name in _SECRETS if name in given)
    sentinel = {name.removeprefix("sentinel_"): given.pop(name) for name in _OF_SENTINELS if name in given}
    timeouts = {"socket_timeout": TIMEOUT, "socket_connect_timeout": TIMEOUT}
    timeouts |= {name: given.pop(name) for name in timeouts if name in given}
    if scheme == "unix":
        return Location(
            f"unix:///{path}",
            path=unquote(f"{slash}{path}"),
            options={**timeouts, **given},
            secrets=secrets,
        )
    kind = scheme.partition("+")[2]
    service, path = _service(path) if kind == "sentinel" else ("", path)
    if kind == "cluster" and (path or given.get("db")):
        raise ValueError("a cluster has no database to choose: end its URL after the hosts")
    if path and "db" not in given:
        given["db"] = _database(path)
    is_encrypted = scheme.startswith("rediss")
    places = tuple(_host(host, _SENTINEL_PORT if service else _PORT) for host in hosts.split(","))
    if len(places) > 1 and not kind:
        raise ValueError("several hosts are a cluster's or sentinels': redis+cluster:// or redis+sentinel://")
    shown = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in places)
    tail = f"/{quote(service)}" if service else ""
    database = "" if kind == "cluster" else f"/{given.get('db', 0)}"
    of_tls = {name: value for name, value in given.items() if name.startswith("ssl_")}
    if of_tls and not is_encrypted:
        raise ValueError(f"{min(of_tls)} belongs to rediss:// URLs, which encrypt")
    return Location(
        f"{scheme}://{shown}{tail}{database}",
        hosts=places,
        service=service,
        is_encrypted=is_encrypted,
        options={**timeouts, **given},
        sentinel_options={**timeouts, **sentinel, **of_tls},
        secrets=secrets,
    )


def _credentials(text: str) -> dict[str, str]:
    username, _, password = text.partition(":")
    given = {"username": unquote(username), "password": unquote(password)}
    return {name: value for name, value in given.items() if value}


def _service(path: str) -> tuple[str, str]:
    service, _, database = path.partition("/")
    if not service:
        raise ValueError("a sentinel URL names its service: redis+sentinel://host:port,host:port/service")
    return unquote(service), database


def _options(query: str) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name in _NUMBERS:
            given[name] = _number(name, value)
        elif name == "ssl_check_hostname":
            given[name] = value.lower() in {"1", "true", "yes"}
        elif name in _TEXTS or name in _OF_SENTINELS:
            given[name] = value
        else:
            known = ", ".join((*_NUMBERS, *_TEXTS, "ssl_check_hostname", *_OF_SENTINELS))
            raise ValueError(  # which it is may be a part of a password that was not percent-encoded
                f"a Redis URL has an option that is not known; it may have {known}"
            )
    return given


def _number(name: str, value: str) -> float:
    number: float
    try:
        number = _NUMBERS[name](value)
    except ValueError:
        raise ValueError(f"the option {name!r} of a Redis URL must be a number") from None
    if number < 0 or (name != "db" and not 0 < number <= 60):
        raise ValueError(f"the option {name!r} of a Redis URL must be a number of seconds, at most 60")
    return number


def _database(path: str) -> int:
    if not path.isascii() or not path.isdecimal():
        raise ValueError("the path of a Redis URL must be a database's number, as in redis://host:6379/0")
    return int(path)


def _host(text: str, default_port: int) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text}")
        port = parts.port
    except ValueError:  # says what it could not read, which may be half a password
        raise ValueError(
            "a Redis URL's host and port cannot be read: percent-encode what is special in its password"
        ) from None
    return parts.hostname or "127.0.0.1", default_port if port is None else port
