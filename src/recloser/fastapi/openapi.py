"""What the OpenAPI description of an application says of its guarded routes: that they may answer 503, or 202."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any, Final

from fastapi import FastAPI

from recloser.config.declaration import RouteDeclaration
from recloser.fastapi.early import early_guards
from recloser.fastapi.routes import is_named
from recloser.fastapi.walk import Found, walk
from recloser.http.declared import defers
from recloser.http.guarded import guards_of
from recloser.http.messages import SAFE_METHODS

_PROBLEM: Final[dict[str, Any]] = {
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
_UNAVAILABLE: Final[dict[str, Any]] = {
    "description": "Service Unavailable",
    "headers": {
        "Retry-After": {
            "description": "Seconds to wait before the next try.",
            "schema": {"type": "integer", "minimum": 1},
        }
    },
    "content": {"application/problem+json": _PROBLEM},
}
_ACCEPTED: Final[dict[str, Any]] = {
    "description": "Accepted: put off, and done later",
    "headers": {
        "Location": {
            "description": "Where to ask how the job stands.",
            "schema": {"type": "string", "format": "uri-reference"},
        }
    },
    "content": {
        "application/json": {
            "schema": {
                "title": "Deferred",
                "type": "object",
                "properties": {
                    "id": {"type": "string"},
                    "state": {"type": "string", "enum": ["queued", "running", "done", "failed"]},
                    "location": {"type": "string", "format": "uri-reference"},
                },
                "required": ["id", "state", "location"],
            }
        }
    },
}
_CONFLICTING: Final[dict[str, Any]] = {
    "description": "The Idempotency-Key was used for another request",
    "content": {"application/problem+json": _PROBLEM},
}
_INVALID: Final = {"$ref": "#/components/schemas/HTTPValidationError"}  # FastAPI's own 422


def document(app: FastAPI, declared: Mapping[str, RouteDeclaration]) -> None:
    """Add what its guards answer to the description of each guarded route that does not describe it itself.

    That is a 503, and where a plan puts requests off, a 202 and a 422.

    Args:
        app: Whose description it is.
        declared: The entries of `ROUTES`, which guard routes too.
    """
    describe = app.openapi

    def openapi() -> dict[str, Any]:
        schema = describe()
        for route in walk(app.routes, []):
            path = schema.get("paths", {}).get(route.plain_path, {})
            puts_off = list(_guards(route, declared))
            for method in route.methods if puts_off else ():
                operation = path.get(method.lower())
                if operation is not None:
                    deferred = any(puts_off) and method not in SAFE_METHODS
                    _describe(operation.setdefault("responses", {}), deferred=deferred)
        return schema

    vars(app)["openapi"] = openapi


def _describe(responses: dict[str, Any], *, deferred: bool) -> None:
    # Copies: descriptions are changed by their owners, and YAML would write what is shared as aliases.
    responses.setdefault("503", deepcopy(_UNAVAILABLE))
    if not deferred:
        return
    responses.setdefault("202", deepcopy(_ACCEPTED))
    content: dict[str, Any] = responses.setdefault("422", deepcopy(_CONFLICTING)).get("content", {})
    if content.get("application/json", {}).get("schema") == _INVALID:
        content.setdefault("application/problem+json", deepcopy(_PROBLEM))


def _guards(route: Found, declared: Mapping[str, RouteDeclaration]) -> Iterator[bool]:
    """Tell of each guard of a route whether its plan puts requests off."""
    for entry in early_guards(route.dependant):
        yield defers(entry.plan)
    # In a mounted application, whose prefix is not known, what FastAPI calls may be guarded already.
    for guarded in (*guards_of(getattr(route.dependant, "call", None)), *guards_of(route.endpoint)):
        yield guarded.defers
    for name, declaration in declared.items():
        if is_named(name, route):
            plans = (declaration.plan, *declaration.plans.values())
            yield any(plan is not None and defers(plan.steps) for plan in plans)
