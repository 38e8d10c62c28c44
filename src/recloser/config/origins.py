"""Origins (RFC 6454 §4) as breakers know them: `host:port`, in lower case."""

from __future__ import annotations

import re
from typing import Final

_PORTS: Final = {"http": 80, "https": 443}
_HOST: Final = re.compile(r"[a-z0-9][a-z0-9._-]*")


def host_port(scheme: str, host: str, port: int | None) -> str:
    """Say an origin's parts, which a client has taken apart already, as `host:port`.

    Args:
        scheme: `http` or `https`.
        host: In ASCII (`xn--…`); an IPv6 address with or without brackets.
        port: `None`: the scheme's own.
    """
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    return f"{host.lower()}:{_PORTS[scheme.lower()] if port is None else port}"


def origin_of(url: object) -> str:
    """Read an origin such as `https://api.payments.example` or `http://[::1]:8080`.

    Returns:
        `host:port`, with the scheme's own port where none is given.

    Raises:
        ValueError: It is not an origin; the text says how to mend it ("must …").
    """
    from urllib.parse import urlsplit  # noqa: PLC0415 - only declarations with origins pay for it

    example = "must be an origin such as 'https://api.example' or 'http://127.0.0.1:8080'"
    if not isinstance(url, str):
        raise ValueError(example)  # noqa: TRY004 - what a declaration says is a value
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError(f"{example}, in ASCII (an international name as xn--…)")
    if "@" in url:
        raise ValueError(f"{example}, without credentials")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError(example) from None
    if parts.path not in {"", "/"} or "?" in url or "#" in url:
        raise ValueError(f"{example}, without path, query or fragment")
    if parts.scheme not in _PORTS or port == 0:
        raise ValueError(example)
    return host_port(parts.scheme, _checked_host(parts.hostname or "", example), port)


def canonical(origin: str) -> str:
    """Check `host:port` and spell it the one way.

    Raises:
        ValueError: It is not `host:port`.
    """
    if origin.rpartition(":")[2].isdecimal():
        try:
            return origin_of(f"http://{origin}")
        except ValueError:
            pass
    raise ValueError(f"an origin must be given as 'host:port', got {origin!r}")


def _checked_host(host: str, example: str) -> str:
    if _HOST.fullmatch(host):
        return host
    import ipaddress  # noqa: PLC0415 - only an IPv6 address pays for it

    try:
        if "%" not in host:
            return ipaddress.IPv6Address(host).compressed
    except ValueError:
        pass
    raise ValueError(example)
