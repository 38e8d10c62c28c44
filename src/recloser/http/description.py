"""What an ASGI scope says of its request, as plans and the cache need to know it."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl

from recloser.http.keeping import Per
from recloser.http.messages import Request
from recloser.http.responder import RouteFacts
from recloser.http.wire import ASGIScope, text


def describe(scope: ASGIScope, facts: RouteFacts, partitions: Mapping[Per, str]) -> Request:
    """Describe a request.

    Args:
        scope: As far as the router has filled it.
        facts: What is known of its route.
        partitions: Who asks, by what found it out.
    """
    headers = text(scope["headers"])
    hosts = [value for name, value in headers if name == "host"]
    path: str = scope["path"]
    raw_path: bytes = scope.get("raw_path") or path.encode()
    return Request(
        method=scope.get("method", "GET"),
        scheme=scope.get("scheme", "http"),
        host=hosts[0] if len(hosts) == 1 else "",
        path=path,
        raw_path=raw_path.decode("latin-1"),
        query=scope.get("query_string", b"").decode("latin-1"),
        headers=headers,
        selecting=facts.selecting,
        credential=_has_credential(scope, facts),
        personal=is_personal(scope, facts),
        partitions=partitions,
    )


def is_personal(scope: ASGIScope, facts: RouteFacts) -> bool:
    """Tell whether a session, a user or a client's certificate has told who asks; arguments as `describe`."""
    session: object = scope.get("session")
    user: object = scope.get("user")
    return (
        facts.personal
        or (session is not None and (bool(session) or bool(getattr(session, "accessed", False))))
        or (user is not None and bool(getattr(user, "is_authenticated", True)))
        or bool(scope.get("extensions", {}).get("tls", {}).get("client_cert_chain"))
    )


def _has_credential(scope: ASGIScope, facts: RouteFacts) -> bool:
    if facts.credentials and not facts.credentials.isdisjoint([name for name, _ in text(scope["headers"])]):
        return True
    if not facts.query_credentials:
        return False
    query: str = scope.get("query_string", b"").decode("latin-1")
    return any(name in facts.query_credentials for name, _ in parse_qsl(query, keep_blank_values=True))
