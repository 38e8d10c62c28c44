"""FastAPI (and Starlette): `install` the breakers, inject one with `breaker`, guard an endpoint with `guard`."""

from recloser.fastapi.application import install
from recloser.fastapi.dependencies import breaker, guard

__all__ = ["breaker", "guard", "install"]
