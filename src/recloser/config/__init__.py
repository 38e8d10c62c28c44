"""One declaration of every breaker, three spellings: a Python mapping, TOML, the environment."""

from recloser.config.declaration import (
    BreakerDeclaration,
    Declaration,
    PlanDeclaration,
    PolicyDeclaration,
    RouteDeclaration,
)
from recloser.config.origins import host_port, origin_of
from recloser.config.sources import from_mapping, from_toml

__all__ = [
    "BreakerDeclaration",
    "Declaration",
    "PlanDeclaration",
    "PolicyDeclaration",
    "RouteDeclaration",
    "from_mapping",
    "from_toml",
    "host_port",
    "origin_of",
]
