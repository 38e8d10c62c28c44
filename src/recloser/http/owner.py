"""Whose idempotency key it is: two clients may choose the same one, and neither is to be told of the other's job."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from urllib.parse import parse_qsl

from recloser.http.messages import Request


def owner_of(request: Request) -> str:
    """Make a name of the credentials that a request carries, which does not tell them; `""` if it carries none."""
    carried = sorted(_credentials(request))
    return f"credentials:{hashlib.sha256(json.dumps(carried).encode()).hexdigest()}" if carried else ""


def _credentials(request: Request) -> Iterator[tuple[str, str, str]]:
    secrets = request.secrets
    for name, value in request.headers:
        if name == "authorization" or name in secrets.headers:
            yield "header", name, value
        elif name == "cookie" and secrets.cookies:
            for pair in value.split(";"):  # RFC 6265 §4.2.1
                cookie, _, content = pair.partition("=")
                if cookie.strip() in secrets.cookies:
                    yield "cookie", cookie.strip(), content.strip()
    if secrets.parameters:
        for name, value in parse_qsl(request.query, keep_blank_values=True, encoding="latin-1"):
            if name in secrets.parameters:
                yield "parameter", name, value
