"""FastAPI (and Starlette): `install` the breakers, inject one with `breaker`, guard an endpoint with `guard`."""

from recloser.fastapi.application import install
from recloser.fastapi.dependencies import breaker, guard
from recloser.fastapi.status import status_router

__all__ = ["breaker", "guard", "install", "status_router"]
