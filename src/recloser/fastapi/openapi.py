"""What the OpenAPI description of an application says of its guarded routes: that they may answer 503."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from fastapi import FastAPI

from recloser.fastapi.early import early_guards
from recloser.fastapi.routes import is_named
from recloser.fastapi.walk import Found, walk
from recloser.http.guarded import guards_of

_UNAVAILABLE: Final[dict[str, Any]] = {
    "description": "Service Unavailable",
    "headers": {
        "Retry-After": {
            "description": "Seconds to wait before the next try.",
            "schema": {"type": "integer", "minimum": 1},
        }
    },
    "content": {
        "application/problem+json": {
            "schema": {
                "title": "Problem",
                "description": "RFC 9457",
                "type": "object",
                "properties": {
                    "type": {"type": "string", "format": "uri-reference"},
                    "title": {"type": "string"},
                    "status": {"type": "integer"},
                    "detail": {"type": "string"},
                },
                "required": ["type", "title", "status", "detail"],
            }
        }
    },
}


def document(app: FastAPI, declared: Collection[str]) -> None:
    """Add a 503 to the description of each guarded route that does not describe one itself.

    Args:
        app: Whose description it is.
        declared: The entries of `ROUTES`, which guard routes too.
    """
    describe = app.openapi

    def openapi() -> dict[str, Any]:
        schema = describe()
        for route in walk(app.routes, []):
            path = schema.get("paths", {}).get(route.plain_path, {})
            for method in route.methods if _is_guarded(route, declared) else ():
                operation = path.get(method.lower())
                if operation is not None:
                    operation.setdefault("responses", {}).setdefault("503", _UNAVAILABLE)
        return schema

    vars(app)["openapi"] = openapi


def _is_guarded(route: Found, declared: Collection[str]) -> bool:
    return bool(
        early_guards(route.dependant)
        or guards_of(
            getattr(route.dependant, "call", None)
        )  # in a mounted application, whose prefix is not known
        or guards_of(route.endpoint)
        or any(is_named(entry, route) for entry in declared)
    )
