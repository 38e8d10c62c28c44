"""What the OpenAPI description of an application says of its guarded routes: that they may answer 503."""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI

from recloser.fastapi.survey import contexts, early_guards
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


def document(app: FastAPI) -> None:
    """Add a 503 to the description of each guarded route that does not describe one itself."""
    describe = app.openapi

    def openapi() -> dict[str, Any]:
        schema = describe()
        for context in contexts(app.routes):
            guarded = early_guards(getattr(context, "dependant", None)) or guards_of(
                getattr(context, "endpoint", None)
            )
            path = schema.get("paths", {}).get(getattr(context, "path_format", None), {})
            for method in (getattr(context, "methods", None) or ()) if guarded else ():
                operation = path.get(method.lower())
                if operation is not None:
                    operation.setdefault("responses", {}).setdefault("503", _UNAVAILABLE)
        return schema

    vars(app)["openapi"] = openapi
